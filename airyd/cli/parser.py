"""argparse for the commands of ``airyd``: errors are one line, and never quote a value that may be a secret."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, NoReturn

from airyd import __version__
from airyd.cli.completion import Offer
from airyd.cli.urls import QUOTED
from airyd.spelling import did_you_mean
from airyd.standard_output import print_and_exit

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
    :ivar added: the options
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
        self.option("--help", "-h", action=_ShowHelp, nargs=0, help="show this help and exit")
        self.option("--version", action=_ShowVersion, nargs=0, help="show the version and exit")

    def option(self, *names: str, **details: Any) -> None:
        """Add an option; ``type`` may raise ``ValueError`` with a text for the user, ``choices`` is an enumeration."""
        if "type" in details:
            details["type"] = _convert(details["type"])
        action = self.add_argument(*names, **details)
        self.added.append(action)

    def read(self, words: Sequence[str], options: argparse.Namespace) -> Sequence[str]:
        """Parse a command line's options into ``options`` and return its arguments; errors: :class:`UsageError`."""
        given, arguments = self._split(words)
        _, rest = self.parse_known_args(given, options)
        for word in rest:
            if word.startswith("-"):
                name = word.partition("=")[0]
                names = [name for action in self.added for name in action.option_strings]
                self.error(f"there is no option {name[:QUOTED]}{did_you_mean(name, names)}")
        return [*rest, *arguments]

    def offers(self) -> list[Offer]:
        """Return the options for completion."""
        offers = []
        for action in self.added:
            value = "" if action.nargs is not None else str(action.metavar)
            choices = tuple(str(each.value) for each in action.choices or ())
            is_repeatable = isinstance(action, argparse._AppendAction)
            offers.append(Offer(tuple(action.option_strings), value, action.help or "", choices, is_repeatable))
        return offers

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
        valued = [name for action in self.added if action.nargs is None for name in action.option_strings]
        rest = iter(words)
        for word in rest:
            if word == "--":
                break
            value = next(rest, None) if word in valued else None
            given.append(word if value is None else f"{word}={value}")
        return given, list(rest)


class CommandOptions(argparse.Namespace):
    """The parsed command line of a command; its options are attributes.

    :cvar usage: the arguments in the usage line
    :cvar summary: the command's line in ``airyd --help``
    :cvar description: the text above the options in the command's help
    :cvar details: the explanation of the arguments; empty if there are none
    :cvar first: all possible values of the first argument, if they are few
    """

    usage: ClassVar[str]
    summary: ClassVar[str]
    description: ClassVar[str]
    details: ClassVar[str]
    first: ClassVar[Sequence[str]] = ()

    @classmethod
    def parser(cls, name: str) -> CommandParser:
        """Return the parser of the command with this name."""
        details = cls.details and f"arguments:\n{cls.details}"
        parser = CommandParser(f"airyd {name}", cls.usage, cls.description, details)
        cls.add_options(parser)
        return parser

    @classmethod
    def offers(cls, name: str) -> Sequence[Offer]:
        """Return the options for completion."""
        return cls.parser(name).offers()

    def parse_daemon_options(self, words: Sequence[str]) -> bool:
        """Parse the daemon's options with the daemon's own parser; return False if the command has no such options."""
        return False

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """Add the command's own options; most commands of the daemon have none."""

    def check(self, arguments: Sequence[str]) -> None:
        """Set the arguments and check them against the options; raises ``ValueError`` with a text for the user."""
        raise NotImplementedError


class _ShowHelp(argparse.Action):
    """Shows the help; argparse's own action leaves what it has written to the interpreter's last flush."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """See ``argparse.Action``."""
        print_and_exit(parser.prog, parser.format_help().rstrip("\n"))


class _ShowVersion(argparse.Action):
    """Shows the version."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """See ``argparse.Action``."""
        print_and_exit(parser.prog, f"airyd {__version__}")


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
