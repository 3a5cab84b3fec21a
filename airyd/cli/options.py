"""The command line of ``airyd``, checked before anything is opened."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from twisted.python import usage

from airyd import __version__
from airyd.cli.token import claim
from airyd.events import AIRY_DESTINATIONS, DESTINATION

WEBSOCKET_URL: Final = "ws://127.0.0.1:8080/ws.communication"
WEBSOCKET_PATH: Final = "/ws.communication"
ADMIN_URL: Final = "http://127.0.0.1:8081"
_INDENTED_DESTINATIONS: Final = f"\n{' ' * 15}".join(AIRY_DESTINATIONS)


class _Options(usage.Options):
    synopsis = ""
    #: What stands below the options in the help, as it is.
    epilogue = ""

    def getSynopsis(self) -> str:
        """Return the usage line, with the name of the program once."""
        return f"Usage: airyd {self.synopsis}"

    def getUsage(self, width: int | None = None) -> str:
        """Return the help."""
        return f"{super().getUsage(width)}{self.epilogue}"

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        sys.stdout.write(f"airyd {__version__}\n")
        raise SystemExit(0)


class _CommandOptions(_Options):
    """A sub-command, whose options may stand before, between and after its arguments."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line of the sub-command; errors: ``UsageError``."""
        try:
            given, arguments = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(str(error)) from None
        ordered: list[str] = []
        for name, value in given:
            takes_value = f"{name[2:]}=" in self.longOpt
            ordered += [f"{name}={value}"] if takes_value else [name, value] if value else [name]
        super().parseOptions([*ordered, "--", *arguments])


class TailOptions(_CommandOptions):
    """``airyd tail``.

    :ivar token_file: where the token to log in with is, or None

    :ivar url: checked, with a path
    :ivar destinations: checked, without repetitions
    :ivar count: from 1 on, or None
    """

    synopsis = "tail [options] [URL] [DESTINATION...]"
    longdesc = (
        "Print events as they arrive: for a person on a terminal, as JSON lines in a pipe. Reconnects and resumes; "
        "what happens to the connection is said on standard error."
    )
    epilogue = f"""
Arguments:
  URL          ws://HOST:PORT/PATH or wss://HOST:PORT/PATH, without a path: {WEBSOCKET_PATH}
               [default: {WEBSOCKET_URL}]
  DESTINATION  what to follow, such as /queue/message
               [default: {_INDENTED_DESTINATIONS}]
"""

    def __init__(self) -> None:
        super().__init__()
        self.url = WEBSOCKET_URL
        self.destinations: tuple[str, ...] = AIRY_DESTINATIONS
        self.count: int | None = None
        self.token_file: str | None = None

    @property
    def host(self) -> str:
        """The URL's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether the URL asks for TLS."""
        return urlsplit(self.url).scheme == "wss"

    @property
    def port(self) -> int:
        """The URL's port, or its scheme's."""
        return urlsplit(self.url).port or (443 if self.secure else 80)

    def opt_token_file(self, path: str) -> None:
        """A file with the token to log in with [default: the environment's AIRYD_TOKEN]."""
        self.token_file = path

    def opt_count(self, number: str) -> None:
        """End after this many events [default: never]."""
        if not (number.isascii() and number.isdecimal() and int(number) > 0):
            raise usage.UsageError(f"--count takes a whole number from 1 on, not {number!r}")
        self.count = int(number)

    opt_n = opt_count

    def parseArgs(self, *arguments: str) -> None:
        """Take the URL, if there is one, and the destinations."""
        names = list(arguments)
        if names and not names[0].startswith("/"):
            self.url = _websocket_url(names.pop(0))
        self.destinations = tuple(dict.fromkeys(map(_destination, names))) or AIRY_DESTINATIONS


class PublishOptions(_CommandOptions):
    """``airyd publish``.

    :ivar token_file: where the admin endpoint's token is, or None

    :ivar url: checked, of the admin endpoint
    :ivar destination: checked
    :ivar body: the event's JSON; None: lines of standard input
    """

    synopsis = "publish [options] [URL] DESTINATION [BODY]"
    longdesc = (
        "Publish BODY, or each line of standard input, as an event, and print its id. A refused line is said on "
        "standard error with the reason; the rest goes on, and the exit status is 1."
    )
    epilogue = f"""
Arguments:
  URL          of the admin endpoint, http://HOST:PORT
               [default: {ADMIN_URL}]
  DESTINATION  where to publish, such as /queue/message
  BODY         a JSON object
               [default: lines of standard input, a JSON object on each]
"""

    def __init__(self) -> None:
        super().__init__()
        self.url = ADMIN_URL
        self.destination = ""
        self.body: str | None = None
        self.token_file: str | None = None

    def opt_token_file(self, path: str) -> None:
        """A file with the admin endpoint's token [default: the environment's AIRYD_ADMIN_TOKEN]."""
        self.token_file = path

    def parseArgs(self, *arguments: str) -> None:
        """Take the URL, if there is one, the destination, and the body, if there is one."""
        rest = list(arguments)
        if rest and not rest[0].startswith("/"):
            self.url = _admin_url(rest.pop(0))
        match rest:
            case [destination]:
                self.destination = _destination(destination)
            case [destination, body]:
                self.destination, self.body = _destination(destination), body
            case []:
                raise usage.UsageError("a DESTINATION is needed, such as /queue/message")
            case _:
                raise usage.UsageError(f"too many arguments: one BODY at most (quote it), not {len(rest) - 1}")


class TokenOptions(_CommandOptions):
    """``airyd token``.

    :ivar subject: whom the token is for
    :ivar secret_file: where the secret is, or None
    :ivar secret_env: the variable that it is in, or None
    :ivar is_base64: whether it is base64
    :ivar lifetime: seconds
    :ivar claims: beside Airy's
    """

    synopsis = "token [options] SUBJECT"
    longdesc = (
        "Print a token (HS256) for SUBJECT with the claims of Airy's, to try things: a server started with "
        "--auth jwt:secret-file=... takes it."
    )
    epilogue = """
Arguments:
  SUBJECT      the user's id

Example:
  airyd token --secret-file secret --claim 'subscribe=["/queue/*"]' ann > token
"""

    def __init__(self) -> None:
        super().__init__()
        self.subject = ""
        self.secret_file: str | None = None
        self.secret_env: str | None = None
        self.is_base64 = False
        self.lifetime = 3600
        self.claims: dict[str, Any] = {}

    def opt_secret_file(self, path: str) -> None:
        """A file with the secret."""
        self.secret_file = path

    def opt_secret_env(self, name: str) -> None:
        """The name of an environment variable with the secret."""
        self.secret_env = name

    def opt_base64(self) -> None:
        """The secret is base64, as Airy's."""
        self.is_base64 = True

    def opt_for(self, seconds: str) -> None:
        """Seconds until it expires [default: 3600]."""
        if not (seconds.isascii() and seconds.isdecimal()):
            raise usage.UsageError(f"--for takes a whole number of seconds, not {seconds!r}")
        self.lifetime = int(seconds)

    def opt_claim(self, text: str) -> None:
        """A claim more, NAME=JSON or NAME=TEXT; repeatable."""
        try:
            name, value = claim(text)
        except ValueError as error:
            raise usage.UsageError(f"--claim: {error}") from None
        self.claims[name] = value

    def parseArgs(self, *arguments: str) -> None:
        """Take the subject."""
        if len(arguments) != 1 or not arguments[0]:
            raise usage.UsageError("one SUBJECT is needed, the user's id")
        (self.subject,) = arguments
        if (self.secret_file is None) == (self.secret_env is None):
            raise usage.UsageError("give --secret-file or --secret-env, where the secret is")


class AirydOptions(_Options):
    """``airyd``: its sub-commands."""

    synopsis = "[options] COMMAND ..."
    subCommands = (
        ("tail", None, TailOptions, "Print events as they arrive."),
        ("publish", None, PublishOptions, "Publish events through the admin endpoint."),
        ("token", None, TokenOptions, "Print a token to try things with."),
    )
    longdesc = "Look into a running airyd, and feed it. The server itself is started with: twistd -n airyd"

    def postOptions(self) -> None:
        """See to it that there is something to do."""
        if self.subCommand is None:
            raise usage.UsageError("a command is needed: tail, publish or token")


def _destination(name: str) -> str:
    if not DESTINATION.match(name):
        raise usage.UsageError(f"{name!r} is not a destination; one looks like /queue/message")
    return name


def _websocket_url(text: str) -> str:
    parts = _url(text, ("ws", "wss"), WEBSOCKET_URL)
    return parts._replace(path=parts.path if parts.path not in ("", "/") else WEBSOCKET_PATH).geturl()


def _admin_url(text: str) -> str:
    parts = _url(text, ("http", "https"), ADMIN_URL)
    if parts.query:
        raise usage.UsageError(f"{text!r} has a query; the admin endpoint's URL looks like {ADMIN_URL}")
    return parts.geturl()


def _url(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Check what all URLs have in common."""
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and parts.port != 0 and not parts.fragment and text.isascii()
    except ValueError:
        well_formed = False
    if not well_formed or parts.scheme not in schemes or not text.isprintable() or " " in text:
        raise usage.UsageError(f"{text!r} is not a {' or '.join(schemes)} URL; one looks like {example}")
    if parts.username is not None:
        raise usage.UsageError("a user name in the URL is not supported")
    return parts
