"""What the options of all sub-commands of ``airyd`` have in common."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from getopt import GetoptError, getopt, gnu_getopt
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from twisted.python import usage

from airyd import __version__
from airyd.events import DESTINATION
from airyd.limits import PATTERN
from airyd.patterns import ANY_SEGMENT, Pattern
from airyd.spelling import closest

WEBSOCKET_URL: Final = "ws://127.0.0.1:8080/ws.communication"
WEBSOCKET_PATH: Final = "/ws.communication"
ADMIN_URL: Final = "http://127.0.0.1:8081"

#: The largest number that an option takes, unless it says otherwise.
_MOST: Final = 10**15
#: Characters of a wrong value that an error quotes.
_QUOTED: Final = 200
_USER_INFO: Final = re.compile(r"//[^/?#]*@")
#: What to write instead of a scheme that belongs to the other kind of URL.
_OTHER_SCHEME: Final = {"http": "ws", "https": "wss"}


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
            raise _option_error(error, self.shortOpt, self.longOpt) from None
        ordered: list[str] = []
        for name, value in given:
            takes_value = f"{name[2:]}=" in self.longOpt
            ordered += [f"{name}={value}"] if takes_value else [name, value] if value else [name]
        super().parseOptions([*ordered, "--", *arguments])


def check_command(options: Sequence[str], short: str, long: Sequence[str], commands: Sequence[str]) -> None:
    """Check the options in front of the command, and that there is such a command; errors: ``UsageError``."""
    try:
        _, arguments = getopt(options, short, long)
    except GetoptError as error:
        raise _option_error(error, short, long) from None
    if arguments and arguments[0] not in commands:
        known = f"there are {', '.join(commands)}"
        raise usage.UsageError(
            f"there is no command {arguments[0][:_QUOTED]!r}; {_did_you_mean(arguments[0], commands) or known}"
        )


def _option_error(error: GetoptError, short: str, long: Sequence[str]) -> usage.UsageError:
    names = [name.rstrip("=") for name in long]
    is_short = len(error.opt) == 1
    if error.opt in short if is_short else any(name.startswith(error.opt) for name in names):
        return usage.UsageError(str(error))  # a value is missing, or too much
    option = f"-{error.opt}" if is_short else f"--{error.opt}"
    hint = _did_you_mean(option, [f"--{name}" for name in names])
    return usage.UsageError("; ".join(filter(None, (f"there is no option {option[:_QUOTED]}", hint))))


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the most similar known word; empty if none is similar."""
    similar = closest(word, known)
    return f"did you mean {similar}?" if similar else ""


def whole(option: str, number: str, most: int = _MOST) -> int:
    """Return a number from 1 on; errors: ``UsageError``."""
    if number.isascii() and number.isdecimal() and len(number) <= len(str(most)) and 0 < int(number) <= most:
        return int(number)
    raise usage.UsageError(f"--{option} takes a whole number from 1 to {most}, not {number[:_QUOTED]!r}")


def file_name(option: str, path: str) -> str:
    """Return the path of a file, which is read later; errors: ``UsageError``."""
    if not path:
        raise usage.UsageError(f"--{option} takes the path of a file")
    return path


def destination(name: str) -> str:
    """Return a destination's name that can be one; errors: ``UsageError``."""
    if ANY_SEGMENT in name:
        raise usage.UsageError(f"{name[:_QUOTED]!r} is a pattern; name one destination, such as /queue/message")
    if not DESTINATION.match(name):
        raise usage.UsageError(f"{name[:_QUOTED]!r} is not a destination; one looks like /queue/message")
    return name


def destination_or_pattern(text: str) -> str:
    """Return a destination's name, or a pattern for several (``airyd.patterns``); errors: ``UsageError``."""
    if ANY_SEGMENT not in text:
        return destination(text)
    if len(text) > PATTERN:
        raise usage.UsageError(f"a pattern has at most {PATTERN} characters")
    try:
        return Pattern(text).text
    except ValueError as error:
        raise usage.UsageError(str(error)) from None


def websocket_url(text: str) -> str:
    """Return a WebSocket's URL, with a path; errors: ``UsageError``."""
    parts = _url(text, ("ws", "wss"), WEBSOCKET_URL)
    return parts._replace(path=parts.path if parts.path not in ("", "/") else WEBSOCKET_PATH).geturl()


def admin_url(text: str) -> str:
    """Return the URL of an admin endpoint; errors: ``UsageError``."""
    parts = _url(text, ("http", "https"), ADMIN_URL)
    if parts.query:
        raise usage.UsageError(f"the admin endpoint's URL has no query; it looks like {ADMIN_URL}")
    return parts.geturl()


def _url(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Check what all URLs have in common. The errors show no user name and no password."""
    shown = _USER_INFO.sub("//", text)[:_QUOTED]
    wrong = f"{shown!r} is not a {' or '.join(schemes)} URL"
    parts = port = None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        if parts is not None:
            raise usage.UsageError(f"{wrong}: a port is a number from 1 to 65535") from None
    if parts is None or not text.isascii() or not text.isprintable() or " " in text or parts.fragment:
        raise usage.UsageError(f"{wrong}: one has ASCII letters, no spaces and no '#', and looks like {example}")
    if parts.scheme not in schemes:
        instead = _OTHER_SCHEME.get(parts.scheme)
        hint = (
            f"did you mean {instead}{shown[len(parts.scheme) :]}?"
            if instead in schemes
            else f"one looks like {example}"
        )
        raise usage.UsageError(f"{wrong}; {hint}")
    if parts.username is not None:
        raise usage.UsageError("a user name in the URL is not supported")
    if not parts.hostname:
        raise usage.UsageError(f"{wrong}; one looks like {example}")
    if port == 0:
        raise usage.UsageError(f"{wrong}: a port is a number from 1 to 65535")
    is_address = ":" in parts.hostname
    try:
        parts.hostname.encode("idna")  # as the resolver does
    except UnicodeError:
        raise usage.UsageError(
            f"{parts.hostname[:_QUOTED]!r} is not a host name: a part of it is empty or too long"
        ) from None
    host = f"[{parts.hostname}]" if is_address else parts.hostname
    return parts._replace(netloc=host if port is None else f"{host}:{port}")
