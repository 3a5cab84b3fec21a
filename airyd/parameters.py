"""A strict reader of named values within one option: the query of a ``--source`` URL, the parts of an ``--auth``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from airyd.errors import ConfigurationError
from airyd.spelling import did_you_mean

#: Characters of a wrong value that an error quotes.
_SHOWN: Final = 60
NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})


class Parameters:
    """Named values, each given once.

    The caller reads each value by its name, then calls :meth:`finish`, which refuses names that were not read: so no
    misspelt name is ignored. Each method raises ``ConfigurationError``.

    :param where: the start of each error, such as ``redis``
    :param given: names and values in their order; None for a name without a value
    """

    #: Whether errors quote wrong values. They must not if a value may be a secret.
    quotes_values = True
    #: Whether a value may be empty.
    takes_empty = True
    #: The character after a name that takes a value, in lists of names.
    mark = ""

    def __init__(self, where: str, given: Iterable[tuple[str, str | None]]) -> None:
        self._where = where
        self._values: dict[str, str | None] = {}
        self._repeated: set[str] = set()
        for name, value in given:
            if name in self._values:
                self._repeated.add(name)
            self._values[name] = value
        self._known: dict[str, str] = {}

    def error(self, text: str, parameter: str = "") -> ConfigurationError:
        """Return the error for the caller to raise.

        :param parameter: the name of the wrong parameter, if it is one
        """
        return ConfigurationError(f"{self._where}: {text}", parameter)

    def has(self, name: str) -> bool:
        """Return whether a name without a value is given."""
        value = self._take(name, "")
        if value is not None:
            raise self.error(f"parameter {name!r} takes no value", name)
        return name in self._values

    def text(self, name: str) -> str | None:
        """Return a value as text; None if it is not given."""
        value = self._take(name, self.mark)
        if name in self._values and (value is None or not (value or self.takes_empty)):
            raise self.error(f"parameter {name!r} needs a value: {name}=...", name)
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self.text(name)
        if value is None:
            return default
        # int() would also accept "1_000", " 1" and digits of other scripts.
        digits = value.removeprefix("-")
        number = int(value) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None
        if number is None or not low <= number <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}", value)
        return number

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        value = self.text(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise self._wrong(name, f"a number from {low:g} to {high:g}", value)
        return number

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices; the first one if none is given."""
        value = self.text(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise self._wrong(name, " or ".join(choices), value)
        return value

    def finish(self, elsewhere: Mapping[str, str] = NOWHERE) -> None:
        """Refuse names that were not read.

        :param elsewhere: names that are valid elsewhere, each with the place
        """
        for number, name in enumerate(self._values, 1):
            if name in self._known:
                continue
            if name in elsewhere:
                raise self._unknown(f"unknown parameter {name!r}; it is for {elsewhere[name]}.", name)
            raise self._unknown(self.describe_unknown(number, name, list(self._known)), name)

    def describe_unknown(self, number: int, name: str, known: Sequence[str]) -> str:
        """Return the error text for a name that was not read.

        :param number: its place, counted from 1
        :param known: the names that were read
        """
        return f"unknown parameter {name!r}{did_you_mean(name, known)}"

    def _unknown(self, text: str, name: str) -> ConfigurationError:
        return self.error(f"{text} These are known here: {', '.join(self._known.values())}", name)

    def _take(self, name: str, mark: str) -> str | None:
        self._known[name] = f"{name}{mark}"
        if name in self._repeated:
            raise self.error(f"parameter {name!r} is given twice", name)
        return self._values.get(name)

    def _wrong(self, name: str, wanted: str, value: str) -> ConfigurationError:
        shown = repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
        return self.error(f"parameter {name!r} must be {wanted}{f', not {shown}' if self.quotes_values else ''}", name)
