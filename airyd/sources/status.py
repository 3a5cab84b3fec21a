"""The source of ``/airyd/status``: notices about event sources and shutdown (docs/protocol.rst, "Status")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from airyd import notices
from airyd.errors import UnknownDestination
from airyd.events import STATUS, Event, HistoryPage
from airyd.interfaces import IEventSink, IStatusSource

#: Seconds between two checks of the sources, while a client is subscribed.
LOOK_EVERY: Final = 1.0


class SourceState(NamedTuple):
    """The destinations and the health of an event source.

    :ivar destinations: those that it serves; its owner may add to them
    :ivar health: see ``IEventSource.health``
    """

    destinations: Sequence[str]
    health: Callable[[], Sequence[str]]


@implementer(IStatusSource)
class StatusSource:
    """Checks the health of the sources while a client is subscribed, and publishes each change.

    It serves one destination, without a history: each MESSAGE has the complete state. Ids are ``<epoch>-<number>``, as
    those of ``memory:``.

    :param wall: the wall-clock time, seconds since 1970
    """

    def __init__(self, states: Sequence[SourceState], clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._states = states
        self._clock = clock
        self._epoch = int(wall() * 1000)
        self._number = 0
        self._published = b""
        self._sink: IEventSink | None = None
        self._looking: IDelayedCall | None = None

    # The notices.

    def state(self) -> Event:
        """Return an event with the state of the sources (``IStatusSource``)."""
        return self.notice(self._sources())

    def notice(self, body: bytes) -> Event:
        """Return the event of a notice, with the next id (``IStatusSource``)."""
        self._number += 1
        return Event(STATUS, self._id(), body)

    def drain(self, within: float) -> None:
        """Notify all subscribers that their connections end within this many seconds."""
        self._deliver(notices.draining(within))

    def _sources(self) -> bytes:
        return notices.sources([name for each in self._states if each.health() for name in each.destinations])

    def _deliver(self, body: bytes) -> None:
        if self._looking is not None and self._sink is not None:
            self._sink.deliver([self.notice(body)])

    def _id(self) -> str:
        return f"{self._epoch}-{self._number}"

    def _look(self) -> None:
        self._looking = self._clock.callLater(LOOK_EVERY, self._look)
        state = self._sources()
        if state != self._published:
            self._published = state
            self._deliver(state)

    # IEventSource.

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start (``IEventSource``)."""
        self._sink = sink
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Stop (``IEventSource``)."""
        self.unwatch(STATUS)
        self._sink = None
        return succeed(None)

    def extend(self, destinations: Sequence[str]) -> None:
        """Do nothing: there is only one destination (``IEventSource``)."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Start checking the sources (``IEventSource``)."""
        self._published = self._sources()
        self._looking = self._clock.callLater(LOOK_EVERY, self._look)
        return succeed(self._id())

    def unwatch(self, destination: str) -> None:
        """Stop checking the sources (``IEventSource``)."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Return that there is no history: only the current state counts (``IEventSource``)."""
        return succeed(HistoryPage((), complete=False, more=False))

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return the epoch and the number of an id (``IEventSource``)."""
        epoch, number = event_id.split("-")
        return int(epoch), int(number)

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Refuse: only airyd itself publishes here (``IEventSource``)."""
        return fail(UnknownDestination(f"Nothing can be published to {STATUS}."))

    def health(self) -> Sequence[str]:
        """Return nothing: this source cannot fail (``IEventSource``)."""
        return ()
