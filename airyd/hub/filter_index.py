"""Finds who may see an event by the event's fields, so that row filters which cannot match cost nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from airyd.events import Event, Row, RowFilter
from airyd.hub.row_filter import Rows


class Filtered(Hashable, Protocol):
    """Has a row filter, which does not change while it is in an index."""

    @property
    def row_filter(self) -> RowFilter | None:
        """The filter; None lets all events pass."""


F = TypeVar("F", bound=Filtered)


class FilterIndex(Generic[F]):
    """Items by the key of their row filter (``RowFilter.key``): the field that it reads, and each value it lets pass.

    An event is looked up once for each field that any filter has as its key; only the filters found there are asked
    about the rest of the event, unless their key suffices. A filter without a key is asked about every event.

    Adding and removing takes time in proportion to the number of values of the filter's key.

    :ivar unfiltered: the items without a filter, in the order in which they were added
    """

    __slots__ = ("_by_field", "_sufficient", "_without_key", "unfiltered")

    def __init__(self) -> None:
        self.unfiltered: dict[F, None] = {}
        self._without_key: dict[F, None] = {}
        # Nearly all values belong to one item; a dict for each of them would take 200 bytes more.
        self._by_field: dict[str, dict[str, F | _Several[F]]] = {}
        self._sufficient: dict[str, dict[str, F | _Several[F]]] = {}  # those whose key suffices

    def __bool__(self) -> bool:
        return bool(self.unfiltered or self._without_key or self._by_field or self._sufficient)

    def add(self, item: F) -> None:
        """Add an item, which must not be in the index."""
        row_filter = item.row_filter
        key = None if row_filter is None else row_filter.key
        if key is None:
            (self.unfiltered if row_filter is None else self._without_key)[item] = None
            return
        by_field = self._sufficient if key.suffices else self._by_field
        by_value = by_field.setdefault(key.field, {})
        for value in key.values:
            held = by_value.get(value)
            if held is None:
                by_value[value] = item
            elif isinstance(held, _Several):
                held[item] = None
            else:
                by_value[value] = _Several({held: None, item: None})

    def discard(self, item: F) -> None:
        """Remove an item, if it is in the index."""
        row_filter = item.row_filter
        key = None if row_filter is None else row_filter.key
        if key is None:
            (self.unfiltered if row_filter is None else self._without_key).pop(item, None)
            return
        by_field = self._sufficient if key.suffices else self._by_field
        by_value = by_field.get(key.field, {})
        for value in key.values:
            held = by_value.get(value)
            if isinstance(held, _Several):
                held.pop(item, None)
            if not held or held is item:
                by_value.pop(value, None)
        if not by_value:
            by_field.pop(key.field, None)

    def select(self, events: Sequence[Event], rows: Rows) -> dict[F, list[int]]:
        """Return who may see which of these events: the indexes of the events by item, without :attr:`unfiltered`.

        Raises what a filter raises.
        """
        selected: dict[F, list[int]] = {}
        if not self._by_field and not self._sufficient and not self._without_key:
            return selected
        for index, event in enumerate(events):
            row = rows.row(event)
            for item in _found(self._sufficient, row):
                selected.setdefault(item, []).append(index)
            for item in (*self._without_key, *_found(self._by_field, row)):
                if item.row_filter is not None and rows.passes(event, item.row_filter):
                    selected.setdefault(item, []).append(index)
        return selected


def _found(by_field: Mapping[str, Mapping[str, F | _Several[F]]], row: Row) -> list[F]:
    """Return the items that have one of the row's values."""
    found: list[F] = []
    for field, by_value in by_field.items():
        try:
            value = row.text(field)
        except RecursionError:  # the stack is deeper here than when the nesting was checked; then no filter matches
            continue
        held = None if value is None else by_value.get(value)
        if isinstance(held, _Several):
            found += held
        elif held is not None:
            found.append(held)
    return found


class _Several(dict[F, None], Generic[F]):
    """The items of one value; a type of its own tells them from a single item."""

    __slots__ = ()
