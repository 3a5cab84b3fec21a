"""Row filters: which events a principal sees, by the fields of their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airyd.events import Row
from airyd.payloads import place_of


class ClaimRowFilter:
    """Lets events pass that have one of the given values in each of the given fields (``RowFilter``).

    Compared by value: subscribers with equal filters are one audience.

    :param fields: the values of each field that may be seen
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
        """Say whether events of a destination can pass: none can where a field never is."""
        return self._missing_allowed or all(place_of(destination, name) is not None for name, _ in self._fields)

    def matches(self, row: Row) -> bool:
        """Say whether the event passes (``RowFilter``)."""
        for name, values in self._fields:
            try:
                found = row.text(name)
            except RecursionError:  # nested nearly too deep, and looked at from deeper in the stack than when published
                return False
            if found is None:
                if not self._missing_allowed:
                    return False
            elif found not in values:
                return False
        return True
