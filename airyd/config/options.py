"""The command-line options of ``twistd airyd``: their help texts, defaults and checks; they become ``Settings``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from getopt import GetoptError, getopt
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.python import usage

from airyd import __version__
from airyd.admin.access import check_admin_endpoint
from airyd.auth import describe_authenticators
from airyd.config.catalogue import check_name, read_catalogue
from airyd.config.option_values import (
    lifetime,
    naming,
    one_of,
    ping_interval,
    positive,
    seconds,
    token_size,
    user_field,
    workers,
)
from airyd.config.settings import DestinationsFile, Settings
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.limits import DRAIN_NOTICE, DRAIN_SECONDS, LIMITS, LONGEST_DRAIN, PING_INTERVAL, Limits
from airyd.revocation import TOKEN_MAX_AGE
from airyd.runtime.logs import DEFAULT_LEVEL, LEVELS
from airyd.runtime.twistd_files import check_twistd_files
from airyd.sources import describe_sources
from airyd.spelling import did_you_mean
from airyd.stomp.spec import HeartBeat

DEFAULT_LISTEN: Final = "tcp:8080:interface=127.0.0.1"
DEFAULT_PATH: Final = "/ws.communication"
DEFAULT_ADMIN: Final = "tcp:8081:interface=127.0.0.1"
ANONYMOUS: Final = "anonymous"
DEFAULT_AUTH: Final = ANONYMOUS
NO_ADMIN: Final = "none"
#: A path that a request can have (RFC 3986, section 3.3): without ``//``, which begins a host, and without ``;``.
_PATH: Final = re.compile(r"/(?!/)[0-9A-Za-z._~!$&'()*+,=:@%/-]*\Z")
ON: Final = "on"
OFF: Final = "off"
#: The readers of those limits that have bounds of their own.
_LIMIT_READERS: Final = {"token-size": token_size}
#: Options that may be given more than once; their help says "repeatable".
REPEATABLE: Final = ("listen", "path", "source", "auth", "destination", "origin", "user-destinations")
#: Options of earlier releases, and what users should do instead.
REMOVED: Final = {"websocket": "airyd has one WebSocket implementation; leave the option out"}


class Options(usage.Options):
    """Reads the command line into :attr:`settings`."""

    synopsis = "[options]"
    longdesc = (
        "Serves Airy's events over STOMP (1.0, 1.1, 1.2) on WebSocket. Publish with airyd publish, or by POST to the "
        "admin page; watch with airyd tail."
    )
    optParameters: Sequence[Sequence[Any]] = [
        [
            "admin",
            None,
            DEFAULT_ADMIN,
            "Endpoint of the admin page (health, metrics, publishing, revoking): on loopback or a unix socket, "
            "unless --admin-token-file is given; --admin none turns it off.",
        ],
        [
            "token-max-age",
            None,
            TOKEN_MAX_AGE,
            "Longest lifetime of your tokens, in seconds: revocations (airyd revoke) are kept ten minutes longer. "
            "Tokens that live longer are accepted, too.",
            naming("token-max-age", lifetime),
        ],
        [
            "heart-beat",
            None,
            "30000,30000",
            "Milliseconds between the heart-beats that the server sends, and between those that it asks of clients; 0 "
            "turns a direction off.",
            naming("heart-beat", HeartBeat.parse),
        ],
        [
            "heart-beat-grace",
            None,
            65.0,
            "Seconds of silence that every client may have, even if its heart-beat interval is shorter: browsers slow "
            "down the timers of hidden tabs.",
            naming("heart-beat-grace", seconds),
        ],
        [
            "ping-interval",
            None,
            PING_INTERVAL,
            "Seconds of silence after which a client without heart-beats is pinged; it is closed if it leaves two "
            "pings unanswered; 0 turns pings off.",
            naming("ping-interval", ping_interval),
        ],
        [
            "drain-notice",
            None,
            DRAIN_NOTICE,
            "Seconds between SIGTERM and the first close: meanwhile /readyz answers 503, /airyd/status announces the "
            "stop, and clients are still accepted, until the load balancer has noticed.",
            naming("drain-notice", seconds),
        ],
        [
            "drain-seconds",
            None,
            DRAIN_SECONDS,
            "Seconds over which the closes of 1,500 or more clients are spread when airyd stops, after --drain-notice; "
            "fewer clients take less.",
            naming("drain-seconds", seconds),
        ],
        [
            "workers",
            None,
            1,
            "Number of processes that serve clients; auto means one per usable core. With more than one, the source "
            "must be one that all of them can read, such as redis:.",
            naming("workers", workers),
        ],
        [
            "compression",
            None,
            ON,
            "on or off: permessage-deflate for clients that offer it. Only events that 32 or more clients get at the "
            "same time are compressed.",
            naming("compression", one_of((ON, OFF))),
        ],
        [
            "log-level",
            None,
            DEFAULT_LEVEL,
            "Lowest level that is logged: debug, info, warn or error. Lines that clients can cause (a refusal, an "
            "ERROR) are limited to one a minute of each kind, except at debug.",
            naming("log-level", one_of(LEVELS)),
        ],
        *(
            [option, None, default, f"Limit: {text}.", naming(option, _LIMIT_READERS.get(option, positive))]
            for option, default, text in ((name.replace("_", "-"), default, text) for name, default, text in LIMITS)
        ),
    ]

    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        # Twisted's help keeps the line ends of docstrings.
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}
        self._listen: list[str] = []
        self._paths: list[str] = []
        self._sources: list[str] = []
        self._auth: list[str] = []
        self._admin_token_file: str | None = None
        self._destinations: list[str] = []
        self._user_destinations: dict[str, str] = {}
        self._destinations_file: str | None = None
        self._origins: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Twisted endpoint to serve the WebSocket on; repeatable. [default: tcp:8080:interface=127.0.0.1]"""
        self._listen.append(endpoint)

    def opt_path(self, path: str) -> None:
        """Path of the WebSocket; repeatable. [default: /ws.communication]"""
        if not _PATH.match(path):
            raise usage.UsageError(
                f"--path {path}: give a path such as {DEFAULT_PATH}, with one slash first, of letters, digits and "
                "._~!$&'()*+,=:@%/-"
            )
        if path in self._paths:
            raise usage.UsageError(f"--path {path}: this path is given already")
        self._paths.append(path)

    def opt_source(self, url: str) -> None:
        """URL of an event source; see --help-sources; repeatable if each has ?destinations=. [default: memory:]"""
        self._sources.append(url)

    def opt_auth(self, spec: str) -> None:
        """Who may log in, and what clients may do; see --help-auth; repeatable. [default: anonymous]"""
        self._auth.append(spec)

    def opt_destination(self, name: str) -> None:
        """Destination in addition to Airy's four; repeatable."""
        self._destinations.append(name)

    def opt_destinations_file(self, path: str) -> None:
        """File with additional destinations, one per line; on SIGHUP airyd reads it again and adds the new ones."""
        self._destinations_file = _named("destinations-file", path)

    def opt_user_destinations(self, words: str) -> None:
        """FIELD=CLAIM: add a user destination for each destination; /user/queue/message has those events of
        /queue/message whose FIELD is one of the texts in the token's claim CLAIM; repeatable, then all must match.
        """
        field, claim = naming("user-destinations", user_field)(words)
        if field in self._user_destinations:
            raise usage.UsageError(f"--user-destinations {words}: the field {field} is given already")
        self._user_destinations[field] = claim

    def opt_admin_token_file(self, path: str) -> None:
        """File with the token that requests to the admin page must carry; --admin may then be any address."""
        self._admin_token_file = _named("admin-token-file", path)

    def opt_origin(self, origin: str) -> None:
        """Web origin whose pages may connect, such as https://example.com, https://*.example.com or *; repeatable.

        [default: the host that the client connected to]
        """
        self._origins.append(origin)

    def opt_help_sources(self) -> NoReturn:
        """Describe the event sources and exit."""
        _show(describe_sources)

    def opt_help_auth(self) -> NoReturn:
        """Describe the authenticators and exit."""
        _show(describe_authenticators)

    def opt_version(self) -> NoReturn:
        """Show the version of airyd and exit."""
        _show(lambda: f"airyd {__version__}")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse arguments that are not options."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]}: airyd takes options only; see --help")

    def postOptions(self) -> None:
        """Check the options and make the settings."""
        limits = Limits(**{name: self[name.replace("_", "-")] for name, _, _ in LIMITS})
        if limits.body >= limits.frame:
            raise usage.UsageError(f"--body {limits.body} must be below --frame {limits.frame}: a frame holds the body")
        drain = self["drain-notice"] + self["drain-seconds"]
        if drain > LONGEST_DRAIN:
            raise usage.UsageError(
                f"--drain-notice and --drain-seconds are {drain:g} seconds together: give at most {LONGEST_DRAIN:g}"
            )
        admin = None if self["admin"] == NO_ADMIN else self["admin"]
        if admin is not None:
            check_admin_endpoint(admin, has_token=self._admin_token_file is not None)
        has_user_destinations = bool(self._user_destinations)
        destinations = self._checked_destinations()
        path = self._destinations_file
        file = None
        if path is not None:
            file = DestinationsFile(str(Path(path).absolute()), destinations, has_user_destinations)
        auth = self._auth or [DEFAULT_AUTH]
        if has_user_destinations and all(spec.partition(":")[0] == ANONYMOUS for spec in auth):
            raise usage.UsageError("--user-destinations needs --auth jwt: an anonymous client has no claims")
        heart_beat = self["heart-beat"]
        self.settings = Settings(
            listen=self._listen or [DEFAULT_LISTEN],
            paths=self._paths or [DEFAULT_PATH],
            sources=self._sources or ["memory:"],
            destinations=destinations if file is None else read_catalogue(file),
            destinations_file=file,
            auth=auth,
            user_destinations=tuple(self._user_destinations.items()),
            admin=admin,
            admin_token_file=self._admin_token_file,
            origins=self._origins,
            heart_beat=heart_beat if isinstance(heart_beat, HeartBeat) else HeartBeat.parse(heart_beat),
            grace=self["heart-beat-grace"],
            ping_interval=self["ping-interval"],
            compression=self["compression"] == ON,
            limits=limits,
            workers=self["workers"],
            token_max_age=self["token-max-age"],
            log_level=self["log-level"],
            drain_notice=self["drain-notice"],
            drain_seconds=self["drain-seconds"],
        )
        if self.parent is not None:
            check_twistd_files(self.parent)

    def _checked_destinations(self) -> list[str]:
        """Return Airy's destinations and those of ``--destination``, which must not be user destinations."""
        names = list(AIRY_DESTINATIONS)
        for name in self._destinations:
            try:
                check_name(name, names, has_user_destinations=bool(self._user_destinations))
            except ValueError as error:
                raise usage.UsageError(f"--destination {name}: {error}") from None
            names.append(name)
        return names

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; an error ends the program with one line and status 1.

        twistd would print the whole help and exit with status 0.
        """
        arguments = sys.argv[1:] if options is None else list(options)
        try:
            self._check_names(arguments)
            super().parseOptions(arguments)
        except (usage.UsageError, ConfigurationError) as error:
            raise SystemExit(f"airyd: {ConfigurationError(str(error))}") from None

    def _check_names(self, arguments: list[str]) -> None:
        """Raise ``UsageError`` for an option that is unknown, lacks its value, or is given twice."""
        try:
            given, _ = getopt(arguments, self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(self._what_is_wrong(error.opt)) from None
        names = [name.removeprefix("--") for name, _ in given]
        for name in names:
            if names.count(name) > 1 and name not in REPEATABLE:
                raise usage.UsageError(f"--{name} is given twice; give it once")

    def _what_is_wrong(self, name: str) -> str:
        """Return the error for an option that getopt refused; ``name`` may be an abbreviation."""
        known = {option.rstrip("="): option.endswith("=") for option in self.longOpt}
        meant = [name] if name in known else [option for option in known if option.startswith(name)]
        dashed = f"--{name}" if len(name) > 1 else f"-{name}"
        if name in REMOVED:
            return f"{dashed} was removed: {REMOVED[name]}"
        if not meant and self.parent is not None and _is_known(name, self.parent):
            return f"{dashed} is an option of twistd: write it in front of the word airyd"
        if not meant:
            return f"there is no option {dashed}{did_you_mean(name, known, '--{}')} See --help"
        if len(meant) > 1:
            return f"{dashed} may mean --{' or --'.join(meant)}: write the full name"
        return f"--{meant[0]} needs a value" if known[meant[0]] else f"--{meant[0]} takes no value"


def _is_known(name: str, options: usage.Options) -> bool:
    return name in options.shortOpt.replace(":", "") or name in [option.rstrip("=") for option in options.longOpt]


def _named(option: str, path: str) -> str:
    if not path:
        raise usage.UsageError(f"--{option} is empty; name a file")
    return path


def _show(text: Callable[[], str]) -> NoReturn:
    print(text())
    sys.exit(0)
