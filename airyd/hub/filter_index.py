"""Finds who may see an event by the event's fields, so that an event costs nothing for the row filters of others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from airyd.events import Event, FilterKey, Row, RowFilter
from airyd.hub.pacing import LateRemovals
from airyd.hub.row_filter import FilterFailed, Rows

#: An item with more values than this stays in the index for the rest of the turn of the reactor when it is discarded.
MANY_VALUES: Final = 100


class Filtered(Protocol):
    """Stands for everybody with one row filter."""

    @property
    def members(self) -> Collection[object]:
        """Those who have it now."""

    @property
    def row_filter(self) -> RowFilter | None:
        """The filter; None lets all events pass."""


F = TypeVar("F", bound=Filtered)


class Selection(NamedTuple, Generic[F]):
    """Who may see which events of a batch.

    :ivar indexes: the indexes of the events by item
    :ivar broken: the items whose filter raised an exception
    """

    indexes: Mapping[F, Sequence[int]]
    broken: Collection[F]


class FilterIndex(Generic[F]):
    """Items by their row filter, at most one for each filter; equal filters count as the same.

    An item is kept under each value of its filter's key (``RowFilter.key``). An event is looked up once for each field
    that any filter has as its key; only the filters found there are asked about the rest of the event. A filter without
    a key is asked about every event.

    Adding and removing takes time in proportion to the number of values of the filter's key: 100 to 500 ns each. A
    client may send hundreds of SUBSCRIBEs and UNSUBSCRIBEs in one turn of the reactor, and others must not wait for all
    that. So an item with many values is removed in a later turn, unless it has members again by then.

    :param late_removals: all indexes of a hub share it
    :ivar filters: how many items have a filter; those that are removed in a later turn count
    :ivar unfiltered: the item without a filter
    """

    __slots__ = (
        "_by_field",
        "_late_removals",
        "_sufficient",
        "_without_key",
        "_without_values",
        "filters",
        "unfiltered",
    )

    def __init__(self, late_removals: LateRemovals) -> None:
        self.filters = 0
        self.unfiltered: F | None = None
        self._late_removals = late_removals
        self._without_key: dict[RowFilter, F] = {}
        self._without_values: dict[RowFilter, F] = {}
        # Nearly all values belong to one item; a dict for each of them would take 200 bytes more.
        self._by_field: dict[str, dict[str, F | _Several[F]]] = {}
        self._sufficient: dict[str, dict[str, F | _Several[F]]] = {}  # those whose key suffices

    def __iter__(self) -> Iterator[F]:
        """Return all items, each once, in no particular order."""
        kept = [each for by_field in (self._by_field, self._sufficient) for each in by_field.values()]
        held = [each for by_value in kept for each in dict.fromkeys(by_value.values())]  # each value takes 20 ns
        several = [item for each in held if isinstance(each, _Several) for item in each.values()]
        single = [each for each in held if not isinstance(each, _Several)]
        unfiltered = [] if self.unfiltered is None else [self.unfiltered]
        others = (*self._without_key.values(), *self._without_values.values())
        return iter(dict.fromkeys([*unfiltered, *others, *several, *single]))

    def get(self, row_filter: RowFilter | None) -> F | None:
        """Return the item with a filter that is equal to this one; None if there is none."""
        if row_filter is None:
            return self.unfiltered
        key = row_filter.key
        if key is None or not key.values:
            return self._list(key).get(row_filter)
        held = self._table(key).get(key.field, {}).get(next(iter(key.values)))
        if isinstance(held, _Several):
            return held.get(row_filter)
        return held if held is not None and held.row_filter == row_filter else None

    def add(self, item: F) -> None:
        """Add an item; there must be none with an equal filter."""
        row_filter = item.row_filter
        if row_filter is None:
            self.unfiltered = item
            return
        self.filters += 1
        key = row_filter.key
        if key is None or not key.values:
            self._list(key)[row_filter] = item
            return
        by_value = self._table(key).setdefault(key.field, {})
        for value in key.values:
            held = by_value.get(value)
            if held is None:
                by_value[value] = item
            elif isinstance(held, _Several):
                held[row_filter] = item
            elif held.row_filter is not None:
                by_value[value] = _Several({held.row_filter: held, row_filter: item})

    def replace(self, item: F, other: F) -> None:
        """Put an item into the place of one with an equal filter."""
        row_filter = item.row_filter
        key = None if row_filter is None else row_filter.key
        if row_filter is None:
            self.unfiltered = other
            return
        if key is None or not key.values:
            self._list(key)[row_filter] = other
            return
        by_value = self._table(key)[key.field]
        for value in key.values:
            held = by_value[value]
            if isinstance(held, _Several):
                held[row_filter] = other
            else:
                by_value[value] = other

    def discard(self, item: F) -> None:
        """Remove an item, which is in the index and has no members: now, or in a later turn."""
        if values_of(item.row_filter) <= MANY_VALUES:
            self._remove(item)
        else:
            self._late_removals.add(lambda: self._remove_late(item))

    def _remove_late(self, item: F) -> int:
        """Remove a discarded item unless it has members again; return how many values that were."""
        if item.members or self.get(item.row_filter) is not item:
            return 0
        self._remove(item)
        return values_of(item.row_filter)

    def _remove(self, item: F) -> None:
        row_filter = item.row_filter
        if row_filter is None:
            self.unfiltered = None
            return
        self.filters -= 1
        key = row_filter.key
        if key is None or not key.values:
            del self._list(key)[row_filter]
            return
        table = self._table(key)
        by_value = table[key.field]
        for value in key.values:
            held = by_value.get(value)  # None if the key of a plugin's filter repeats a value
            if isinstance(held, _Several):
                held.pop(row_filter, None)
                if not held:
                    del by_value[value]
            elif held is item:
                del by_value[value]
        if not by_value:
            del table[key.field]

    def select(self, events: Sequence[Event], rows: Rows) -> Selection[F]:
        """Return who may see which of these events, without :attr:`unfiltered`."""
        selected: dict[F, list[int]] = {}
        broken: dict[F, None] = {}
        if not self._by_field and not self._sufficient and not self._without_key:
            return Selection(selected, broken)
        for index, event in enumerate(events):
            row = rows.row(event)
            for item in _found(self._sufficient, row):
                selected.setdefault(item, []).append(index)
            for item in (*self._without_key.values(), *_found(self._by_field, row)):
                assert item.row_filter is not None  # noqa: S101  # else it would be unfiltered
                try:
                    passes = rows.passes(event, item.row_filter)
                except FilterFailed:
                    broken[item] = None
                    continue
                if passes:
                    selected.setdefault(item, []).append(index)
        for item in broken:  # it must not get the events after the one that failed: it would resume after them
            selected.pop(item, None)
        return Selection(selected, broken)

    def _list(self, key: FilterKey | None) -> dict[RowFilter, F]:
        return self._without_key if key is None else self._without_values

    def _table(self, key: FilterKey) -> dict[str, dict[str, F | _Several[F]]]:
        return self._sufficient if key.suffices else self._by_field


class _Several(dict[RowFilter, F], Generic[F]):
    """The items of one value by their filter; a type of its own tells them from a single item."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none
        return id(self)


def values_of(row_filter: RowFilter | None) -> int:
    """Return how many values a filter's key has; 0 without a key."""
    key = None if row_filter is None else row_filter.key
    return 0 if key is None else len(key.values)


def _found(by_field: Mapping[str, Mapping[str, F | _Several[F]]], row: Row) -> list[F]:
    """Return the items that have one of the row's values."""
    found: list[F] = []
    for field, by_value in by_field.items():
        try:
            value = row.text(field)
        except RecursionError:  # the call stack is deeper here than when the nesting was checked: none may see it
            continue
        held = None if value is None else by_value.get(value)
        if isinstance(held, _Several):
            found += held.values()
        elif held is not None:
            found.append(held)
    return found
