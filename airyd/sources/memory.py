"""The ``memory:`` source: events published in this process, with an in-memory history."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from airyd.errors import SourceUnavailable
from airyd.events import Event, HistoryPage, InvalidEntry
from airyd.interfaces import IBrowsableSource, IEventSink, IHistorySource, SourceContext
from airyd.sources.history import HISTORY, HISTORY_BYTES, UNKNOWN, History, read_bounds
from airyd.sources.url_query import Query

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\Z")


@implementer(IBrowsableSource, IHistorySource)
class MemorySource:
    """A feed that lives in this process alone and ends with it.

    Ids are ``<epoch>-<number>``: the epoch is the time at which the source was made, in milliseconds since
    1970; the numbers of a destination count from 1. The position of a destination without events is
    ``<epoch>-0``. Events are kept whether the destination is watched or not.

    :param wall: returns wall-clock seconds since 1970
    :param history: events kept per destination
    :param history_bytes: bytes of bodies kept per destination
    """

    def __init__(self, wall: Callable[[], float], history: int = HISTORY, history_bytes: int = HISTORY_BYTES) -> None:
        self._epoch = int(wall() * 1000)
        self._bounds = (history, history_bytes)
        self._histories: dict[str, History] = {}
        self._watched: set[str] = set()
        self._sink: IEventSink | None = None
        self._pending: list[Event] = []
        self._delivering = False

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start (``IEventSource``)."""
        self._sink = sink
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Stop (``IEventSource``); later calls fail with ``SourceUnavailable``."""
        self._sink = None
        self._watched.clear()
        self._pending.clear()
        return succeed(None)

    def extend(self, destinations: Sequence[str]) -> None:
        """Do nothing: a new destination needs no preparation (``IEventSource``)."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        if self._sink is None:
            return fail(_not_running())
        self._watched.add(destination)
        return succeed(self._id(self._history(destination).last))

    def unwatch(self, destination: str) -> None:
        """Stop delivering this destination's events (``IEventSource``)."""
        self._watched.discard(destination)
        # Otherwise a watch called within deliver() would return a position and then deliver an event before it.
        self._pending = [event for event in self._pending if event.destination != destination]

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read a page of history (``IEventSource``).

        The event ``after`` itself may be dropped, if all events after it are still there.
        """
        if self._sink is None:
            return fail(_not_running())
        try:
            epoch, number = self.order(destination, after)
        except ValueError:
            return succeed(UNKNOWN)
        if epoch != self._epoch:
            return succeed(UNKNOWN)
        return succeed(self._history(destination).after(number, limit))

    def keeps_history(self, destination: str) -> bool:
        """Return whether past events are kept (``IHistorySource``)."""
        return min(self._bounds) > 0

    def newest(self, destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events (``IBrowsableSource``)."""
        return fail(_not_running()) if self._sink is None else succeed(self._history(destination).newest(limit))

    def find(self, destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an event (``IBrowsableSource``); the feed refuses invalid ones, so there are none."""
        if self._sink is None:
            return fail(_not_running())
        try:
            epoch, number = self.order(destination, event_id)
        except ValueError:
            return succeed(None)
        return succeed(self._history(destination).find(number) if epoch == self._epoch else None)

    def order(self, destination: str, event_id: str) -> tuple[int, int]:
        """Return the epoch and the number of an id (``IEventSource``)."""
        match = _ID.match(event_id)
        if match is None:
            raise ValueError("not an id of the memory feed")
        return int(match[1]), int(match[2])

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event (``IEventSource``); it is delivered before this returns.

        Events that the sink publishes within ``deliver`` are delivered after that call, in order.
        """
        if self._sink is None:
            return fail(_not_running())
        history = self._history(destination)
        event = Event(destination, self._id(history.last + 1), body)
        history.append(event)
        if destination in self._watched:
            self._pending.append(event)
            self._deliver(self._sink)
        return succeed(event.id)

    def health(self) -> Sequence[str]:
        """Return nothing: this feed cannot fail (``IEventSource``)."""
        return ()

    def _history(self, destination: str) -> History:
        history = self._histories.get(destination)
        if history is None:
            history = self._histories[destination] = History(*self._bounds)
        return history

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _deliver(self, sink: IEventSink) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                sink.deliver(batch)
        finally:
            self._delivering = False


def memory_source(query: Query, context: SourceContext) -> MemorySource:
    """Return a memory feed with the parameters ``history`` and ``history-bytes``."""
    return MemorySource(context.wall, *read_bounds(query))


def parse(url: str, context: SourceContext) -> MemorySource:
    """Return the source of a URL ``memory:[?history=N&history-bytes=B]``."""
    query = Query(url)
    source = memory_source(query, context)
    query.finish()
    return source


def _not_running() -> SourceUnavailable:
    return SourceUnavailable("the memory feed is not running")
