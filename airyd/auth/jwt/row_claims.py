"""The row filter of a token: which events its principal sees, by the fields of their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airyd.events import Row
from airyd.payloads import place_of


class ClaimRowFilter:
    """Passes events whose fields all have one of the allowed values (``RowFilter``).

    Filters compare by value: subscribers with equal filters share their work.

    :param fields: the allowed values of each field
    :param missing_allowed: whether an event without such a field passes
    """

    __slots__ = ("_fields", "_hash", "_missing_allowed")

    def __init__(self, fields: Mapping[str, frozenset[str]], missing_allowed: bool) -> None:
        self._fields: Final = tuple(sorted(fields.items()))
        self._missing_allowed = missing_allowed
        self._hash = hash((self._fields, missing_allowed))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClaimRowFilter):
            return NotImplemented
        return (
            self._hash == other._hash
            and self._missing_allowed == other._missing_allowed
            and self._fields == other._fields
        )

    def may_match(self, destination: str) -> bool:
        """Return whether any event of a destination can pass: none can if its events never have a field."""
        return self._missing_allowed or all(place_of(destination, name) is not None for name, _ in self._fields)

    def matches(self, row: Row) -> bool:
        """Return whether the event passes (``RowFilter``)."""
        for name, values in self._fields:
            try:
                found = row.text(name)
            except RecursionError:  # the call stack is deeper here than when the nesting was checked
                return False
            if found is None:
                if not self._missing_allowed:
                    return False
            elif found not in values:
                return False
        return True
