"""Entries that are large beside ``client-output-buffer-limit``: Redis closes a connection whose reply is larger."""

from __future__ import annotations

from airyd.events import Event
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer

A, B = "/topic/a", "/topic/b"
#: What a reply may have, and the size and number of the entries that wait.
LIMIT = 2_000_000
SIZE = 200_000
WAITING = 60


class OutputLimitTests(RedisCase):
    """Everything is delivered, and a resume works."""

    def make_server(self) -> RedisServer:
        return self.own_server("--client-output-buffer-limit", "normal", f"{LIMIT}", "0", "0")

    def add_large(self, destination: str) -> list[Event]:
        """Publish large events; return them."""
        body = b'{"x":"%b"}' % (b"x" * SIZE)
        key = self.key(destination)
        ids = self.redis.pipeline([("XADD", key, "*", "payload", body) for _ in range(WAITING)])
        return [Event(destination, event_id.decode(), body) for event_id in ids]

    async def test_reading(self) -> None:
        """Small entries come first, and the large ones while the connection is down."""
        _, sink = await self.watching(A, B)
        small = [event for each in (A, B) for event in self.add(*range(500), destination=each)]
        await self.until(lambda: len(sink.events) == len(small))
        sink.events.clear()
        self.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        large = {each: self.add_large(each) for each in (A, B)}
        await self.until(lambda: len(sink.events) == 2 * WAITING)
        for destination, events in large.items():
            self.assertEqual([event.id for event in sink.of(destination)], [event.id for event in events])
        self.assertEqual(sink.gaps, [])

    async def test_resuming(self) -> None:
        source, _ = await self.running()
        (first,) = self.add(1, destination=A)
        events = self.add_large(A)
        after, got, more = first.id, list[str](), True
        while more:
            page = await source.replay(A, after, 200)
            self.assertTrue(page.complete)
            self.assertLess(sum(len(event.body) for event in page.events), LIMIT)
            got += [event.id for event in page.events]
            after, more = got[-1], page.more
        self.assertEqual(got, [event.id for event in events])
