"""Redis Pub/Sub keeps the contract on a real redis-server, with independent publishers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from airyd.errors import SourceUnavailable
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.pubsub import RedisPubSub
from tests.sources.contract import COUNTS, NEWS
from tests.sources.redis.case import until
from tests.sources.redis.contract import RedisContract
from tests.sources.redis.fakes import address
from tests.sources.support import LANDMARK, START, Landmarks, body

CATALOGUE = (NEWS, COUNTS, *(f"/topic/{number}" for number in range(10)), LANDMARK)


class _Observed(RedisPubSub):
    """A source that records its calls, so that the test knows which events must reach the sink.

    :ivar beginnings: the positions before any event, by destination
    :ivar numbers: how many events each destination has been given
    """

    observed: Landmarks | None = None

    def start(self, sink: IEventSink) -> Deferred[None]:
        self.numbers = Counter[str]()
        self.beginnings: dict[str, str] = {}
        self.observed = Landmarks(sink)
        return Deferred.fromCoroutine(self._start(self.observed))

    async def _start(self, sink: IEventSink) -> None:
        await super().start(sink)
        for destination in CATALOGUE:
            self.beginnings[destination] = await super().watch(destination)
            super().unwatch(destination)

    def extend(self, destinations: Sequence[str]) -> None:
        super().extend(destinations)
        self.beginnings.update(dict.fromkeys(destinations, self.beginnings[NEWS]))

    def stop(self) -> Deferred[None]:
        self.observed = None
        return super().stop()

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        self.numbers[destination] += 1
        return super().publish(destination, body)


@pytest.mark.integration
class PubSubContractTests(RedisContract, TestCase):
    """The contract suite with Pub/Sub, whose events only have the ids that airyd gives."""

    history = 1100
    _source: _Observed

    def setUp(self) -> None:
        super().setUp()
        self._landmarks = count()

    def make_source(self) -> IEventSource:
        context = SourceContext(self.reactor, lambda: START, CATALOGUE)
        where = RedisClient(address(f"redis://127.0.0.1:{self.server.port}"), self.reactor)
        self._source = _Observed(where, self.prefix, context, history=self.history)
        return self._source

    async def settle(self) -> None:  # type: ignore[override]  # awaited, as the Deferred is
        """Wait until the sink has an event published after all others: Redis keeps the order."""
        source, seen = self._source, self._source.observed
        if seen is None:  # stopped
            return
        await source.watch(LANDMARK)
        landmark = body(next(self._landmarks))
        self.operator.call("PUBLISH", self.prefix + LANDMARK, landmark)
        await until(self.reactor, lambda: landmark in [event.body for event in seen.landmarks])
        source.unwatch(LANDMARK)

    def feed(self, source: IEventSource, destination: str, content: bytes) -> Deferred[str]:
        """Publish with another Redis library; return the id that airyd gives."""
        self._source.numbers[destination] += 1
        epoch = self._source.beginnings[destination].removesuffix("-0")
        return Deferred.fromCoroutine(self._add(destination, content, f"{epoch}-{self._source.numbers[destination]}"))

    async def _add(self, destination: str, content: bytes, event_id: str) -> str:
        await self.publisher.execute_command("PUBLISH", self.prefix + destination, content)
        try:
            while not (await self._source.replay(destination, event_id, 1)).complete:
                await deferLater(self.reactor, 0.001)
        except SourceUnavailable:
            pass  # stopped, perhaps by this very event
        return event_id

    def unknown_ids(self, source: IEventSource, newest: str) -> Sequence[str]:
        began, digits, number = newest.split("-")
        return (
            f"{began}-{digits}-{int(number) + 1}",
            f"{began}-{digits}-{int(number) + 10**15}",
            f"{began}-{digits}-0{number}",
            f"{began}-{digits}-\u0661",
            f"{began}-{digits.upper()[:-1]}A-{number}",
            f"{began}-{(int(digits, 16) + 1) % 16**12:012x}-{number}",
            f"{int(began) - 1}-{digits}-{number}",
            f"{int(began) + 1}-{digits}-{number}",
            f"0{began}-{digits}-{number}",
            f"{began}-{number}",
            "0-0",
        )

    async def evict(self, source: IEventSource, destination: str) -> None:
        commands = [("PUBLISH", self.prefix + destination, body(number)) for number in range(self.history + 1)]
        self._source.numbers[destination] += len(commands)
        self.operator.pipeline(commands)
        await self.settle()
