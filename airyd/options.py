"""The options of ``twistd airyd``, and the settings that they make."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from twisted.python import usage

from airyd import __version__
from airyd.access import describe_authenticators
from airyd.admin.endpoint import check_admin_endpoint
from airyd.catalogue import DestinationsFile, check_name
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.limits import LIMITS, PING_INTERVAL, Limits
from airyd.revocation import MOST_TOKEN_MAX_AGE, TOKEN_MAX_AGE
from airyd.sources import describe_sources
from airyd.stomp.spec import HeartBeat
from airyd.websocket import PROTOCOLS

DEFAULT_LISTEN: Final = "tcp:8080:interface=127.0.0.1"
DEFAULT_PATH: Final = "/ws.communication"
DEFAULT_ADMIN: Final = "tcp:8081:interface=127.0.0.1"
DEFAULT_AUTH: Final = "anonymous"
NO_ADMIN: Final = "none"
AUTO_WORKERS: Final = "auto"
#: Every worker holds the sockets of all: their number goes with the square of this.
MOST_WORKERS: Final = 64
#: A path as a request can have it (RFC 3986, section 3.3). After ``//`` comes a host, and after ``;`` parameters.
_PATH: Final = re.compile(r"/(?!/)[0-9A-Za-z._~!$&'()*+,=:@%/-]*\Z")
#: Seconds. A tick of the wheel is a tenth of it, and each costs some CPU.
_SHORTEST_PING_INTERVAL: Final = 0.1
ON: Final = "on"
OFF: Final = "off"


class Settings(NamedTuple):
    """What was asked for, checked as far as one option can be by itself.

    :ivar listen: endpoint strings of the WebSocket
    :ivar paths: the paths of the WebSocket; all serve the same
    :ivar sources: the sources' URLs
    :ivar destinations: the catalogue, as it is at the start
    :ivar destinations_file: where more of it may come from, or None
    :ivar auth: the authenticators' specs
    :ivar admin: the endpoint string of the admin page, or None
    :ivar admin_token_file: where the token is that the admin page asks for, or None
    :ivar origins: what ``--origin`` gave; empty for the default
    :ivar grace: seconds for which no client is closed for a missing heart-beat
    :ivar ping_interval: seconds of silence after which a client without heart-beats is pinged; 0 for never
    :ivar workers: processes that serve clients; 1 for this one alone
    :ivar compression: whether to compress for the clients that offer it
    :ivar websocket: which protocol of ``airyd.websocket.PROTOCOLS``
    :ivar token_max_age: seconds for which a revocation is kept
    """

    listen: Sequence[str]
    paths: Sequence[str]
    sources: Sequence[str]
    destinations: Sequence[str]
    auth: Sequence[str]
    admin: str | None
    admin_token_file: str | None
    origins: Sequence[str]
    heart_beat: HeartBeat
    grace: float
    compression: bool
    limits: Limits
    websocket: str
    workers: int = 1
    destinations_file: DestinationsFile | None = None
    token_max_age: int = TOKEN_MAX_AGE
    ping_interval: float = PING_INTERVAL


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise ValueError("give a whole number from 1 on")
    return number


def _lifetime(text: str) -> int:
    number = _positive(text)
    if number > MOST_TOKEN_MAX_AGE:
        raise ValueError(f"give {MOST_TOKEN_MAX_AGE} seconds at most")
    return number


def _workers(text: str) -> int:
    if text == AUTO_WORKERS:
        return len(os.sched_getaffinity(0))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= number <= MOST_WORKERS:
        raise ValueError(f"give a number from 1 to {MOST_WORKERS}, or {AUTO_WORKERS}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError("give a number of seconds from 0 on")
    return number


def _ping_interval(text: str) -> float:
    number = _seconds(text)
    if 0 < number < _SHORTEST_PING_INTERVAL:
        raise ValueError(f"give 0, or {_SHORTEST_PING_INTERVAL} seconds or more")
    return number


def _switch(text: str) -> str:
    if text not in (ON, OFF):
        raise ValueError(f"say {ON} or {OFF}")
    return text


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f"give {' or '.join(PROTOCOLS)}")
    return text


def _naming(option: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let a refusal name its option, which Twisted would not."""

    def read_option(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise usage.UsageError(f"--{option} {text}: {error}") from None

    return read_option


class Options(usage.Options):
    """Reads the command line; :attr:`settings` has the result."""

    synopsis = "[options]"
    longdesc = (
        "Serves Airy's events over STOMP (1.0, 1.1, 1.2) on WebSocket. Publish by POST to the admin page "
        "(airyd publish), watch with airyd tail."
    )
    optParameters: Sequence[Sequence[Any]] = [
        [
            "admin",
            None,
            DEFAULT_ADMIN,
            "Endpoint of the admin page (health, metrics, publishing): loopback or a unix socket, "
            "unless there is an --admin-token-file; none turns it off.",
        ],
        [
            "token-max-age",
            None,
            TOKEN_MAX_AGE,
            "Seconds that a token lives at most: for so long a revocation (airyd revoke) is kept.",
            _naming("token-max-age", _lifetime),
        ],
        [
            "heart-beat",
            None,
            "30000,30000",
            "Milliseconds between heart-beats: the server's own, those it wants; 0 for none.",
            _naming("heart-beat", HeartBeat.parse),
        ],
        [
            "heart-beat-grace",
            None,
            65.0,
            "Seconds before any client is closed for silence, however short its heart-beat: browsers slow "
            "down the timers of hidden tabs.",
            _naming("heart-beat-grace", _seconds),
        ],
        [
            "ping-interval",
            None,
            PING_INTERVAL,
            "Seconds without a byte from a client that sends no heart-beats, after which it is pinged, and ended when "
            "it leaves two pings unanswered; 0 for never.",
            _naming("ping-interval", _ping_interval),
        ],
        [
            "workers",
            None,
            1,
            "Processes that serve clients, or auto: as many as there are cores to use. Above 1 the source must be one "
            "that all of them can read, such as redis:.",
            _naming("workers", _workers),
        ],
        [
            "compression",
            None,
            ON,
            "on or off: permessage-deflate for the clients that offer it, where many get the same.",
            _naming("compression", _switch),
        ],
        [
            "websocket",
            None,
            "lean",
            "Autobahn's WebSocket trimmed (lean), or as it comes (stock): to rule the trimming out when in doubt.",
            _naming("websocket", _protocol),
        ],
        *(
            [option, None, default, f"Limit: {text}.", _naming(option, _positive)]
            for option, default, text in ((name.replace("_", "-"), default, text) for name, default, text in LIMITS)
        ),
    ]

    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self._listen: list[str] = []
        self._paths: list[str] = []
        self._sources: list[str] = []
        self._auth: list[str] = []
        self._admin_token_file: str | None = None
        self._destinations: list[str] = list(AIRY_DESTINATIONS)
        self._destinations_file: str | None = None
        self._origins: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Endpoint to serve on, as Twisted writes them; repeatable. [default: tcp:8080:interface=127.0.0.1]"""
        self._listen.append(endpoint)

    def opt_path(self, path: str) -> None:
        """Path of the WebSocket; repeatable. [default: /ws.communication]"""
        if not _PATH.match(path):
            raise usage.UsageError(
                f"--path {path}: give a path such as {DEFAULT_PATH}, with one slash first, of letters, digits and "
                "._~!$&'()*+,=:@%/-"
            )
        if path in self._paths:
            raise usage.UsageError(f"--path {path}: it is there already")
        self._paths.append(path)

    def opt_source(self, url: str) -> None:
        """Where events come from, as a URL; see --help-sources; repeatable, with ?destinations=. [default: memory:]"""
        self._sources.append(url)

    def opt_auth(self, spec: str) -> None:
        """Who may come in, and do what; see --help-auth; repeatable. [default: anonymous]"""
        self._auth.append(spec)

    def opt_destination(self, name: str) -> None:
        """A destination beside the four of Airy; repeatable."""
        try:
            check_name(name, self._destinations)
        except ValueError as error:
            raise usage.UsageError(f"--destination {name}: {error}") from None
        self._destinations.append(name)

    def opt_destinations_file(self, path: str) -> None:
        """A file with more destinations, one a line; SIGHUP has it read again, and what is new is added."""
        self._destinations_file = path

    def opt_admin_token_file(self, path: str) -> None:
        """A file with a token that the admin page asks for; --admin may then be any address."""
        self._admin_token_file = path

    def opt_origin(self, origin: str) -> None:
        """A web origin whose pages may connect, such as https://app.example.com, or *; repeatable.

        [default: the host that the client connected to, and the admin page]
        """
        self._origins.append(origin)

    def opt_help_sources(self) -> NoReturn:
        """Describe the event sources, and exit."""
        _show(describe_sources)

    def opt_help_auth(self) -> NoReturn:
        """Describe the ways of --auth, and exit."""
        _show(describe_authenticators)

    def opt_version(self) -> NoReturn:
        """Show the version of airyd, and exit."""
        _show(lambda: f"airyd {__version__}")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no option."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]}: there are only options; see --help")

    def postOptions(self) -> None:
        """Check each option by itself, and make the settings of them."""
        limits = Limits(**{name: self[name.replace("_", "-")] for name, _, _ in LIMITS})
        if limits.body >= limits.frame:
            raise usage.UsageError(f"--body {limits.body} must be below --frame {limits.frame}, which holds it")
        admin = None if self["admin"] == NO_ADMIN else self["admin"]
        if admin is not None:
            check_admin_endpoint(admin, has_token=self._admin_token_file is not None)
        path = self._destinations_file
        file = None if path is None else DestinationsFile(str(Path(path).absolute()), self._destinations)
        heart_beat = self["heart-beat"]
        self.settings = Settings(
            listen=self._listen or [DEFAULT_LISTEN],
            paths=self._paths or [DEFAULT_PATH],
            sources=self._sources or ["memory:"],
            destinations=self._destinations if file is None else file.read(),
            destinations_file=file,
            auth=self._auth or [DEFAULT_AUTH],
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
            websocket=self["websocket"],
        )

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; what is wrong ends the program in one line.

        twistd would print the whole help, and exit with status 0.
        """
        try:
            super().parseOptions(options)
        except (usage.UsageError, ConfigurationError) as error:
            raise SystemExit(f"airyd: {_one_line(str(error))}") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _show(text: Callable[[], str]) -> NoReturn:
    print(text())  # the answer to --help-sources and such
    sys.exit(0)
