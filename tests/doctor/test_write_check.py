"""The test event of ``airyd doctor --write``."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from airyd.doctor.findings import Level
from airyd.sources.redis.streams import RedisStreams
from tests.doctor.case import OwnServerCase, examine
from tests.leaks import MARK
from tests.sources.redis.rights import documented_users


class WriteTests(OwnServerCase):
    """A test event through a stream of its own."""

    def keys(self) -> list[bytes]:
        """Return all keys of the server."""
        return list(self.redis.call("KEYS", "*"))

    def written(self) -> int:
        """Return how often XADD was called."""
        stats = self.redis.call("INFO", "commandstats").decode()
        line = next((line for line in stats.splitlines() if line.startswith("cmdstat_xadd:")), "calls=0,")
        return int(line.partition("calls=")[2].partition(",")[0])

    async def test_streams(self) -> None:
        report = await self.examine("--write")
        self.all_well(report, "test-event")
        self.has(report, Level.OK, "test-event", "a test event came back within ")
        self.assertEqual(self.keys(), [])

    async def test_pubsub(self) -> None:
        report = await self.examine("--write", url=self.url(more="&mode=pubsub"))
        self.all_well(report, "test-event")
        self.assertEqual(self.keys(), [])

    async def test_only_with_the_option(self) -> None:
        report = await self.examine()
        self.assertEqual(self.of_check(report, "test-event"), [])
        self.assertEqual(self.keys(), [])

    async def test_without_the_right_to_delete(self) -> None:
        """What could not be deleted is not written."""
        self.prefix = "airyd:"
        self.redis.call(*next(words for words in documented_users() if words[2] == "airyd"), f">{MARK}-1")
        url = self.url(f"airyd:{MARK}-1@")
        report = await self.examine("--write", url=url)
        self.has(report, Level.WARNING, "test-event", "could not be deleted: NOPERM", "+del")
        self.assertEqual(self.keys(), [])
        self.redis.call("ACL", "SETUSER", "airyd", "+del")
        self.all_well(await self.examine("--write", url=url), "test-event")
        self.assertEqual(self.keys(), [])

    async def test_refused(self) -> None:
        """Redis accepts no writes."""
        self.configure("maxmemory", 1)
        report = await self.examine("--write")
        self.has(report, Level.FAILURE, "test-event", "OOM", "memory")
        self.assertEqual(self.keys(), [])

    async def test_interrupted(self) -> None:
        """The stream is deleted also if the doctor is interrupted after the event was written."""
        published: Deferred[None] = Deferred()
        publish = RedisStreams.publish

        def never(source: RedisStreams, destination: str, body: bytes) -> Deferred[str]:
            def written(event_id: str) -> Deferred[str]:
                self.reactor.callLater(0, published.callback, None)
                return Deferred()

            return publish(source, destination, body).addCallback(written)

        self.patch(RedisStreams, "publish", never)
        running = Deferred.fromCoroutine(examine(self.reactor, f"--source={self.url()}", "--write", "--admin=none"))
        await published
        self.assertEqual(len(self.keys()), 1)
        running.cancel()
        await self.assertFailure(running, CancelledError)
        self.assertEqual(self.keys(), [])
