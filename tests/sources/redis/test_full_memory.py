"""A Redis at maxmemory with noeviction: reads continue while writes are refused."""

from __future__ import annotations

from airyd.errors import SourceUnavailable
from airyd.events import HistoryPage
from tests.sources.contract import NEWS
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer
from tests.sources.support import body


class FullMemoryTests(RedisCase):
    """Writes are refused, then allowed again."""

    def make_server(self) -> RedisServer:
        """Return a server of this test's own."""
        return self.own_server("--maxmemory-policy", "noeviction")

    async def test_reading_goes_on(self) -> None:
        """Subscribing, resuming and live events work; publishing fails with the reason."""
        source, sink = await self.watching(NEWS)
        events = self.add(1, 2, 3, 4, destination=NEWS)
        await self.until_seen(sink, events)
        self.redis.call("CONFIG", "SET", "maxmemory", 1)
        error = await self.assertFailure(source.publish(NEWS, body(5)), SourceUnavailable)
        self.assertIn("OOM", str(error))
        page = await source.replay(NEWS, events[0].id, 2)
        self.assertEqual(page, HistoryPage(tuple(events[1:3]), complete=True, more=True))
        page = await source.replay(NEWS, events[2].id, 2)
        self.assertEqual(page, HistoryPage((events[3],), complete=True, more=False))
        self.assertFalse((await source.replay(NEWS, "1-0", 2)).complete)
        self.redis.call("XDEL", self.key(NEWS), events[2].id)
        self.assertFalse((await source.replay(NEWS, events[0].id, 2)).complete)
        await source.watch("/topic/other")
        self.assertEqual(list(source.health()), [])
        self.assertEqual(sink.gaps, [])

        self.redis.call("CONFIG", "SET", "maxmemory", 0)
        events += self.add(6, destination=NEWS)
        await self.until_seen(sink, events)
        self.assertEqual((await source.replay(NEWS, events[3].id, 9)).events, (events[4],))
