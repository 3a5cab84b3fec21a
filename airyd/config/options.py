"""The table of the daemon's options. The command line, the environment, the configuration file, the help, the manual
pages, the completions and docs/options.rst are all made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from airyd.config.option_values import (
    file_name,
    lifetime,
    one_of,
    ping_interval,
    positive,
    request_path,
    seconds,
    switch,
    token_size,
    user_field,
    workers,
)
from airyd.limits import DRAIN_NOTICE, DRAIN_SECONDS, LIMITS, PING_INTERVAL
from airyd.revocation import TOKEN_MAX_AGE
from airyd.runtime.log_format import FORMATS, TEXT
from airyd.runtime.log_levels import DEFAULT_LEVEL, LEVELS, log_levels
from airyd.stomp.spec import HeartBeat
from airyd.trusted_proxies import PROXY_HEADERS, X_FORWARDED_FOR, read_trusted

ANONYMOUS: Final = "anonymous"
DEFAULT_PATH: Final = "/ws.communication"
NO_ADMIN: Final = "none"
#: The options with the tokens of the admin page.
ADMIN_TOKENS: Final = ("admin-token-file", "admin-read-token-file")
ON: Final = "on"
OFF: Final = "off"

#: The subjects of the options, in the order in which help texts show them.
CLIENTS: Final = "Clients"
EVENTS: Final = "Events"
LOGINS: Final = "Logins"
ADMIN: Final = "Admin page"
PROCESS: Final = "Process and log"
LIMIT: Final = "Limits"
SUBJECTS: Final = (CLIENTS, EVENTS, LOGINS, ADMIN, PROCESS, LIMIT)


class Option(NamedTuple):
    """An option of the daemon.

    :ivar name: without dashes in front, such as ``log-level``
    :ivar value: the name of its value in the help, such as ``FILE``; empty for a switch, which has no value on the
        command line and is ``true`` or ``false`` elsewhere
    :ivar brief: the line of ``--help``
    :ivar text: the text of the documents
    :ivar read: reads one value; raises ``ValueError`` with a text that says what to give instead
    :ivar default: the default, as a user would write it; empty if there is none
    :ivar without: what an option without a default means when it is not given
    :ivar repeatable: whether it may have several values
    :ivar choices: all possible values, if they are few
    """

    name: str
    subject: str
    value: str
    brief: str
    text: str
    read: Callable[[str], Any] = str
    default: str = ""
    without: str = ""
    repeatable: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value on the command line."""
        return not self.value

    @property
    def explanation(self) -> str:
        """What the documents say, with how to turn a switch off that an earlier way turned on."""
        if not self.is_switch:
            return self.text
        return (
            f"{self.text} --no-{self.name} turns it off if the configuration file or the environment turns it on; give "
            "only one of the two."
        )

    @property
    def variable(self) -> str:
        """The environment variable that gives this option."""
        return f"AIRYD_{self.name.replace('-', '_').upper()}"


#: The readers of those limits that have bounds of their own.
_LIMIT_READERS: Final[Mapping[str, Callable[[str], int]]] = {"token-size": token_size}

_TABLE: Final = (
    Option(
        "listen",
        CLIENTS,
        "ENDPOINT",
        "where clients connect",
        "Twisted endpoint to serve the WebSocket on; repeatable.",
        default="tcp:8080:interface=127.0.0.1",
        repeatable=True,
    ),
    Option(
        "path",
        CLIENTS,
        "PATH",
        "path of the WebSocket",
        "Path of the WebSocket; repeatable.",
        request_path,
        default=DEFAULT_PATH,
        repeatable=True,
    ),
    Option(
        "origin",
        CLIENTS,
        "ORIGIN",
        "web origin whose pages may connect",
        "Web origin whose pages may connect, such as https://example.com, https://*.example.com or *; repeatable.",
        without="the host that the client connected to",
        repeatable=True,
    ),
    Option(
        "trust-proxy",
        CLIENTS,
        "NETWORK",
        "proxy that passes on its clients' addresses",
        "Network or address of proxies that may pass on their clients' addresses, such as 10.0.0.0/8; unix means every "
        "program that connects to a unix socket; repeatable.",
        read_trusted,
        repeatable=True,
    ),
    Option(
        "proxy-header",
        CLIENTS,
        "HEADER",
        "header of these: x-forwarded-for or forwarded",
        "Header in which the proxies of --trust-proxy pass on the client's address: x-forwarded-for or forwarded.",
        one_of(PROXY_HEADERS),
        default=X_FORWARDED_FOR,
        choices=tuple(PROXY_HEADERS),
    ),
    Option(
        "compression",
        CLIENTS,
        "on|off",
        "permessage-deflate for clients that offer it",
        "on or off: permessage-deflate for clients that offer it. Only events that 32 or more clients get at "
        "the same time are compressed.",
        one_of((ON, OFF)),
        default=ON,
        choices=(ON, OFF),
    ),
    Option(
        "heart-beat",
        CLIENTS,
        "MS,MS",
        "heart-beats to send, and to ask of clients",
        "Milliseconds between the heart-beats that the server sends, and between those that it asks of clients; 0 "
        "turns a direction off.",
        HeartBeat.parse,
        default="30000,30000",
    ),
    Option(
        "heart-beat-grace",
        CLIENTS,
        "SECONDS",
        "silence that is always allowed",
        "Seconds of silence for which no client is closed, even if its heart-beat interval is shorter: browsers slow "
        "down the timers of hidden tabs.",
        seconds,
        default="65.0",
    ),
    Option(
        "ping-interval",
        CLIENTS,
        "SECONDS",
        "silence after which a client is pinged",
        "Seconds of silence after which a client without heart-beats is pinged; it is closed if it leaves two pings "
        "unanswered; 0 turns pings off.",
        ping_interval,
        default=str(PING_INTERVAL),
    ),
    Option(
        "source",
        EVENTS,
        "URL",
        "where events come from; see --help-sources",
        "URL of the event source; see --help-sources; repeatable if each has ?destinations=.",
        default="memory:",
        repeatable=True,
    ),
    Option(
        "destination",
        EVENTS,
        "NAME",
        "destination in addition to Airy's four",
        "Destination in addition to Airy's four; repeatable.",
        repeatable=True,
    ),
    Option(
        "destinations-file",
        EVENTS,
        "FILE",
        "file with additional destinations",
        "File with additional destinations, one per line; on SIGHUP airyd reads it again and adds the new ones.",
        file_name,
    ),
    Option(
        "user-destinations",
        EVENTS,
        "FIELD=CLAIM",
        "add /user/... with each user's own events",
        "FIELD=CLAIM: add a user destination for each destination; /user/queue/message has those events of "
        "/queue/message whose FIELD is one of the texts in the token's claim CLAIM; repeatable, then all must match.",
        user_field,
        repeatable=True,
    ),
    Option(
        "auth",
        LOGINS,
        "WHO",
        "who may log in; see --help-auth",
        "Who may log in, and what clients may do; see --help-auth; repeatable.",
        default=ANONYMOUS,
        repeatable=True,
    ),
    Option(
        "token-max-age",
        LOGINS,
        "SECONDS",
        "longest lifetime of your tokens",
        "Longest lifetime of your tokens, in seconds. Revocations (airyd revoke) are kept for this and ten minutes "
        "more, so a revoked token that lives longer is accepted again.",
        lifetime,
        default=str(TOKEN_MAX_AGE),
    ),
    Option(
        "admin",
        ADMIN,
        "ENDPOINT",
        "where the admin page is; none turns it off",
        "Endpoint of the admin page (console, API, health, metrics): on loopback or a unix socket, unless "
        "--admin-token-file or --admin-read-token-file is given; --admin none turns it off.",
        default="tcp:8081:interface=127.0.0.1",
    ),
    Option(
        "admin-token-file",
        ADMIN,
        "FILE",
        "file with the token that may do everything",
        "File with the token for everything on the admin page, to publish, to disconnect clients and to see events; "
        "--admin may then be any address.",
        file_name,
    ),
    Option(
        "admin-read-token-file",
        ADMIN,
        "FILE",
        "file with the token that may only read",
        "File with another token for the admin page, which may only read, without the bodies of events; --admin may "
        "then be any address.",
        file_name,
    ),
    Option(
        "config",
        PROCESS,
        "FILE",
        "TOML file with any of these options",
        "TOML file with any of these options. The environment and the command line override it.",
        file_name,
    ),
    Option(
        "workers",
        PROCESS,
        "N|auto",
        "processes that serve clients",
        "Number of processes that serve clients; auto means one per usable core. More than one need a source that all "
        "of them can read, such as redis:.",
        workers,
        default="1",
    ),
    Option(
        "drain-notice",
        PROCESS,
        "SECONDS",
        "time between SIGTERM and the first close",
        "Seconds between SIGTERM and the first close, for load balancers to notice: meanwhile /readyz answers 503, "
        "/airyd/status announces the stop, and clients are still accepted and served.",
        seconds,
        default=str(DRAIN_NOTICE),
    ),
    Option(
        "drain-seconds",
        PROCESS,
        "SECONDS",
        "time over which closes are spread",
        "Seconds over which airyd spreads the closes of 1,500 or more clients when it stops, after --drain-notice; "
        "with fewer clients it takes less time.",
        seconds,
        default=str(DRAIN_SECONDS),
    ),
    Option(
        "log-level",
        PROCESS,
        "LEVELS",
        f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}; also info,airyd.sources=debug",
        "Lowest level that is logged: debug, info, warn or error. Other levels for parts of airyd may follow, such "
        "as info,airyd.sources=debug. In a minute airyd logs one line of each kind that clients can cause (a "
        "refusal, an ERROR), ten lines of each kind with a traceback, and 1000 of each other kind; at debug, "
        "1000 of every kind.",
        log_levels,
        default=DEFAULT_LEVEL,
        choices=LEVELS,
    ),
    Option(
        "log-format",
        PROCESS,
        "FORMAT",
        "text or json",
        "text or json. With json, each line is one JSON object with time, level, event, namespace and the event's "
        "fields.",
        one_of(FORMATS),
        default=TEXT,
        choices=tuple(FORMATS),
    ),
    Option(
        "log-connections",
        PROCESS,
        "",
        "log when each client connects, logs in, disconnects",
        "Log at the level info when each client connects, logs in and disconnects; without this, at debug.",
        switch,
    ),
    *(
        Option(
            name,
            LIMIT,
            "N",
            text.partition(";")[0],
            f"Limit: {text}.",
            _LIMIT_READERS.get(name, positive),
            default=str(default),
        )
        for name, default, text in ((name.replace("_", "-"), default, text) for name, default, text in LIMITS)
    ),
)

#: All options by their names.
OPTIONS: Final[Mapping[str, Option]] = {option.name: option for option in _TABLE}

#: The options that print something and exit, with what they print.
SHOWING: Final[Mapping[str, str]] = {
    "help": "this help",
    "help-sources": "the event sources",
    "help-auth": "the authenticators",
    "version": "the version of airyd",
}
