"""The in-memory history of a destination, from which ``memory:`` and Redis Pub/Sub serve resumes."""

from __future__ import annotations

from typing import Final

from airyd.events import Event, HistoryPage
from airyd.limits import MIB
from airyd.sources.url_query import Query

#: The defaults for each destination: events kept, and bytes of their bodies.
HISTORY: Final = 1000
HISTORY_BYTES: Final = 64 * MIB

#: The page after an id that is unknown, or after which an event is lost.
UNKNOWN: Final = HistoryPage((), complete=False, more=False)


class History:
    """Keeps the last events of one destination, by number.

    Numbers count from 1 without a gap: events below ``first`` have been dropped, and ``last`` is the newest.
    """

    def __init__(self, events: int, size: int) -> None:
        self._events: dict[int, Event] = {}
        self._room = events
        self._bytes_left = size
        self.first = 1
        self.last = 0

    def append(self, event: Event) -> None:
        """Add an event with the next number, and drop the oldest events that no longer fit."""
        self.last += 1
        self._events[self.last] = event
        self._bytes_left -= len(event.body)
        while self._events and (len(self._events) > self._room or self._bytes_left < 0):
            self._bytes_left += len(self._events.pop(self.first).body)
            self.first += 1

    def newest(self, limit: int) -> list[Event]:
        """Return the newest events, at most ``limit``, oldest first."""
        first = max(self.first, self.last - limit + 1)
        return [self._events[number] for number in range(first, self.last + 1)]

    def find(self, number: int) -> Event | None:
        """Return the event with a number; None if it is not kept."""
        return self._events.get(number)

    def after(self, number: int, limit: int) -> HistoryPage:
        """Return a page of at most ``limit`` events after the one with this number."""
        if not self.first - 1 <= number <= self.last:
            return UNKNOWN
        end = min(number + limit, self.last)
        events = tuple(self._events[each] for each in range(number + 1, end + 1))
        return HistoryPage(events, complete=True, more=end < self.last)


def read_bounds(query: Query) -> tuple[int, int]:
    """Return the parameters ``history`` and ``history-bytes``: events, and bytes of bodies, to keep."""
    return query.integer("history", HISTORY, 0, 10_000_000), query.integer("history-bytes", HISTORY_BYTES, 0, 1 << 40)
