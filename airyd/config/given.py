"""The values that options were given, each with its place, and the errors that name this place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from airyd.config.options import Option
from airyd.errors import ConfigurationError

COMMAND_LINE: Final = "command line"
DEFAULT: Final = "default"
#: Characters of a wrong value that an error quotes.
_SHOWN: Final = 60
_NO_KEYS: Final[Mapping[str, str]] = MappingProxyType({})


class Given(NamedTuple):
    """One value of an option; ``repr`` hides it, since it may be a secret.

    :ivar origin: where it comes from, such as ``command line``
    :ivar label: the option as errors write it, such as ``--body`` or ``AIRYD_BODY``
    :ivar keys: for a table of the configuration file, each key with its label
    """

    option: Option
    text: str
    origin: str
    label: str
    keys: Mapping[str, str] = _NO_KEYS

    def __repr__(self) -> str:
        return f"Given({self.label})"

    def read(self) -> Any:
        """Return the option's value; raises ``ConfigurationError``."""
        try:
            return self.option.read(self.text)
        except ValueError as error:
            raise self.error(str(error)) from None

    def error(self, reason: str) -> ConfigurationError:
        """Return the error for this value."""
        value = f" {self.text[:_SHOWN]}{'...' if len(self.text) > _SHOWN else ''}" if self.text else " is empty"
        return ConfigurationError(f"{self.label}{value}: {reason}")


def on_command_line(option: Option, text: str) -> Given:
    """Return a value of the command line."""
    return Given(option, text, COMMAND_LINE, f"--{option.name}")


def by_default(option: Option) -> Given:
    """Return the default of an option."""
    return Given(option, option.default, DEFAULT, f"--{option.name}")


def in_environment(option: Option, text: str) -> Given:
    """Return a value of the environment."""
    return Given(option, text, f"environment, {option.variable}", option.variable)
