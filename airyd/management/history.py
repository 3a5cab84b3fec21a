"""A page of a destination's history for the admin page, as a client with the same row filter would get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred

from airyd.errors import QueryRefused, UnknownDestination
from airyd.events import Event, HistoryPage, event_id_of, message_id
from airyd.hub.hub import Hub
from airyd.hub.row_filter import LazyRow
from airyd.interfaces import IBrowsableSource, IEventSource, IMeasuredSource
from airyd.limits import MIB
from airyd.management.filters import row_filter_of
from airyd.management.queries import LARGEST_PAGE, EventRow, EventsQuery, EventsReply

#: About how many bytes of bodies a page has at most; with more it ends earlier.
PAGE_BYTES: Final = 4 * MIB
#: The page of a position that is not one of the source, or of a source that cannot be browsed.
_UNKNOWN: Final = HistoryPage((), complete=False, more=False)


class HistoryReader:
    """Reads pages of the history.

    :param source: the source of all destinations of the hub
    :param wall: returns the wall-clock time in seconds since 1970
    """

    def __init__(self, source: IEventSource, hub: Hub, wall: Callable[[], float]) -> None:
        self._source = source
        self._hub = hub
        self._wall = wall

    def answer(self, query: EventsQuery) -> Deferred[EventsReply]:
        """Return a page; errors: ``QueryRefused``, ``UnknownDestination``, ``SourceUnavailable``."""
        return Deferred.fromCoroutine(self._answer(query))

    async def _answer(self, query: EventsQuery) -> EventsReply:
        if query.destination not in self._hub.catalogue:
            raise UnknownDestination(f"There is no destination {query.destination[:200]!r} here.")
        if not 1 <= query.limit <= LARGEST_PAGE:
            raise QueryRefused(f"a page has 1 to {LARGEST_PAGE} events")
        page = await (self._newest(query) if query.after is None else self._after(query, query.after))
        row_filter = row_filter_of(query.filter)
        seen = [event for event in page.events if row_filter is None or row_filter.matches(LazyRow(event))]
        return EventsReply(
            events=[self._row(event, query.has_bodies) for event in seen],
            complete=page.complete,
            next=message_id(query.destination, page.events[-1].id) if page.more else None,
            skipped=len(page.events) - len(seen),
        )

    async def _newest(self, query: EventsQuery) -> HistoryPage:
        if not IBrowsableSource.providedBy(self._source):
            return _UNKNOWN
        events: Sequence[Event] = await self._source.newest(query.destination, query.limit)
        return HistoryPage(tuple(_fitting(events[::-1], query)[::-1]), complete=True, more=False)

    async def _after(self, query: EventsQuery, after: str) -> HistoryPage:
        event_id = event_id_of(query.destination, after)
        if event_id is None:
            return _UNKNOWN
        page: HistoryPage = await self._source.replay(query.destination, event_id, query.limit)
        events = _fitting(page.events, query)
        return HistoryPage(tuple(events), page.complete, page.more or len(events) < len(page.events))

    def _row(self, event: Event, has_body: bool) -> EventRow:
        source = self._source
        age = source.age(event.destination, event.id) if IMeasuredSource.providedBy(source) else None
        return EventRow(
            id=message_id(event.destination, event.id),
            time=None if age is None else self._wall() - age,
            size=len(event.body),
            body=event.body.decode(errors="replace") if has_body else None,
        )


def _fitting(events: Sequence[Event], query: EventsQuery) -> Sequence[Event]:
    """Return as many of the first events, at least one, as are in a page."""
    size = 0
    for count, event in enumerate(events, 1):
        size += len(event.body) if query.has_bodies else 0
        if size >= PAGE_BYTES:
            return events[:count]
    return events
