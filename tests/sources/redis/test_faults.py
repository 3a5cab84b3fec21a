"""A real redis-server is killed, stopped and cut off: no event is missed without a gap."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from airyd.errors import SourceUnavailable
from airyd.events import MESSAGE, Event
from airyd.interfaces import IEventSource
from tests.integration.proxy import Proxy
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import DURABLE, RedisServer
from tests.sources.support import RecordingSink, body

#: Destinations that take any JSON object.
A = "/topic/a"


class KillTests(RedisCase):
    """kill -9, and a restart with the data on disk."""

    def make_server(self) -> RedisServer:
        return self.own_server(*DURABLE)

    async def away(self, source: IEventSource) -> None:
        """Kill the server and wait until the source's health says so."""
        self.server.kill()
        await self.until(lambda: len(source.health()) == 2)
        for trouble in source.health():
            self.assertIn(f"redis://127.0.0.1:{self.server.port}/0", trouble)

    async def back(self, source: IEventSource) -> None:
        """Start the server and wait until the source's health is good."""
        self.server.start()
        self.redis = self.connect()
        await self.until(lambda: not source.health())

    async def test_restart(self) -> None:
        source, sink = await self.watching(A)
        events = self.add(1, 2, destination=A)
        await self.until_seen(sink, events)
        for number in range(2):
            await self.away(source)
            self.server.start()
            self.redis = self.connect()
            events += self.add(10 * number, destination=A)  # before the source is back
            await self.until(lambda: not source.health())
            events += self.add(10 * number + 1, destination=A)
            await self.until_seen(sink, events)
        page = await source.replay(A, events[0].id, 10)
        self.assertEqual((page.events, page.complete), (tuple(events[1:]), True))
        await self.wait(2)
        self.assertEqual(sink.gaps, [])

    async def test_what_is_asked_meanwhile_waits(self) -> None:
        source, sink = await self.watching(A)
        (first,) = self.add(1, destination=A)
        await self.away(source)
        publishing = [source.publish(A, body(number)) for number in range(5)]
        given_up = source.publish(A, body(99))
        given_up.addErrback(lambda failure: None)
        given_up.cancel()
        watching, replaying = source.watch("/topic/b"), source.replay(A, first.id, 10)
        await self.wait(0.2)
        self.assertEqual([waiting.called and not waiting.paused for waiting in publishing], [False] * 5)
        await self.back(source)
        ids = [await each for each in publishing]
        events = [first, *[Event(A, event_id, body(number)) for number, event_id in enumerate(ids)]]
        await self.until_seen(sink, events)
        self.assertTrue((await replaying).complete)
        await watching
        (other,) = self.add(7, destination="/topic/b")
        await self.until_seen(sink, [*events, other])
        self.assertEqual(self.redis.call("XLEN", self.key(A)), 7)  # the position, and what was seen

    async def test_a_source_that_starts_first(self) -> None:
        self.server.kill()
        source, sink = self.source(), RecordingSink()
        starting = source.start(sink)
        watching = source.watch(A)
        await self.until_says(source, "connection refused")
        self.assertNoResult(starting)
        await self.back(source)
        await starting
        await watching
        await self.until_seen(sink, self.add(1, destination=A))

    async def test_stopped_while_redis_is_away(self) -> None:
        """Pending calls fail, and nothing continues."""
        source, _ = await self.watching(A)
        await self.away(source)
        waiting: list[Deferred[Any]] = [source.publish(A, b"{}"), source.watch("/topic/b"), source.replay(A, "1-0", 1)]
        await source.stop()
        for each in waiting:
            await self.assertFailure(each, SourceUnavailable)

        source = self.source()
        starting = source.start(RecordingSink())
        await self.until_says(source, "connection refused")
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)
        self.assertEqual(self.flushLoggedErrors(), [])


class ForgetfulTests(RedisCase):
    """A server that keeps nothing on disk."""

    def make_server(self) -> RedisServer:
        return self.own_server()

    async def test_restart(self) -> None:
        """All data is lost: a gap is reported when the server is back, and reading continues."""
        source, sink = await self.watching(A)
        events = self.add(*range(10), destination=A)
        await self.until_seen(sink, events)
        self.server.kill()
        self.server.start()
        self.redis = self.connect()
        await self.until(lambda: sink.gaps)
        await self.until_seen(sink, events + self.add(20, destination=A))
        self.assertFalse((await source.replay(A, events[0].id, 10)).complete)
        await self.wait(2)
        self.assertEqual(len(sink.gaps), 1)

    async def test_stopped_for_a_while(self) -> None:
        """SIGSTOP for longer than the timeout: health reports it, and no event is lost."""
        source, sink = await self.watching(A)
        await self.until_seen(sink, events := self.add(1, destination=A))
        self.server.pause()
        publishing = source.publish(A, body(2))
        start = self.reactor.seconds()
        await self.until(lambda: source.health())
        await self.assertFailure(publishing, SourceUnavailable)  # it may have been taken, or not
        await self.wait(max(0, start + 6 - self.reactor.seconds()))
        self.server.resume()
        events += [Event(A, event_id.decode(), body(2)) for event_id, _ in self.taken(after=events[0])]
        events += self.add(3, destination=A)
        await self.until_seen(sink, events)
        await self.until(lambda: not source.health())
        await self.wait(2)
        self.assertEqual(sink.gaps, [])

    def taken(self, after: Event) -> list[tuple[bytes, list[bytes]]]:
        """Return the entries after an event."""
        entries: list[tuple[bytes, list[bytes]]] = self.redis.call("XRANGE", self.key(A), f"({after.id}", "+")
        return entries


class ConnectionTests(RedisCase):
    """The server runs, but its connections break."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy(self.server.port)
        self.addCleanup(self.proxy.close)

    async def begin(self) -> tuple[IEventSource, RecordingSink, list[Event]]:
        """Return a source behind the proxy that has read an event, its sink, and the event."""
        source, sink = await self.running(self.url(port=self.proxy.port))
        await source.watch(A)
        events = self.add(1, destination=A)
        await self.until_seen(sink, events)
        return source, sink, events

    async def test_cut(self) -> None:
        source, sink, events = await self.begin()
        for number in range(3):
            self.proxy.down()
            await self.until(lambda: len(source.health()) == 2)
            events += self.add(10 * number, 10 * number + 1, destination=A)
            self.proxy.up()
            await self.until_seen(sink, events)
        await self.until(lambda: not source.health())
        events += self.add(99, destination=A)
        await self.until_seen(sink, events)
        self.assertEqual(sink.gaps, [])

    async def test_trimmed_while_it_was_cut(self) -> None:
        source, sink, _ = await self.begin()
        self.proxy.down()
        await self.until(lambda: len(source.health()) == 2)
        self.add(*range(5), destination=A)
        self.redis.call("XTRIM", self.key(A), "MAXLEN", 2)
        self.proxy.up()
        await self.until(lambda: sink.gaps)

    async def test_black_hole(self) -> None:
        """Connections stay open without any bytes: both are closed and opened again."""
        source, sink, events = await self.begin()
        self.proxy.block()
        events += self.add(2, 3, destination=A)
        await self.until(lambda: len(source.health()) == 2)
        self.assertEqual(len(sink.events), 1)
        self.proxy.unblock()
        events += self.add(4, destination=A)
        await self.until_seen(sink, events)
        await self.until(lambda: not source.health())
        self.assertEqual(sink.gaps, [])

    async def test_stop_in_a_black_hole(self) -> None:
        source, _, _ = await self.begin()
        self.proxy.block()
        publishing = source.publish(A, b"{}")
        await source.stop()
        await self.assertFailure(publishing, SourceUnavailable)


class KeyTests(RedisCase):
    """Keys that are not streams, and entries that are not events."""

    async def test_a_key_of_another_type(self) -> None:
        """The watch fails with the reason; it works when the key is deleted."""
        source, sink = await self.running()
        self.redis.call("SET", self.key(A), "s3cret")
        error = await self.assertFailure(source.watch(A), SourceUnavailable)
        self.assertIn("WRONGTYPE", str(error))
        await self.assertFailure(source.publish(A, b"{}"), SourceUnavailable)
        self.assertEqual(await source.replay(A, "1-0", 10), ((), False, False))
        self.redis.call("DEL", self.key(A))
        await source.watch(A)
        await self.until_seen(sink, self.add(1, destination=A))
        self.assertEqual(sink.gaps, [])

    async def test_entries_that_are_no_events(self) -> None:
        """They are skipped, reported, and copied once for all nodes; the feed continues."""
        nodes = [await self.watching(MESSAGE) for _ in range(3)]
        good = b'{"conversation_id":"c","message":{"id":"m"}}'
        bad = [(b"payload", b"nonsense"), (b"other", good), (b"payload", b"{}"), (b"payload", b"x" * 300_000)]
        ids = [self.redis.call("XADD", self.key(), "*", *fields).decode() for fields in bad]
        event = Event(MESSAGE, self.redis.call("XADD", self.key(), "*", "payload", good).decode(), good)
        for _, sink in nodes:
            await self.until_seen(sink, [event])
            self.assertEqual([event_id for _, event_id, _ in sink.refusals], ids)
        await self.until(lambda: self.redis.call("XLEN", f"{self.prefix}dead-letter") == len(bad))
        await self.wait(0.2)
        expected = (MESSAGE, "dead-letter", f"dead-letter:{self.key()}")
        letters = [
            dict(zip(fields[::2], fields[1::2], strict=True))
            for _, fields in self.redis.call("XRANGE", f"{self.prefix}dead-letter", "-", "+")
        ]
        self.assertEqual([letter[b"id"].decode() for letter in letters], ids)
        self.assertEqual({letter[b"stream"].decode() for letter in letters}, {self.key()})
        self.assertEqual([letter[b"payload"][:65536] for letter in letters], [b"nonsense", b"", b"{}", b"x" * 65536])
        self.assertEqual(len(letters[-1][b"payload"]), 65536)
        keys = self.redis.call("KEYS", f"{self.prefix}*")  # no key for each
        self.assertEqual(sorted(keys), sorted(f"{self.prefix}{each}".encode() for each in expected))

    async def test_a_position_is_made_where_there_is_none(self) -> None:
        """An empty stream, one that was trimmed to nothing, and one whose last entry was deleted."""
        source, sink = await self.running()
        self.add(1, 2, destination="/topic/trimmed")
        self.redis.call("XTRIM", self.key("/topic/trimmed"), "MAXLEN", 0)
        *_, last = self.add(1, 2, destination="/topic/deleted")
        self.redis.call("XDEL", self.key("/topic/deleted"), last.id)
        for destination in ("/topic/empty", "/topic/trimmed", "/topic/deleted"):
            position = await source.watch(destination)
            page = await source.replay(destination, position, 10)
            self.assertEqual((page.events, page.complete), ((), True), destination)
            events = self.add(*range(5), destination=destination)
            page = await source.replay(destination, position, 10)
            self.assertEqual((page.events, page.complete), (tuple(events), True), destination)
            # As soon as something that follows the position could be gone, it proves nothing.
            self.redis.call("XTRIM", self.key(destination), "MAXLEN", 5)
            self.assertFalse((await source.replay(destination, position, 10)).complete, destination)
        self.assertEqual(sink.refusals, [])

    async def test_proofs(self) -> None:
        """After each kind of loss, a replay from before it is incomplete, and one from after it is complete."""
        source, _ = await self.running()
        first, second, third, *_, last = self.add(*range(6), destination=A)
        self.redis.call("XDEL", self.key(A), third.id)
        for event, complete in ((first, False), (second, False), (third, False), (last, True)):
            self.assertEqual((await source.replay(A, event.id, 10)).complete, complete, event)
        self.redis.call("XTRIM", self.key(A), "MAXLEN", 0)
        self.assertTrue((await source.replay(A, last.id, 10)).complete)
        self.add(7, destination=A)
        self.assertFalse((await source.replay(A, last.id, 10)).complete)
        self.redis.call("DEL", self.key(A))
        self.assertFalse((await source.replay(A, last.id, 10)).complete)
