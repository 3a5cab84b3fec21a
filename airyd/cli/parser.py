"""argparse for the commands of ``airyd``: errors are one line, and never quote a value that may be a secret."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from airyd import __version__
from airyd.cli.urls import QUOTED
from airyd.spelling import did_you_mean

#: argparse's errors that may quote a secret, or are hard to read, and their replacements.
_REWORDED: Final = (
    (re.compile(r"ambiguous option: (--[^ =]+)(?:=.*)? could match ", re.DOTALL), r"\1 may mean "),
    (re.compile(r"ignored explicit argument .*", re.DOTALL), "takes no value"),
    (re.compile(r"expected one argument"), "needs a value"),
)


class UsageError(Exception):
    """The command line is wrong.

    :param command: the command, such as ``airyd tail``
    """

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(reason)
        self.command = command


class CommandParser(argparse.ArgumentParser):
    """The options of one command, which may come before, between and after its arguments.

    :param arguments: the arguments in the usage line, such as ``[URL] DESTINATION``
    :param details: the text below the options in the help
    :ivar added: the options that the help shows
    """

    def __init__(self, name: str, arguments: str, description: str, details: str = "") -> None:
        super().__init__(
            prog=name,
            usage=f"{name} [options] {arguments}",
            description=description,
            epilog=details,
            formatter_class=_HelpFormatter,
            add_help=False,
        )
        self.added: list[argparse.Action] = []
        self._hidden: list[argparse.Action] = []
        self.option("--help", "-h", action="help", help="show this help and exit")
        self.option("--version", action="version", version=f"airyd {__version__}", help="show the version and exit")

    def option(self, *names: str, **details: Any) -> None:
        """Add an option; ``type`` may raise ``ValueError`` with a text for the user."""
        if "type" in details:
            details["type"] = _convert(details["type"])
        action = self.add_argument(*names, **details)
        (self._hidden if action.help == argparse.SUPPRESS else self.added).append(action)

    def read(self, words: Sequence[str], options: argparse.Namespace) -> Sequence[str]:
        """Parse a command line's options into ``options`` and return its arguments; errors: :class:`UsageError`."""
        given, arguments = self._split(words)
        _, rest = self.parse_known_args(given, options)
        for word in rest:
            if word.startswith("-"):
                name = word.partition("=")[0]
                names = [name for action in self._options() for name in action.option_strings]
                self.error(f"there is no option {name[:QUOTED]}{did_you_mean(name, names)}")
        return [*rest, *arguments]

    def _options(self) -> Sequence[argparse.Action]:
        return [*self.added, *self._hidden]

    def error(self, message: str) -> NoReturn:
        """Raise :class:`UsageError` (called by argparse)."""
        text = message.removeprefix("argument ")
        for pattern, words in _REWORDED:
            text = pattern.sub(words, text)
        raise UsageError(self.prog, text.rstrip("."))

    def _split(self, words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Split the words at ``--``.

        Each option is joined with its value, because argparse would take a value such as ``-a1`` for another option.
        """
        given: list[str] = []
        valued = [name for action in self._options() if action.nargs is None for name in action.option_strings]
        rest = iter(words)
        for word in rest:
            if word == "--":
                break
            value = next(rest, None) if word in valued else None
            given.append(word if value is None else f"{word}={value}")
        return given, list(rest)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


def _convert(read: Callable[[str], object]) -> Callable[[str], object]:
    def convert(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
