"""Recent pages of the history, which clients that are behind at near positions share."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, succeed

from airyd.events import Event, HistoryPage
from airyd.interfaces import IEventSource
from airyd.limits import MIB, REPLAY_PAGE

#: Bytes of bodies in all pages that are kept.
MOST_BYTES: Final = 8 * MIB


class _Kept(NamedTuple):
    """A page that is kept.

    :ivar ids: the id that it was read after, and those of its events
    :ivar size: the bytes of its bodies
    """

    events: tuple[Event, ...]
    ids: tuple[str, ...]
    size: int


class SharedPages:
    """Reads pages of a source's history, and keeps those that more events followed.

    When many clients are slow at once, each reads a part of a page before its buffer is full. It goes on in the middle
    of that page, where others go on, too. The small pages of clients that acknowledge are not kept.

    A page that is kept stays right: ids and bodies do not change, and it has proved that no event is missing in it.
    Only at a gap must it be forgotten.
    """

    def __init__(self, source: IEventSource) -> None:
        self._source = source
        self._pages: OrderedDict[tuple[str, str], _Kept] = OrderedDict()  # by destination and the id before the page
        self._places: dict[tuple[str, str], tuple[_Kept, int]] = {}  # by destination and id: what follows, and where
        self._size = 0

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """See ``IEventSource``."""
        key: tuple[int, ...] = self._source.order(destination, event_id)
        return key

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read events of the history (``IEventSource``); from a page that is kept, if the id is in it."""
        found = self._places.get((destination, after))
        if found is not None:
            kept, start = found
            self._pages.move_to_end((destination, kept.ids[0]))
            return succeed(HistoryPage(kept.events[start : start + limit], complete=True, more=True))
        reading: Deferred[HistoryPage] = self._source.replay(destination, after, limit)
        return reading.addCallback(self._keep, destination, after) if limit == REPLAY_PAGE else reading

    def forget(self, destination: str) -> None:
        """Forget the pages of a destination: there is a gap, or nobody reads them any more."""
        for key in [key for key in self._pages if key[0] == destination]:
            self._drop(key)

    def _keep(self, page: HistoryPage, destination: str, after: str) -> HistoryPage:
        if page.more and page.events and (destination, after) not in self._pages:
            ids = (after, *(event.id for event in page.events))
            kept = _Kept(page.events, ids, sum(len(event.body) for event in page.events))
            self._pages[destination, after] = kept
            self._places.update({(destination, each): (kept, start) for start, each in enumerate(ids[:-1])})
            self._size += kept.size
            while self._size > MOST_BYTES:
                self._drop(next(iter(self._pages)))
        return page

    def _drop(self, key: tuple[str, str]) -> None:
        kept = self._pages.pop(key)
        self._size -= kept.size
        for each in kept.ids:
            if self._places.get((key[0], each), (None,))[0] is kept:  # another page may have the same event
                del self._places[key[0], each]
