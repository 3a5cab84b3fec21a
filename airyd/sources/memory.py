"""The memory feed: what is published in this process, and a history of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from airyd.errors import SourceUnavailable
from airyd.events import Event, Replay
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources.history import HISTORY, HISTORY_BYTES, UNKNOWN, History, read_bounds
from airyd.sources.url_query import Query

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\Z")


@implementer(IEventSource)
class MemorySource:
    """A feed that lives in this process alone and ends with it.

    Ids are ``<epoch>-<number>``: the epoch is the time of the source's making in milliseconds since
    1970; the numbers of a destination count from 1. The position of a destination that has had no
    events is ``<epoch>-0``. What is published is kept whether the destination is watched or not.

    :param wall: gives wall-clock seconds since 1970
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
        """Begin (``IEventSource``)."""
        self._sink = sink
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End (``IEventSource``); later calls fail with ``SourceUnavailable``."""
        self._sink = None
        self._watched.clear()
        self._pending.clear()
        return succeed(None)

    def extend(self, destinations: Sequence[str]) -> None:
        """There is nothing to prepare (``IEventSource``)."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        if self._sink is None:
            return fail(_not_running())
        self._watched.add(destination)
        return succeed(self._id(self._history(destination).last))

    def unwatch(self, destination: str) -> None:
        """Deliver nothing more of this destination (``IEventSource``)."""
        self._watched.discard(destination)
        # Else a watch from within deliver() would give a position and then an event before it.
        self._pending = [event for event in self._pending if event.destination != destination]

    def replay(self, destination: str, after: str, limit: int) -> Deferred[Replay]:
        """Read a page of history (``IEventSource``).

        The event ``after`` may itself be gone, as long as all that followed it is there.
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

    def order(self, destination: str, event_id: str) -> tuple[int, int]:
        """Return the epoch and the number of an id; ``ValueError`` if it isn't of this form."""
        match = _ID.match(event_id)
        if match is None:
            raise ValueError("not an id of the memory feed")
        return int(match[1]), int(match[2])

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Add an event (``IEventSource``); the sink has it before this returns.

        Only what the sink publishes from within ``deliver`` reaches it after that call, in order.
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
        """Say nothing: there is nothing that could be wrong."""
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
    """Return the memory feed that the parameters ``history`` and ``history-bytes`` ask for."""
    return MemorySource(context.wall, *read_bounds(query))


def parse(url: str, context: SourceContext) -> MemorySource:
    """Return the source of a URL ``memory:[?history=N&history-bytes=B]``."""
    query = Query(url)
    source = memory_source(query, context)
    query.finish()
    return source


def _not_running() -> SourceUnavailable:
    return SourceUnavailable("the memory feed is not running")
