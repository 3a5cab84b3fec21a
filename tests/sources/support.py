"""Helpers shared by the tests of event sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from airyd.errors import PayloadFault, PayloadRefused
from airyd.events import AIRY_DESTINATIONS, Event
from airyd.interfaces import IEventSink, SourceContext

#: The wall-clock time at which a test begins, and the epoch of a memory feed made then.
START: Final = 1_610_462_945.25
EPOCH: Final = 1_610_462_945_250
#: A destination that no test of the contract uses.
LANDMARK: Final = "/landmark"


def make_context(clock: Clock | None = None, destinations: Sequence[str] = AIRY_DESTINATIONS) -> SourceContext:
    """Return a source context whose wall clock is the given clock."""
    time = clock or MemoryReactorClock()
    return SourceContext(cast(IReactorCore, time), lambda: START + time.seconds(), destinations)


@implementer(IEventSink)
class RecordingSink:
    """A sink that keeps events, gaps and refusals.

    :ivar on_delivery: called after each delivery
    :ivar on_gap: called after each gap
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches = 0
        self.gaps: list[tuple[tuple[str, ...], str]] = []
        self.refusals: list[tuple[str, str, PayloadFault]] = []
        self.on_delivery: Callable[[], object] = lambda: None
        self.on_gap: Callable[[], object] = lambda: None

    def deliver(self, events: Sequence[Event]) -> None:
        """Keep the events."""
        self.batches += 1
        self.events.extend(events)
        self.on_delivery()

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Keep the gap."""
        self.gaps.append((tuple(destinations), reason))
        self.on_gap()

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Keep the refused entry and the rule that it broke."""
        self.refusals.append((destination, event_id, refusal.fault))

    def of(self, destination: str) -> list[Event]:
        """Return the destination's events in order of arrival."""
        return [event for event in self.events if event.destination == destination]


@implementer(IEventSink)
class Landmarks:
    """A sink that passes on everything but the events of :data:`LANDMARK`.

    :ivar ids: of all events
    :ivar landmarks: the events that it keeps
    """

    def __init__(self, sink: IEventSink) -> None:
        self._sink = sink
        self.ids: list[str] = []
        self.landmarks: list[Event] = []

    def deliver(self, events: Sequence[Event]) -> None:
        """Pass on all events but landmarks."""
        self.ids += [event.id for event in events]
        others = [event for event in events if event.destination != LANDMARK]
        self.landmarks += [event for event in events if event.destination == LANDMARK]
        if others:
            self._sink.deliver(others)

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Hand it on."""
        self._sink.gap(destinations, reason)

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Hand it on."""
        self._sink.refused(destination, event_id, refusal)


def body(number: int) -> bytes:
    """Return a distinct body."""
    return b'{"number":%d}' % number
