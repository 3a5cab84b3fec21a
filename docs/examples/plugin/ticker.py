"""An event source for airyd, whole and small: it delivers the time, and what clients publish."""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from airyd.errors import ConfigurationError, SourceUnavailable
from airyd.events import Event, Replay
from airyd.interfaces import IEventSink, IEventSource, SourceContext

ID = re.compile("(0|[1-9][0-9]*)-(0|[1-9][0-9]*)")
KEPT = 100
UNKNOWN = Replay((), complete=False, more=False)


@implementer(IEventSource)
class Ticker:
    """Ids are ``<epoch>-<number>``: the epoch is the time of the start, and each destination counts from 1."""

    def __init__(self, context: SourceContext, seconds: float) -> None:
        self._wall = context.wall
        self._epoch = int(context.wall() * 1000)
        self._seconds = seconds
        self._sink: IEventSink | None = None
        self._watched: set[str] = set()
        self._last: dict[str, int] = defaultdict(int)
        self._history: dict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = IReactorTime(context.reactor)

    def start(self, sink: IEventSink) -> Deferred[None]:
        self._sink = sink
        self._ticks.start(self._seconds, now=False)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        self._sink = None
        if self._ticks.running:
            self._ticks.stop()
        return succeed(None)

    def extend(self, destinations: Sequence[str]) -> None:
        """Every destination is served already."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        if self._sink is None:
            return fail(SourceUnavailable("the ticker has stopped"))
        self._watched.add(destination)
        return succeed(f"{self._epoch}-{self._last[destination]}")

    def unwatch(self, destination: str) -> None:
        self._watched.discard(destination)

    def replay(self, destination: str, after: str, limit: int) -> Deferred[Replay]:
        if self._sink is None:
            return fail(SourceUnavailable("the ticker has stopped"))
        last, history = self._last[destination], self._history[destination]
        try:
            epoch, number = self.order(destination, after)
        except ValueError:
            return succeed(UNKNOWN)
        if epoch != self._epoch or not last - len(history) <= number <= last:
            return succeed(UNKNOWN)
        events = [event for event in history if self.order(destination, event.id)[1] > number]
        return succeed(Replay(tuple(events[:limit]), complete=True, more=len(events) > limit))

    def order(self, destination: str, event_id: str) -> tuple[int, int]:
        match = ID.fullmatch(event_id)
        if match is None:
            raise ValueError("not an id of the ticker")
        return int(match[1]), int(match[2])

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        if self._sink is None:
            return fail(SourceUnavailable("the ticker has stopped"))
        self._last[destination] += 1
        event = Event(destination, f"{self._epoch}-{self._last[destination]}", body)
        self._history[destination].append(event)
        if destination in self._watched:
            self._sink.deliver([event])
        return succeed(event.id)

    def health(self) -> Sequence[str]:
        return ()

    def _tick(self) -> None:
        for destination in tuple(self._watched):
            self.publish(destination, json.dumps({"time": self._wall()}).encode())


def parse(url: str, context: SourceContext) -> Ticker:
    parameters = parse_qs(urlsplit(url).query)
    try:
        seconds = float(parameters.pop("seconds", ["1"])[-1])
    except ValueError:
        seconds = 0.0
    if not seconds > 0 or parameters:
        raise ConfigurationError("ticker: the one parameter is seconds, a number above 0: ticker:?seconds=5")
    return Ticker(context, seconds)
