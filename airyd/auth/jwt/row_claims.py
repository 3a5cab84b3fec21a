"""The row filter of a token: which events its principal sees, by the fields of their bodies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Final

from airyd.events import FilterKey, Row
from airyd.payloads import place_of

#: Up to this many values are kept as a tuple, which takes 50 to 70 bytes; the smallest set takes 216.
_FEW: Final = 4

_Fields = tuple[tuple[str, Collection[str]], ...]


class ClaimRowFilter:
    """Passes events whose fields all have one of the allowed values (``RowFilter``).

    Filters compare by value: subscribers with equal filters share their work.

    :param required: the allowed values of each field that an event must have
    :param optional: the allowed values of each field that an event may lack; no field of ``required``
    """

    __slots__ = ("__weakref__", "_hash", "_optional", "_required")

    def __init__(self, required: Mapping[str, Set[str]], optional: Mapping[str, Set[str]]) -> None:
        self._required: Final = _compact(required)
        self._optional: Final = _compact(optional)
        self._hash = hash((self._required, self._optional))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClaimRowFilter):
            return NotImplemented
        return self._hash == other._hash and self._required == other._required and self._optional == other._optional

    @property
    def key(self) -> FilterKey | None:
        """See ``RowFilter``: the required field with the fewest values."""
        if not self._required:
            return None
        name, values = min(self._required, key=lambda field: len(field[1]))
        return FilterKey(name, values, suffices=len(self._required) == 1 and not self._optional)

    def may_match(self, destination: str) -> bool:
        """Return whether any event of a destination can pass: none can if its events never have a required field."""
        return all(place_of(destination, name) is not None for name, _ in self._required)

    def matches(self, row: Row) -> bool:
        """Return whether the event passes (``RowFilter``)."""
        try:
            for name, values in self._required:
                if row.text(name) not in values:
                    return False
            for name, values in self._optional:
                found = row.text(name)
                if found is not None and found not in values:
                    return False
        except RecursionError:  # the call stack is deeper here than when the nesting was checked
            return False
        return True

    def hiding_field(self, row: Row) -> str | None:
        """Return the first field because of which an event does not pass; None if it passes."""
        for name, values in self._required:
            if row.text(name) not in values:
                return name
        for name, values in self._optional:
            found = row.text(name)
            if found is not None and found not in values:
                return name
        return None


def _compact(fields: Mapping[str, Set[str]]) -> _Fields:
    return tuple(
        (name, tuple(sorted(values)) if len(values) <= _FEW else frozenset(values))
        for name, values in sorted(fields.items())
    )
