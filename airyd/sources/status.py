"""The feed of ``/airyd/status``: what a client can know of the server besides events (docs/protocol.rst, "Status")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from airyd import notices
from airyd.errors import UnknownDestination
from airyd.events import STATUS, Event, Replay
from airyd.interfaces import IEventSink, IStatusSource

#: Seconds between two looks at the sources, while somebody is subscribed.
LOOK_EVERY: Final = 1.0


class SourceState(NamedTuple):
    """How to find out the state of an event source.

    :ivar destinations: what it has; its owner may add to it
    :ivar health: see ``IEventSource.health``
    """

    destinations: Sequence[str]
    health: Callable[[], Sequence[str]]


@implementer(IStatusSource)
class StatusSource:
    """Looks at the state of the sources while somebody is subscribed, and says when it changes.

    It is the source of one destination, without a history: a MESSAGE tells the whole of what it is about. Ids are
    ``<epoch>-<number>``, as those of ``memory:``.

    :param wall: the wall-clock time, seconds since 1970
    """

    def __init__(self, states: Sequence[SourceState], clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._states = states
        self._clock = clock
        self._epoch = int(wall() * 1000)
        self._number = 0
        self._said = b""
        self._sink: IEventSink | None = None
        self._looking: IDelayedCall | None = None

    # What it says.

    def state(self) -> Event:
        """Return the event that says how the sources are (``IStatusSource``)."""
        return self.notice(self._sources())

    def notice(self, body: bytes) -> Event:
        """Return the event of a notice, with the next id (``IStatusSource``)."""
        self._number += 1
        return Event(STATUS, self._id(), body)

    def drain(self, within: float) -> None:
        """Notify all clients that their connections end within so many seconds."""
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
        if state != self._said:
            self._said = state
            self._deliver(state)

    # What a source is.

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Begin (``IEventSource``)."""
        self._sink = sink
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End (``IEventSource``)."""
        self.unwatch(STATUS)
        self._sink = None
        return succeed(None)

    def extend(self, destinations: Sequence[str]) -> None:
        """There is nothing to prepare (``IEventSource``): it has one destination."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Look at the sources from now on (``IEventSource``)."""
        self._said = self._sources()
        self._looking = self._clock.callLater(LOOK_EVERY, self._look)
        return succeed(self._id())

    def unwatch(self, destination: str) -> None:
        """Stop looking (``IEventSource``)."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def replay(self, destination: str, after: str, limit: int) -> Deferred[Replay]:
        """Say that nothing is kept (``IEventSource``): the present state is all that counts."""
        return succeed(Replay((), complete=False, more=False))

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return epoch and number of an id (``IEventSource``)."""
        epoch, number = event_id.split("-")
        return int(epoch), int(number)

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Refuse (``IEventSource``): only airyd itself speaks here."""
        return fail(UnknownDestination(f"Nothing can be published to {STATUS}."))

    def health(self) -> Sequence[str]:
        """Say that all is well (``IEventSource``)."""
        return ()
