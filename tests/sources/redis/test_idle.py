"""A Redis that closes idle connections: airyd keeps them alive."""

from __future__ import annotations

from airyd.events import MESSAGE
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources import make_source
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer
from tests.sources.support import START, RecordingSink


class IdleTests(RedisCase):
    """Nothing is published for longer than the timeout."""

    def make_server(self) -> RedisServer:
        """Return a server with a timeout of two seconds."""
        return self.own_server("--timeout", "2")

    async def reached(self, more: str) -> tuple[IEventSource, RecordingSink]:
        """Return a source and its sink; no destination is watched."""
        source = make_source(self.url(more=more), SourceContext(self.reactor, lambda: START, (MESSAGE,)))
        self.addCleanup(source.stop)
        sink = RecordingSink()
        await source.start(sink)
        return source, sink

    async def test_both_modes(self) -> None:
        sources = [await self.reached(""), await self.reached("&mode=pubsub")]
        end = self.reactor.seconds() + 6
        while self.reactor.seconds() < end:
            self.assertEqual([list(source.health()) for source, _ in sources], [[], []])
            await self.wait(0.01)
        self.redis = self.connect()
        for source, sink in sources:
            await source.watch(MESSAGE)
            await source.publish(MESSAGE, b'{"conversation_id":"c","message":{"id":"m"}}')
            await self.until(lambda sink=sink: sink.events)  # type: ignore[misc]  # a lambda
            self.assertEqual(sink.gaps, [])
