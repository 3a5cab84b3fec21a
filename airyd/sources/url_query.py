"""The parameters of a source URL, strictly read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from airyd.errors import ConfigurationError
from airyd.sources.routing import PARAMETER
from airyd.spelling import did_you_mean

#: Characters of a wrong value that are shown.
_SHOWN: Final = 60
NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})


class Query:
    """The parameters behind a URL's ``?``, taken one after the other by their names.

    ``finish`` then refuses those that nobody took, so that no misspelt one is ignored. Names and
    values may be percent-encoded; a ``+`` is a plus sign. Each method raises ``ConfigurationError``.
    """

    def __init__(self, url: str) -> None:
        address, _, query = url.partition("?")
        self.scheme, _, self.rest = address.partition(":")
        self._values: dict[str, str] = {}
        self._known: list[str] = []
        for part in query.split("&") if query else ():
            name, equals, value = part.partition("=")
            name = unquote(name)
            if not name or not equals:
                raise self.error(f"expected name=value after '?' and '&', not {part!r}")
            if name in self._values:
                raise self.error(f"parameter {name!r} is given twice")
            try:
                self._values[name] = unquote(value, errors="strict")
            except UnicodeDecodeError:
                raise self.error(f"parameter {name!r} is not UTF-8") from None

    def error(self, text: str) -> ConfigurationError:
        """Return the error for the caller to raise, with the scheme in front."""
        return ConfigurationError(f"{self.scheme}: {text}")

    def text(self, name: str) -> str | None:
        """Take a parameter as it is; None if it isn't there."""
        self._known.append(name)
        return self._values.get(name)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Take a whole number from ``low`` to ``high``."""
        value = self.text(name)
        if value is None:
            return default
        # int() would also take "1_000", " 1" and other scripts' digits.
        digits = value.removeprefix("-")
        number = int(value) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None
        if number is None or not low <= number <= high:
            raise self.error(f"parameter {name!r} must be a whole number from {low} to {high}, not {_shown(value)}")
        return number

    def number_above_zero(self, name: str, default: float, high: float) -> float:
        """Take a number that is greater than 0 and at most ``high``."""
        value = self.text(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number <= high:
            raise self.error(f"parameter {name!r} must be a number above 0, at most {high:g}, not {_shown(value)}")
        return number

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Take one of some words; the first if it isn't there."""
        value = self.text(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise self.error(f"parameter {name!r} must be {' or '.join(choices)}, not {_shown(value)}")
        return value

    def flag(self, name: str) -> bool:
        """Take a ``1`` or ``0``; False if it isn't there."""
        value = self.text(name)
        if value not in (None, "0", "1"):
            raise self.error(f"parameter {name!r} must be 1 or 0, not {_shown(value)}")
        return value == "1"

    def finish(self, elsewhere: Mapping[str, str] = NOWHERE) -> None:
        """Refuse what was not taken, and an address before the ``?``.

        :param elsewhere: parameters that are known, but not here, and where they are
        """
        if self.rest:
            raise self.error(f"nothing may stand between ':' and '?', but {self.rest!r} does")
        for name in self._values:
            if name not in self._known:
                hint = (
                    f"; it is for {elsewhere[name]}."
                    if name in elsewhere
                    else did_you_mean(name, [*self._known, PARAMETER])
                )
                raise self.error(f"unknown parameter {name!r}{hint} These are known here: {', '.join(self._known)}")


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
