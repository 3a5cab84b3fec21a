"""What the options of all sub-commands of ``airyd`` have in common."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getopt import GetoptError, gnu_getopt
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from twisted.python import usage

from airyd import __version__
from airyd.events import DESTINATION
from airyd.patterns import ANY_SEGMENT

WEBSOCKET_URL: Final = "ws://127.0.0.1:8080/ws.communication"
WEBSOCKET_PATH: Final = "/ws.communication"
ADMIN_URL: Final = "http://127.0.0.1:8081"


class ProgramOptions(usage.Options):
    """``airyd``, or one of its sub-commands."""

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


class CommandOptions(ProgramOptions):
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


def whole(option: str, number: str) -> int:
    """Return a number from 1 on; errors: ``UsageError``."""
    if not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise usage.UsageError(f"--{option} takes a whole number from 1 on, not {number!r}")
    return int(number)


def checked(name: str) -> str:
    """Return a destination's name that can be one; errors: ``UsageError``."""
    if ANY_SEGMENT in name:
        raise usage.UsageError(f"{name!r} is a pattern; name each destination, such as /queue/message")
    if not DESTINATION.match(name):
        raise usage.UsageError(f"{name!r} is not a destination; one looks like /queue/message")
    return name


def websocket_url(text: str) -> str:
    """Return a WebSocket's URL, with a path; errors: ``UsageError``."""
    parts = _url(text, ("ws", "wss"), WEBSOCKET_URL)
    return parts._replace(path=parts.path if parts.path not in ("", "/") else WEBSOCKET_PATH).geturl()


def admin_url(text: str) -> str:
    """Return the URL of an admin endpoint; errors: ``UsageError``."""
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
