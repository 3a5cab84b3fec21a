"""``airyd config``: checks a configuration file as the daemon's start does, and shows the effective options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airyd.config.command_line import Options
from airyd.config.configuration import Configuration
from airyd.config.effective import show_effective
from airyd.errors import ConfigurationError
from airyd.interfaces import IServerReactor
from airyd.tap import check_daemon


def check_file(path: str, reactor: IServerReactor) -> None:
    """Raise ``ConfigurationError`` with one line if the daemon could not start with this file alone.

    It opens no port and makes no connection.
    """
    configuration = Configuration((("config", path),), {})
    settings = configuration.read()
    try:
        check_daemon(settings, reactor)
    except ConfigurationError as error:
        raise configuration.located(error) from None


def effective(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the options that a daemon with this command line would have, as text.

    Ends the program with one line if an option is wrong, as the daemon does.
    """
    options = Options("airyd config show")
    options.parseOptions(words)
    return show_effective(options.configuration, environ)
