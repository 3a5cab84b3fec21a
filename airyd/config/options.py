"""The options of ``twistd airyd``, which make its settings."""

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
from airyd.config.option_values import lifetime, naming, one_of, ping_interval, positive, seconds, workers
from airyd.config.settings import DestinationsFile, Settings
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.limits import LIMITS, PING_INTERVAL, Limits
from airyd.revocation import TOKEN_MAX_AGE
from airyd.runtime.logs import DEFAULT_LEVEL, LEVELS
from airyd.runtime.twistd_files import check_twistd_files
from airyd.sources import describe_sources
from airyd.spelling import did_you_mean
from airyd.stomp.spec import HeartBeat

DEFAULT_LISTEN: Final = "tcp:8080:interface=127.0.0.1"
DEFAULT_PATH: Final = "/ws.communication"
DEFAULT_ADMIN: Final = "tcp:8081:interface=127.0.0.1"
DEFAULT_AUTH: Final = "anonymous"
NO_ADMIN: Final = "none"
#: A path as a request can have it (RFC 3986, section 3.3). After ``//`` comes a host, and after ``;`` parameters.
_PATH: Final = re.compile(r"/(?!/)[0-9A-Za-z._~!$&'()*+,=:@%/-]*\Z")
ON: Final = "on"
OFF: Final = "off"
#: Those that may be given more than once: their help says so.
REPEATABLE: Final = ("listen", "path", "source", "auth", "destination", "origin")
#: Options that there were, and why there are none any more.
REMOVED: Final = {"websocket": "airyd has one WebSocket implementation; leave the option out"}


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
            naming("token-max-age", lifetime),
        ],
        [
            "heart-beat",
            None,
            "30000,30000",
            "Milliseconds between heart-beats: the server's own, those it wants; 0 for none.",
            naming("heart-beat", HeartBeat.parse),
        ],
        [
            "heart-beat-grace",
            None,
            65.0,
            "Seconds before any client is closed for silence, however short its heart-beat: browsers slow "
            "down the timers of hidden tabs.",
            naming("heart-beat-grace", seconds),
        ],
        [
            "ping-interval",
            None,
            PING_INTERVAL,
            "Seconds without a byte from a client that sends no heart-beats, after which it is pinged, and ended when "
            "it leaves two pings unanswered; 0 for never.",
            naming("ping-interval", ping_interval),
        ],
        [
            "workers",
            None,
            1,
            "Processes that serve clients, or auto: as many as there are cores to use. Above 1 the source must be one "
            "that all of them can read, such as redis:.",
            naming("workers", workers),
        ],
        [
            "compression",
            None,
            ON,
            "on or off: permessage-deflate for the clients that offer it, where many get the same.",
            naming("compression", one_of((ON, OFF))),
        ],
        [
            "log-level",
            None,
            DEFAULT_LEVEL,
            "debug, info, warn or error: the least that a line of the log must be. Below debug, what clients can cause "
            "(a refusal, an ERROR) is logged once a minute of each kind.",
            naming("log-level", one_of(LEVELS)),
        ],
        *(
            [option, None, default, f"Limit: {text}.", naming(option, positive)]
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
        self._destinations_file = _named("destinations-file", path)

    def opt_admin_token_file(self, path: str) -> None:
        """A file with a token that the admin page asks for; --admin may then be any address."""
        self._admin_token_file = _named("admin-token-file", path)

    def opt_origin(self, origin: str) -> None:
        """A web origin whose pages may connect, such as https://example.com, https://*.example.com or *; repeatable.

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
            destinations=self._destinations if file is None else read_catalogue(file),
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
            log_level=self["log-level"],
        )
        if self.parent is not None:
            check_twistd_files(self.parent)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; what is wrong ends the program in one line.

        twistd would print the whole help, and exit with status 0.
        """
        arguments = sys.argv[1:] if options is None else list(options)
        try:
            self._check_names(arguments)
            super().parseOptions(arguments)
        except (usage.UsageError, ConfigurationError) as error:
            raise SystemExit(f"airyd: {ConfigurationError(str(error))}") from None

    def _check_names(self, arguments: list[str]) -> None:
        """Raise ``UsageError`` for an option that there isn't, without its value, or given twice."""
        try:
            given, _ = getopt(arguments, self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(self._what_is_wrong(error.opt)) from None
        names = [name.removeprefix("--") for name, _ in given]
        for name in names:
            if names.count(name) > 1 and name not in REPEATABLE:
                raise usage.UsageError(f"--{name} is given twice; give it once")

    def _what_is_wrong(self, name: str) -> str:
        """Say why this is no option, or what it lacks; it may be the beginning of one."""
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
            return f"{dashed} may mean --{' or --'.join(meant)}: write it in full"
        return f"--{meant[0]} needs a value" if known[meant[0]] else f"--{meant[0]} takes no value"


def _is_known(name: str, options: usage.Options) -> bool:
    return name in options.shortOpt.replace(":", "") or name in [option.rstrip("=") for option in options.longOpt]


def _named(option: str, path: str) -> str:
    if not path:
        raise usage.UsageError(f"--{option} is empty; name a file")
    return path


def _show(text: Callable[[], str]) -> NoReturn:
    print(text())  # the answer to --help-sources and such
    sys.exit(0)
