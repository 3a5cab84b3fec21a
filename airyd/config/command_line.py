"""The command line of ``twistd airyd``: parses it and prints the help."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from getopt import GetoptError, getopt
from typing import Any, NoReturn

from twisted.python import usage

from airyd import __version__
from airyd.auth import describe_authenticators
from airyd.config.configuration import Configuration
from airyd.config.help import describe_options
from airyd.config.options import OPTIONS
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError
from airyd.runtime.log_format import JSON
from airyd.runtime.twistd_files import check_twistd_files
from airyd.sources import describe_sources
from airyd.spelling import did_you_mean
from airyd.standard_output import print_and_exit


class Options(usage.Options):
    """Reads the command line, the environment and the configuration file into :attr:`settings`.

    :param program: the program in the usage line of the help; empty for twistd
    :ivar configuration: reads all three again
    """

    synopsis = "[options]"
    # Twisted needs these for its completion in zsh, and makes ``longOpt`` from them.
    optParameters: Sequence[Sequence[Any]] = [
        [option.name, None, option.default or None, option.text] for option in OPTIONS.values() if not option.is_switch
    ]
    optFlags: Sequence[Sequence[Any]] = [
        [name, None, option.text]
        for option in OPTIONS.values()
        if option.is_switch
        for name in (option.name, f"no-{option.name}")
    ]

    configuration: Configuration
    settings: Settings

    def __init__(self, program: str = "") -> None:
        super().__init__()
        self._program = program

    def getSynopsis(self) -> str:
        """Return the first line of ``--help`` (Twisted's interface)."""
        return f"Usage: {self._program} [options]" if self._program else super().getSynopsis()

    def opt_help(self) -> NoReturn:
        """Show the options and exit (Twisted's interface)."""
        self._show(lambda: str(self))

    def opt_help_sources(self) -> NoReturn:
        """Describe the event sources and exit."""
        self._show(describe_sources)

    def opt_help_auth(self) -> NoReturn:
        """Describe the authenticators and exit."""
        self._show(describe_authenticators)

    def opt_version(self) -> NoReturn:
        """Show the version of airyd and exit."""
        self._show(lambda: f"airyd {__version__}")

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of ``--help`` (Twisted's interface)."""
        return describe_options()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line and read the rest; an error ends the program with one line and status 1.

        twistd would print the whole help and exit with status 0.
        """
        arguments = sys.argv[1:] if options is None else list(options)
        try:
            self.configuration = Configuration(self._split(arguments), os.environ)
            self.settings = self.configuration.read()
            if self.parent is not None:
                self._check_log_format(self.parent)
                check_twistd_files(self.parent)
        except ConfigurationError as error:
            raise SystemExit(f"airyd: {error}") from None

    def _show(self, text: Callable[[], str]) -> NoReturn:
        print_and_exit(self._program or "airyd", text())

    def _check_log_format(self, twistd: usage.Options) -> None:
        """Raise ``ConfigurationError`` if twistd writes a log whose format airyd can't choose."""
        for option in ("syslog", "logger"):
            if self.settings.log_format == JSON and twistd[option]:
                text = f"--log-format {JSON}: not with twistd's --{option}, which has a format of its own"
                raise self.configuration.located(ConfigurationError(text))

    def _split(self, arguments: list[str]) -> list[tuple[str, str]]:
        """Return the options with their values; one such as ``--version`` prints its text and ends the program."""
        try:
            given, rest = getopt(arguments, self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise ConfigurationError(self._what_is_wrong(error.opt)) from None
        names = [name.removeprefix("--") for name, _ in given]
        for name in names:
            if names.count(name) > 1 and not (name in OPTIONS and OPTIONS[name].repeatable):
                raise ConfigurationError(f"--{name} is given twice; give it once")
            if f"no-{name}" in names:
                raise ConfigurationError(f"--{name} and --no-{name} are both given; give one of them")
        found = []
        for name, (_, value) in zip(names, given, strict=True):
            if name in OPTIONS:
                found.append((name, "true" if OPTIONS[name].is_switch else value))
            elif name.startswith("no-"):
                found.append((name.removeprefix("no-"), "false"))
            else:
                getattr(self, f"opt_{name.replace('-', '_')}")()
        if rest:
            raise ConfigurationError(f"{rest[0]}: airyd takes options only; see --help")
        return found

    def _what_is_wrong(self, name: str) -> str:
        """Return the error for an option that getopt refused; ``name`` may be an abbreviation."""
        known = {option.rstrip("="): option.endswith("=") for option in self.longOpt}
        abbreviated = [option for option in known if option.startswith(name) and len(name) > 1]
        meant = [name] if name in known else abbreviated
        dashed = f"--{name}" if len(name) > 1 else f"-{name}"
        if not meant and self.parent is not None and _is_known(name, self.parent):
            return f"{dashed} is an option of twistd: write it in front of the word airyd"
        if not meant:
            return f"there is no option {dashed}{did_you_mean(name, known, '--{}')} See --help"
        if len(meant) > 1:
            return f"{dashed} may mean --{' or --'.join(meant)}: write the full name"
        return f"--{meant[0]} needs a value" if known[meant[0]] else f"--{meant[0]} takes no value"


def _is_known(name: str, options: usage.Options) -> bool:
    return name in options.shortOpt.replace(":", "") or name in [option.rstrip("=") for option in options.longOpt]
