"""A replica as the source: it can be read, but not published to."""

from __future__ import annotations

from airyd.errors import SourceUnavailable
from tests.sources.contract import NEWS
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer
from tests.sources.support import body


class ReplicaTests(RedisCase):
    """Events are added to the master, and read from the replica."""

    def make_server(self) -> RedisServer:
        """Return the master; the replica is beside it."""
        master = self.own_server()
        self.replica = self.own_server("--replicaof", "127.0.0.1", f"{master.port}")
        return master

    async def synchronized(self) -> None:
        """Wait until the replica follows."""
        replica = self.replica.connect()
        self.addCleanup(replica.close)
        await self.until(lambda: b"master_link_status:up" in replica.call("INFO", "replication"))

    async def test_reading(self) -> None:
        """Live events and history have the ids of the master."""
        await self.synchronized()
        source, sink = await self.running(self.url(port=self.replica.port))
        first = self.add(1, destination=NEWS)
        replica = self.replica.connect()
        self.addCleanup(replica.close)
        await self.until(lambda: replica.call("XRANGE", self.key(NEWS), first[0].id, first[0].id))
        self.assertEqual(await source.watch(NEWS), first[0].id)
        events = self.add(2, 3, destination=NEWS)
        await self.until_seen(sink, events)
        page = await source.replay(NEWS, first[0].id, 10)
        self.assertEqual((page.complete, list(page.events)), (True, events))

    async def test_publishing(self) -> None:
        await self.synchronized()
        source, _ = await self.running(self.url(port=self.replica.port))
        error = await self.assertFailure(source.publish(NEWS, body(1)), SourceUnavailable)
        self.assertIn("READONLY", str(error))
