"""Helpers of the tests over a real redis-server: a source, a publisher, and bounded waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from airyd.events import MESSAGE, Event
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources import make_source
from tests.patience import PATIENCE, TIMEOUT
from tests.sources.redis.server import Connection, RedisServer, Word, own_prefix, shared_server
from tests.sources.support import START, RecordingSink, body

_POLL: Final = 0.005


@pytest.mark.integration
class RedisCase(TestCase):
    """A test with a server, a second connection to it, and a prefix of its own.

    :ivar server: shared with other tests; a test that breaks it overrides :meth:`make_server`
    :ivar redis: what publishers, operators and accidents do
    """

    timeout = TIMEOUT

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = self.make_server()
        self.prefix = own_prefix()
        self.redis = self.connect()

    def make_server(self) -> RedisServer:
        """Return the server of this test."""
        return shared_server()

    def own_server(self, *options: str, **more: Any) -> RedisServer:
        """Return a server that the test may break."""
        server = RedisServer(*options, **more)
        self.addCleanup(server.close)
        return server

    def connect(self) -> Connection:
        """Open a connection that is closed at the end of the test."""
        connection = self.server.connect()
        self.addCleanup(connection.close)
        return connection

    def url(self, login: str = "", port: int | None = None, more: str = "") -> str:
        """Return the URL of the server with this test's prefix."""
        return f"redis://{login}127.0.0.1:{port or self.server.port}/0?prefix={self.prefix}{more}"

    def source(self, url: str | None = None, **environ: str) -> IEventSource:
        """Return a source, not started, that is stopped at the end of the test."""
        context = SourceContext(self.reactor, lambda: START, (MESSAGE,), environ=environ)
        source = make_source(url or self.url(), context)
        self.addCleanup(source.stop)
        return source

    async def running(self, url: str | None = None, **environ: str) -> tuple[IEventSource, RecordingSink]:
        """Return a source that has reached its server, and its sink."""
        source, sink = self.source(url, **environ), RecordingSink()
        await source.start(sink)
        return source, sink

    async def watching(self, *destinations: str) -> tuple[IEventSource, RecordingSink]:
        """Return a source that watches these, or ``/queue/message``, and its sink."""
        source, sink = await self.running()
        for destination in destinations or (MESSAGE,):
            await source.watch(destination)
        return source, sink

    def key(self, destination: str = MESSAGE) -> str:
        """Return the name of a destination's stream."""
        return f"{self.prefix}{destination}"

    def addition(self, number: int, destination: str = MESSAGE, event_id: str = "*") -> tuple[Word, ...]:
        """Return the command of the contract with publishers."""
        return ("XADD", self.key(destination), "MAXLEN", "~", 10_000, event_id, "payload", body(number))

    def add(self, *numbers: int, destination: str = MESSAGE) -> list[Event]:
        """Publish with the documented command; return the events as the sink should get them."""
        ids = self.redis.pipeline([self.addition(number, destination) for number in numbers])
        return [
            Event(destination, event_id.decode(), body(number)) for event_id, number in zip(ids, numbers, strict=True)
        ]

    def wait(self, seconds: float) -> Deferred[None]:
        """Let the reactor run for some seconds."""
        return deferLater(self.reactor, seconds)

    async def until(self, condition: Callable[[], object], within: float = PATIENCE) -> float:
        """Wait until the condition is true; return how many seconds that took."""
        return await until(self.reactor, condition, within)

    async def until_says(self, source: IEventSource, reason: str) -> None:
        """Wait until the source's health is bad, with this reason in each text."""
        await self.until(lambda: source.health() and all(reason in trouble for trouble in source.health()))

    async def until_has(self, sink: RecordingSink, event: Event, within: float = PATIENCE) -> None:
        """Wait until the sink has this event."""
        await self.until(lambda: event in sink.events, within)

    async def until_seen(self, sink: RecordingSink, events: Sequence[Event], within: float = PATIENCE) -> None:
        """Wait until the sink has as many events as these, and require that it has these."""
        await self.until(lambda: len(sink.events) >= len(events), within)
        self.assertEqual(sink.events, list(events))


def has_tried(source: IEventSource) -> bool:
    """Return whether the source's health is bad for another reason than that it is starting."""
    troubles = source.health()
    return bool(troubles) and not any("not connected yet" in trouble for trouble in troubles)


async def until(clock: IReactorTime, condition: Callable[[], object], within: float = PATIENCE) -> float:
    """Wait until the condition is true; return how many seconds that took.

    Raises ``AssertionError`` if it isn't within so many seconds.
    """
    start = clock.seconds()
    while not condition():
        if clock.seconds() > start + within:
            raise AssertionError(f"did not happen within {within:g} seconds")
        await deferLater(clock, _POLL)
    return clock.seconds() - start
