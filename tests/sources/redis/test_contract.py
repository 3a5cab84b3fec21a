"""Redis Streams keep the contract on a real redis-server, with independent publishers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources.redis.address import read_address
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.streams import RedisStreams
from airyd.sources.url_query import Query
from tests.sources.contract import NEWS
from tests.sources.redis.case import until
from tests.sources.redis.contract import RedisContract
from tests.sources.support import LANDMARK, START, Landmarks


class _Observed(RedisStreams):
    """A source that records its calls, so that the test knows which events must reach the sink.

    :ivar positions: of the destinations that it watches
    """

    observed: Landmarks | None = None

    def start(self, sink: IEventSink) -> Deferred[None]:
        self.positions: dict[str, str] = {}
        self.observed = Landmarks(sink)
        return super().start(self.observed)

    def stop(self) -> Deferred[None]:
        self.observed = None
        return super().stop()

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        def watched(position: str) -> str:
            self.positions[destination] = position
            return position

        return super().watch(destination, after_gap).addCallback(watched)

    def unwatch(self, destination: str) -> None:
        self.positions.pop(destination, None)
        super().unwatch(destination)


@pytest.mark.integration
class RedisContractTests(RedisContract, TestCase):
    """The contract suite with Redis Streams."""

    _source: _Observed

    def make_source(self) -> IEventSource:
        query = Query(f"redis://127.0.0.1:{self.server.port}")
        address = read_address(f"redis://127.0.0.1:{self.server.port}", query, {})
        self._source = _Observed(
            RedisClient(address, self.reactor), self.prefix, 10_000, SourceContext(self.reactor, lambda: START, ())
        )
        return self._source

    async def settle(self) -> None:  # type: ignore[override]  # awaited, as the Deferred is
        """Wait until the sink has the newest event of each watched stream, and one that was added after all others."""
        source, seen = self._source, self._source.observed
        if seen is None:  # stopped
            return
        for destination, position in source.positions.copy().items():
            for event_id, fields in self.operator.call(
                "XREVRANGE", self.prefix + destination, "+", f"({position}", "COUNT", 1
            ):
                newest = event_id.decode()
                if b"payload" in fields:
                    await self.until(lambda newest=newest: newest in seen.ids)
        await source.watch(LANDMARK)
        landmark = self.operator.call("XADD", self.prefix + LANDMARK, "*", "payload", "{}").decode()
        await self.until(lambda: landmark in [event.id for event in seen.landmarks])
        source.unwatch(LANDMARK)

    async def until(self, condition: Any) -> None:
        """Wait until the condition is true."""
        await until(self.reactor, condition)

    def feed(self, source: IEventSource, destination: str, content: bytes) -> Deferred[str]:
        """Publish with another Redis library."""
        return Deferred.fromCoroutine(self._add(destination, content))

    async def _add(self, destination: str, content: bytes) -> str:
        event_id: bytes = await self.publisher.execute_command(
            "XADD", self.prefix + destination, "MAXLEN", "~", "10000", "*", "payload", content
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
        self.operator.call("XTRIM", self.prefix + destination, "MAXLEN", 0)
