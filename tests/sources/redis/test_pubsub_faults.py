"""Pub/Sub on a real redis-server that closes connections, is killed, or cut off: no loss without a gap."""

from __future__ import annotations

import re
from pathlib import Path

from airyd.errors import PayloadFault, SourceUnavailable
from airyd.events import MESSAGE, Event, HistoryPage
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources import make_source
from tests.integration.proxy import Proxy
from tests.sources.redis.case import RedisCase
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import RedisServer
from tests.sources.support import START, RecordingSink, body

A, B = "/topic/a", "/topic/b"
UNKNOWN = HistoryPage((), complete=False, more=False)


class PubSubCase(RedisCase):
    """Helpers of the tests below."""

    def url(self, login: str = "", port: int | None = None, more: str = "") -> str:
        """Return the URL of the server with this test's prefix."""
        return super().url(login, port, f"&mode=pubsub{more}")

    def source(self, url: str | None = None, **environ: str) -> IEventSource:
        """Return a source, not started, that is stopped at the end of the test."""
        context = SourceContext(self.reactor, lambda: START, (A, B, MESSAGE), environ=environ)
        source = make_source(url or self.url(), context)
        self.addCleanup(source.stop)
        return source

    def publish(self, *numbers: int, destination: str = A) -> list[bytes]:
        """Publish with the documented command; return the bodies."""
        bodies = [body(number) for number in numbers]
        self.redis.pipeline([("PUBLISH", self.key(destination), each) for each in bodies])
        return bodies

    async def until_bodies(self, sink: RecordingSink, bodies: list[bytes]) -> None:
        """Wait until the sink has as many events as these, and require that it has these."""
        await self.until(lambda: len(sink.events) >= len(bodies))
        self.assertEqual([event.body for event in sink.events], bodies)

    async def assert_unknown(self, source: IEventSource, event: Event) -> None:
        """Require that a replay after an event is incomplete."""
        self.assertEqual(await source.replay(event.destination, event.id, 10), UNKNOWN)


class NodesTests(PubSubCase):
    """Several nodes on one Redis."""

    async def test_each_has_all_and_its_own_ids(self) -> None:
        nodes = [await self.watching(A) for _ in range(3)]
        bodies = self.publish(1, 2)
        event_id = await nodes[1][0].publish(A, body(3))
        bodies.append(body(3))
        for _, sink in nodes:
            await self.until_bodies(sink, bodies)
        self.assertEqual(nodes[1][1].events[-1].id, event_id)
        self.assertEqual(len({event.id for _, sink in nodes for event in sink.events}), 9)
        for source, sink in nodes:
            for _, other in nodes:
                page = await source.replay(A, other.events[0].id, 10)
                self.assertEqual(page, HistoryPage(tuple(sink.events[1:]), True, False) if other is sink else UNKNOWN)

    async def test_what_is_no_event(self) -> None:
        """It is skipped, reported, and copied once for all nodes."""
        nodes = [await self.watching(MESSAGE) for _ in range(3)]
        good = b'{"conversation_id":"c","message":{"id":"m"}}'
        bad = [b"nonsense", b"{}", b"x" * 300_000]
        for each in (*bad, good):
            self.redis.call("PUBLISH", self.key(MESSAGE), each)
        for _, sink in nodes:
            await self.until_bodies(sink, [good])
            faults = [fault for _, _, fault in sink.refusals]
            self.assertEqual(faults, [PayloadFault.NOT_JSON_OBJECT, PayloadFault.BAD_FIELD, PayloadFault.TOO_BIG])
        await self.until(lambda: self.redis.call("XLEN", f"{self.prefix}dead-letter") == len(bad))
        await self.wait(0.2)
        letters = [
            dict(zip(fields[::2], fields[1::2], strict=True))
            for _, fields in self.redis.call("XRANGE", f"{self.prefix}dead-letter", "-", "+")
        ]
        self.assertEqual({letter[b"channel"].decode() for letter in letters}, {self.key(MESSAGE)})
        self.assertEqual([letter[b"payload"] for letter in letters], [b"nonsense", b"{}", b"x" * 65536])
        names = [event_id for _, event_id, _ in nodes[0][1].refusals]
        self.assertEqual([letter[b"id"].decode() for letter in letters], names)


class SlowTests(PubSubCase):
    """Redis closes the connection of a subscriber that doesn't read."""

    def make_server(self) -> RedisServer:
        return self.own_server("--client-output-buffer-limit", "pubsub", "1mb", "0", "0")

    def subscribed(self) -> set[bytes]:
        """Return the numbers of the connections that are subscribed to something."""
        return set(re.findall(rb"\bid=(\d+)", self.redis.call("CLIENT", "LIST", "TYPE", "pubsub")))

    async def test_cut_off(self) -> None:
        """The reactor is blocked while this test publishes: a gap is reported, and older ids are unknown."""
        source, sink = await self.watching(A, B)
        (first,) = self.publish(0)
        await self.until_bodies(sink, [first])
        subscribed = self.subscribed()
        long = b'{"a":"' + b"x" * 100_000 + b'"}'
        for _ in range(30):
            self.redis.pipeline([("PUBLISH", self.key(A), long) for _ in range(10)])
        await self.until(lambda: sink.gaps)
        self.assertLess(len(sink.events), 301)
        self.assertEqual([destinations for destinations, _ in sink.gaps], [(A, B)])
        self.assertEqual(subscribed & self.subscribed(), set(), "Redis has not cut it off")
        for event in (sink.events[0], sink.events[-1]):
            await self.assert_unknown(source, event)
        del sink.events[:]
        await self.until_bodies(sink, self.publish(1, 2))
        self.assertEqual((await source.replay(A, sink.events[0].id, 10)).events, (sink.events[1],))


class ForgetfulTests(PubSubCase):
    """Redis itself fails."""

    def make_server(self) -> RedisServer:
        return self.own_server()

    async def test_restart(self) -> None:
        source, sink = await self.watching(A)
        await self.until_bodies(sink, bodies := self.publish(1))
        self.server.kill()
        await self.until(lambda: len(source.health()) == 2)
        publishing, watching = source.publish(A, body(2)), source.watch(B)
        await self.wait(0.2)
        self.assertEqual((publishing.called and not publishing.paused, sink.gaps), (False, []))
        self.server.start()
        self.redis = self.connect()
        await publishing
        await watching
        await self.until_bodies(sink, [*bodies, body(2)])
        self.assertEqual([destinations for destinations, _ in sink.gaps], [(A,)])
        await self.assert_unknown(source, sink.events[0])
        self.assertEqual(list(source.health()), [])

    async def test_busy(self) -> None:
        """A Redis that is busy for long, and keeps its connections, loses nothing."""
        source, sink = await self.watching(A)
        self.server.pause()
        self.addCleanup(self.server.resume)
        await self.until(lambda: any("subscriber" in trouble for trouble in source.health()))
        await self.wait(3)
        self.server.resume()
        await self.until(lambda: not source.health())
        await self.until_bodies(sink, self.publish(1))
        self.assertEqual(sink.gaps, [])

    async def test_killed_connections(self) -> None:
        source, sink = await self.watching(A)
        for _ in range(3):
            self.redis.call("CLIENT", "KILL", "TYPE", "pubsub")
            await self.until(lambda: sink.gaps)
            del sink.gaps[:]
        await self.until_bodies(sink, self.publish(1))
        self.assertEqual(list(source.health()), [])

    async def test_a_right_that_is_taken_away(self) -> None:
        """Redis then closes the connection; health says why, until the right is back."""
        self.redis.call("ACL", "SETUSER", "pubsub", "on", ">x", "+ping", "+subscribe", "+publish", "&*")
        source, sink = await self.running(self.url("pubsub:x@"))
        await source.watch(A)
        self.redis.call("ACL", "SETUSER", "pubsub", "resetchannels", f"&{self.key(B)}")
        await self.until(lambda: any("NOPERM" in trouble for trouble in source.health()))
        self.redis.call("ACL", "SETUSER", "pubsub", "allchannels")
        await self.until(lambda: sink.gaps)
        await self.until_bodies(sink, self.publish(1))


class ConnectionTests(PubSubCase):
    """The server runs, but its connections break."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy(self.server.port)
        self.addCleanup(self.proxy.close)

    async def test_cut(self) -> None:
        """Messages published meanwhile are lost, and a gap is reported."""
        source, sink = await self.running(self.url(port=self.proxy.port))
        await source.watch(A)
        await self.until_bodies(sink, bodies := self.publish(1))
        self.proxy.down()
        await self.until(lambda: len(source.health()) == 2)
        self.publish(2)
        self.proxy.up()
        await self.until(lambda: sink.gaps)
        await self.until_bodies(sink, bodies + self.publish(3))

    async def test_black_hole(self) -> None:
        """While Redis doesn't answer, airyd is not ready. If the connection survives, nothing is lost."""
        source, sink = await self.running(self.url(port=self.proxy.port))
        await source.watch(A)
        self.proxy.block()
        self.publish(1)
        await self.until(lambda: any("subscriber" in trouble for trouble in source.health()), 12)
        self.assertEqual(sink.events, [])
        self.proxy.unblock()
        await self.until(lambda: not source.health())
        self.publish(2)
        await self.until_bodies(sink, [body(1), body(2)])
        self.assertEqual(sink.gaps, [])

    async def test_black_hole_for_the_subscription(self) -> None:
        """Redis answers over the other connection: this one is dead, and is closed."""
        source, sink = await self.running(self.url(port=self.proxy.port))
        await source.watch(A)
        self.proxy.block()
        self.publish(1)
        await self.until(lambda: len(source.health()) == 2, 30)
        self.proxy.unblock_new()
        await self.until(lambda: sink.gaps)
        await self.until(lambda: not source.health())
        await self.until_bodies(sink, self.publish(2))


class LoginTests(PubSubCase):
    """Logins work as with streams."""

    async def assert_works(self, url: str, **environ: str) -> None:
        """Assert that a source of this URL reads and publishes."""
        source, sink = await self.running(url, **environ)
        await source.watch(A)
        event_id = await source.publish(A, b"{}")
        await self.until(lambda: sink.events)
        self.assertEqual(sink.events, [Event(A, event_id, b"{}")])
        await source.stop()

    async def test_password(self) -> None:
        self.server = self.own_server()
        self.connect().call("CONFIG", "SET", "requirepass", "s3cret")
        file = Path(self.mktemp())
        file.write_text("s3cret\n")
        await self.assert_works(self.url(":s3cret@"))
        await self.assert_works(self.url(more=f"&password-file={file}"))
        await self.assert_works(self.url(), AIRYD_REDIS_PASSWORD="s3cret")
        source = self.source(self.url(":wrong@"))
        starting = source.start(RecordingSink())
        await self.until_says(source, "WRONGPASS")
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)

    async def test_tls(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        server = self.own_server(tls=files)
        login = f"ca-file={files.ca}&cert-file={files.client}&key-file={files.client_key}"
        await self.assert_works(f"rediss://localhost:{server.port}?mode=pubsub&{login}")

    async def test_unix(self) -> None:
        server = self.own_server(unix=True)
        await self.assert_works(f"redis+unix://{server.path}?mode=pubsub&db=3")
