"""Redis Streams keep the contract, on a real redis-server, with publishers that know nothing of airyd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from airyd.errors import PayloadRefused
from airyd.events import Event
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources.query import Query
from airyd.sources.redis.address import read_address
from airyd.sources.redis.source import RedisStreams
from tests.redis.case import until
from tests.redis.server import own_prefix, shared_server
from tests.sources.contract import NEWS, EventSourceContract
from tests.sources.support import START

#: A destination that no test of the contract uses.
_LANDMARK = "/landmark"


@implementer(IEventSink)
class _Landmarks:
    """Hands everything on but the events of the landmark, which it counts."""

    def __init__(self, sink: IEventSink) -> None:
        self._sink = sink
        self.ids: list[str] = []
        self.landmarks: list[str] = []

    def deliver(self, events: Sequence[Event]) -> None:
        """Sort them."""
        self.ids += [event.id for event in events]
        others = [event for event in events if event.destination != _LANDMARK]
        self.landmarks += [event.id for event in events if event.destination == _LANDMARK]
        if others:
            self._sink.deliver(others)

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Hand it on."""
        self._sink.gap(destinations, reason)

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Hand it on."""
        self._sink.refused(destination, event_id, refusal)


class _Observed(RedisStreams):
    """Remembers what it was asked for, so that a test knows what must reach the sink.

    :ivar positions: of the destinations that it watches
    """

    observed: _Landmarks | None = None

    def start(self, sink: IEventSink) -> Deferred[None]:
        self.positions: dict[str, str] = {}
        self.observed = _Landmarks(sink)
        return super().start(self.observed)

    def stop(self) -> Deferred[None]:
        self.observed = None
        return super().stop()

    def watch(self, destination: str) -> Deferred[str]:
        def watched(position: str) -> str:
            self.positions[destination] = position
            return position

        return super().watch(destination).addCallback(watched)

    def unwatch(self, destination: str) -> None:
        self.positions.pop(destination, None)
        super().unwatch(destination)


class RedisContractTests(EventSourceContract, TestCase):
    """The suite, and what it needs to know of Redis."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._prefix = own_prefix()
        self._server = shared_server()
        self._operator = self._server.connect()
        self.addCleanup(self._operator.close)
        self._source: _Observed
        self._publisher: Any = None

    def make_source(self) -> IEventSource:
        query = Query(f"redis://127.0.0.1:{self._server.port}")
        address = read_address(f"redis://127.0.0.1:{self._server.port}", query, {})
        self._source = _Observed(address, self._prefix, 10_000, SourceContext(self._reactor, lambda: START, ()))
        return self._source

    async def settle(self) -> None:  # type: ignore[override]  # awaited, as the Deferred is
        """Wait until the sink has the newest event of each watched stream, and one that was added after all others."""
        source, seen = self._source, self._source.observed
        if seen is None:  # stopped
            return
        for destination, position in source.positions.copy().items():
            for event_id, fields in self._operator.call(
                "XREVRANGE", self._prefix + destination, "+", f"({position}", "COUNT", 1
            ):
                newest = event_id.decode()
                if b"payload" in fields:
                    await self.until(lambda newest=newest: newest in seen.ids)
        await source.watch(_LANDMARK)
        landmark = self._operator.call("XADD", self._prefix + _LANDMARK, "*", "payload", "{}").decode()
        await self.until(lambda: landmark in seen.landmarks)
        source.unwatch(_LANDMARK)

    async def until(self, condition: Any) -> None:
        """Wait until the condition is true."""
        await until(self._reactor, condition)

    def feed(self, source: IEventSource, destination: str, content: bytes) -> Deferred[str]:
        """Publish over a connection of another library's, to which airyd is unknown."""
        return Deferred.fromCoroutine(self._add(destination, content))

    async def _add(self, destination: str, content: bytes) -> str:
        if self._publisher is None:
            self._publisher = txredisapi.lazyConnection("127.0.0.1", self._server.port, charset=None)
            self.addCleanup(self._publisher.disconnect)
        event_id: bytes = await self._publisher.execute_command(
            "XADD", self._prefix + destination, "MAXLEN", "~", "10000", "*", "payload", content
        )
        return event_id.decode()

    def unknown_ids(self, source: IEventSource, newest: str) -> Sequence[str]:
        milliseconds, number = source.order(NEWS, newest)
        return (
            f"{milliseconds}-{number + 1}",
            f"{milliseconds + 10**6}-0",
            f"{milliseconds - 10**6}-0",
            f"{milliseconds - 10**6}-{number}",
            f"{milliseconds}-0{number}",
            f"0{milliseconds}-{number}",
            "0-0",
            "1-1-1",
            f"{1 << 64}-0",
            f"{milliseconds}-\u0661",
        )

    async def evict(self, source: IEventSource, destination: str) -> None:
        self._operator.call("XTRIM", self._prefix + destination, "MAXLEN", 0)
