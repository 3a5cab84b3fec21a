"""A history in this process, for feeds that have none of their own: the last events of a destination."""

from __future__ import annotations

from typing import Final

from airyd.events import Event, Replay
from airyd.limits import MIB
from airyd.sources.url_query import Query

#: What is kept of each destination by default: events, and bytes of their bodies.
HISTORY: Final = 1000
HISTORY_BYTES: Final = 64 * MIB

#: The page after an id that is unknown, or after which something is gone.
UNKNOWN: Final = Replay((), complete=False, more=False)


class History:
    """The last events of one destination, by their numbers.

    Numbers count from 1 without a hole, so that which are missing can be told without the events:
    those below ``first`` are gone, and ``last`` is the newest.
    """

    def __init__(self, events: int, size: int) -> None:
        self._events: dict[int, Event] = {}
        self._room = events
        self._bytes_left = size
        self.first = 1
        self.last = 0

    def append(self, event: Event) -> None:
        """Keep the event under the next number, and drop the oldest ones that no longer fit."""
        self.last += 1
        self._events[self.last] = event
        self._bytes_left -= len(event.body)
        while self._events and (len(self._events) > self._room or self._bytes_left < 0):
            self._bytes_left += len(self._events.pop(self.first).body)
            self.first += 1

    def after(self, number: int, limit: int) -> Replay:
        """Return the page of at most ``limit`` events that begins behind the number."""
        if not self.first - 1 <= number <= self.last:
            return UNKNOWN
        end = min(number + limit, self.last)
        events = tuple(self._events[each] for each in range(number + 1, end + 1))
        return Replay(events, complete=True, more=end < self.last)


def read_bounds(query: Query) -> tuple[int, int]:
    """Return how many events, and bytes of bodies, the parameters ``history`` and ``history-bytes`` ask to keep."""
    return query.integer("history", HISTORY, 0, 10_000_000), query.integer("history-bytes", HISTORY_BYTES, 0, 1 << 40)
