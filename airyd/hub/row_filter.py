"""Applies row filters to events; each body is decoded once, however many filters read it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from airyd.events import EVENTS, Event, RowFilter
from airyd.payloads import Members, fields_of_event, members_of, place_of, text_of


class LazyRow:
    """An event whose body is decoded when the first filter asks for a field (``airyd.events.Row``)."""

    __slots__ = ("_members", "_texts", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._members: Members | None = None
        self._texts: dict[str, str | None] = {}

    def text(self, field: str) -> str | None:
        """See ``airyd.events.Row``."""
        if field not in self._texts:
            self._texts[field] = self._decoded(field)
        return self._texts[field]

    def _decoded(self, field: str) -> str | None:
        member = place_of(self.event.destination, field)
        if member is None:
            return None
        if self._members is None:
            members = members_of(self.event.body)
            self._members = fields_of_event(members) if self.event.destination == EVENTS else members
        return text_of(self._members, member)


class FilterFailed(Exception):
    """A row filter of a plugin raised an exception, which is logged."""


class Rows:
    """The answers of row filters about the events of one destination.

    Inside a ``with`` block, which covers one delivery, each filter is called once for each event, and each body is
    decoded once, for audiences and replays alike. Nothing is kept after the block.
    """

    __slots__ = ("_answers", "_is_shared", "_rows")

    _log = Logger()

    def __init__(self) -> None:
        self._is_shared = False
        self._rows: dict[str, LazyRow] = {}
        self._answers: dict[tuple[str, RowFilter], bool] = {}

    def __enter__(self) -> Rows:
        self._is_shared = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_shared = False
        if self._rows:  # there is usually no filter
            self._rows.clear()
            self._answers.clear()

    def visible(self, events: Sequence[Event], row_filter: RowFilter) -> Sequence[Event]:
        """Return the events that a filter lets pass; raises :class:`FilterFailed`."""
        return [event for event in events if self.passes(event, row_filter)]

    def passes(self, event: Event, row_filter: RowFilter) -> bool:
        """Return whether a filter lets an event pass; raises :class:`FilterFailed`."""
        if not self._is_shared:  # from a replay's page, which nobody else reads
            return self._ask(row_filter, LazyRow(event))
        key = event.id, row_filter
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._ask(row_filter, self.row(event))
        return answer

    def _ask(self, row_filter: RowFilter, row: LazyRow) -> bool:
        try:
            return row_filter.matches(row)
        except Exception:  # noqa: BLE001  # whatever a plugin raises must not stop the feed for others
            kind = type(row_filter).__name__
            self._log.failure("the row filter {kind} failed", kind=kind, once_a_minute=f"row filter {kind}")
            raise FilterFailed from None

    def row(self, event: Event) -> LazyRow:
        """Return the row of an event, the same for all filters; call it inside a ``with`` block."""
        row = self._rows.get(event.id)
        if row is None:
            row = self._rows[event.id] = LazyRow(event)
        return row
