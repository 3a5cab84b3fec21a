"""Gaps that Redis doesn't report to a blocked reader are detected on a real redis-server, without false alarms."""

from __future__ import annotations

from functools import partial

from airyd.errors import SourceUnavailable
from airyd.events import MESSAGE, Event
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer, Word
from tests.sources.support import RecordingSink, body

A, B, SAFE = "/topic/a", "/topic/b", "/topic/safe"
#: Entries that a stream keeps where it is trimmed.
KEPT = 200


class GapTests(RedisCase):
    """Each gap is reported once, for its destination; reading continues with the entries that exist."""

    def accidents(self) -> dict[str, list[tuple[Word, ...]]]:
        """Return the commands that cause a gap, by destination."""

        def key(name: str) -> str:
            return self.key(f"/topic/{name}")

        def add(name: str, event_id: str = "*") -> tuple[Word, ...]:
            return self.addition(0, f"/topic/{name}", event_id)

        high = [f"{2**62}-{number}" for number in range(3)]
        accidents: dict[str, list[tuple[Word, ...]]] = {
            "del": [("DEL", key("del"))],
            "lower-ids": [("DEL", key("lower-ids")), add("lower-ids", "1-1"), add("lower-ids", "1-2")],
            # The counters look complete again, but are too low.
            "higher-ids": [("DEL", key("higher-ids")), add("higher-ids")],
            "rename": [add("other", "1-1"), ("RENAME", key("other"), key("rename"))],
            "trim-all": [add("trim-all"), add("trim-all"), ("XTRIM", key("trim-all"), "MAXLEN", 0)],
            "trim-some": [*[add("trim-some") for _ in range(9)], ("XTRIM", key("trim-some"), "MAXLEN", 3)],
            # The entry itself is trimmed: a blocked reader gets an answer without entries.
            "keep-nothing": [("XADD", key("keep-nothing"), "MAXLEN", 0, "*", "payload", "{}")],
            "delete-one": [*[add("delete-one", each) for each in high], ("XDEL", key("delete-one"), high[1])],
            "delete-last": [*[add("delete-last", each) for each in high], ("XDEL", key("delete-last"), high[2])],
            "delete-all": [*[add("delete-all", each) for each in high], ("XDEL", key("delete-all"), *high)],
            "string": [("SET", key("string"), "s3cret")],
            "list": [("DEL", key("list")), ("RPUSH", key("list"), "s3cret")],
        }
        return {f"/topic/{name}": commands for name, commands in accidents.items()}

    async def test_accidents(self) -> None:
        accidents = self.accidents()
        source, sink = await self.watching(*accidents, SAFE)
        for number, destination in enumerate([*accidents, SAFE]):
            self.add(*range(number + 3), destination=destination)
        await self.until(lambda: len(sink.events) == sum(range(3, len(accidents) + 4)))
        sink.events.clear()

        for commands in accidents.values():
            self.redis.transaction(*commands)
        await self.until(lambda: len(sink.gaps) >= len(accidents))
        self.assertEqual(sorted(destinations for destinations, _ in sink.gaps), sorted((name,) for name in accidents))
        self.assertNotIn("s3cret", str(sink.gaps))

        # Keys that are not streams any more do not delay others.
        safe = self.add(1, destination=SAFE)
        await self.until_has(sink, safe[0])

        for name in ("string", "list"):
            self.redis.call("DEL", self.key(f"/topic/{name}"))
        sink.events.clear()
        expected = {name: self.add_next(name) for name in accidents}
        for destination, event in expected.items():
            await self.until_has(sink, event)
            self.assertEqual(sink.of(destination)[-1], event)
        self.assertEqual(len(sink.gaps), len(accidents), sink.gaps)
        self.assertEqual(list(source.health()), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def add_next(self, destination: str) -> Event:
        """Publish an event with the lowest id that the stream accepts; return it."""
        key = self.key(destination)
        last = b"0-0"
        if self.redis.call("EXISTS", key):
            facts = self.redis.call("XINFO", "STREAM", key)
            last = dict(zip(facts[::2], facts[1::2], strict=True))[b"last-generated-id"]
        milliseconds, number = map(int, last.split(b"-"))
        event_id = f"{milliseconds}-{number + 1}"
        self.redis.call(*self.addition(7, destination, event_id))
        return Event(destination, event_id, body(7))


class FlushTests(RedisCase):
    """FLUSHALL, on a server of its own."""

    def make_server(self) -> RedisServer:
        return self.own_server()

    async def test_flushall(self) -> None:
        _, sink = await self.watching(A, B)
        await self.until_seen(sink, self.add(1, destination=A) + self.add(2, destination=B))
        self.redis.call("FLUSHALL")
        await self.until(lambda: len(sink.gaps) == 2)
        self.assertEqual({destinations for destinations, _ in sink.gaps}, {(A,), (B,)})
        await self.until_seen(sink, sink.events + self.add(3, destination=A))

    async def test_flushall_and_xadd(self) -> None:
        """The publishers continue at once, and all their events are read."""
        _, sink = await self.watching(A)
        await self.until_seen(sink, self.add(*range(20), destination=A))
        sink.events.clear()
        replies = self.redis.transaction(("FLUSHALL",), self.addition(21, A))
        events = [Event(A, replies[1].decode(), body(21)), *self.add(22, 23, destination=A)]
        await self.until(lambda: sink.gaps)
        await self.until_seen(sink, events)
        await self.wait(2)
        self.assertEqual(len(sink.gaps), 1)

    async def test_what_is_left_is_delivered(self) -> None:
        """After a trim, or a DEL and new entries, all entries are delivered once, after the gap."""
        _, sink = await self.watching(A, B)
        for destination in (A, B):
            await self.until_has(sink, self.add(*range(20), destination=destination)[-1])
        sink.events.clear()
        trimming = self.redis.transaction(
            *(self.addition(number, A) for number in range(100, 120)), ("XTRIM", self.key(A), "MAXLEN", 5)
        )
        left = [Event(A, event_id.decode(), body(n)) for n, event_id in enumerate(trimming[15:20], 115)]
        deleting = self.redis.transaction(("DEL", self.key(B)), *(self.addition(number, B) for number in (200, 201)))
        left += [Event(B, event_id.decode(), body(n)) for n, event_id in enumerate(deleting[1:], 200)]
        await self.until(lambda: len(sink.events) >= len(left))
        self.assertEqual(sorted(sink.events), sorted(left))
        self.assertEqual(sorted(destinations for destinations, _ in sink.gaps), [(A,), (B,)])

    async def test_watched_again_later(self) -> None:
        """After a gap, and only once after it, a watch goes on with all that is left, whenever it comes."""
        source, sink = await self.watching(A)
        gone = self.add(*range(20), destination=A)
        await self.until_seen(sink, gone)
        self.redis.call("DEL", self.key(A))
        await self.until(lambda: sink.gaps)
        await self.wait(0)
        source.unwatch(A)
        left = self.add(21, 22, destination=A)
        sink.events.clear()
        position = await source.watch(A, after_gap=True)
        await self.until_seen(sink, left + self.add(23, destination=A))
        self.assertLess(source.order(A, position), source.order(A, left[0].id))
        self.assertGreater(source.order(A, position), source.order(A, gone[-1].id))
        source.unwatch(A)
        self.add(24, destination=A)
        sink.events.clear()
        await source.watch(A, after_gap=True)
        await self.until_seen(sink, self.add(25, destination=A))
        self.assertEqual(len(sink.gaps), 1)

    async def test_a_stream_again(self) -> None:
        """If the key was no stream at the gap, and is one again, the watch goes on with all that was not delivered."""
        source, sink = await self.watching(A, B)
        for destination in (A, B):
            await self.until_seen(sink, self.add(*range(20), destination=destination))
            sink.events.clear()
        key, away = self.key(A), self.key("/topic/away")
        self.redis.transaction(("SET", self.key(B), "no stream"), ("RENAME", key, away), ("SET", key, "no stream"))
        await self.until(lambda: len(sink.gaps) == 2)
        await self.wait(0)
        for destination in (A, B):
            source.unwatch(destination)
            self.redis.call("DEL", self.key(destination))
        self.redis.call("RENAME", away, key)
        left = {destination: self.add(20, 21, destination=destination) for destination in (A, B)}
        for destination, events in left.items():
            sink.events.clear()
            position = await source.watch(destination, after_gap=True)
            await self.until_seen(sink, events + self.add(22, destination=destination))
            self.assertLess(source.order(destination, position), source.order(destination, events[0].id))
        self.assertEqual(len(sink.gaps), 2)

    async def test_still_no_stream(self) -> None:
        source, sink = await self.watching(A)
        self.redis.call("SET", self.key(A), "no stream")
        await self.until(lambda: sink.gaps)
        source.unwatch(A)
        await self.assertFailure(source.watch(A, after_gap=True), SourceUnavailable)

    async def test_a_new_watch_after_a_gap(self) -> None:
        """It begins at the end of the stream, and nothing of the gap is kept for later watches."""
        source, sink = await self.watching(A)
        await self.until_seen(sink, self.add(*range(20), destination=A))
        self.redis.call("DEL", self.key(A))
        await self.until(lambda: sink.gaps)
        sink.events.clear()
        for after_gap in (False, True):
            source.unwatch(A)
            self.add(21, destination=A)
            await source.watch(A, after_gap)
        await self.until_seen(sink, self.add(22, destination=A))

    async def test_swapdb(self) -> None:
        _, sink = await self.watching(A)
        self.redis.call("SWAPDB", 0, 1)
        await self.until(lambda: sink.gaps)


class HarmlessTests(RedisCase):
    """No false alarm."""

    async def test_trimming_what_was_read(self) -> None:
        """Deliver by all ways to publish, concurrently and in sequence."""
        source, sink = await self.watching(A)
        commands: list[tuple[Word, ...]] = [
            ("XTRIM", self.key(A), "MAXLEN", 1),
            ("XTRIM", self.key(A), "MAXLEN", 0),
            ("XTRIM", self.key(A), "MINID", f"{2**62}-0"),
            ("XADD", self.key(A), "MAXLEN", 1, "*", "payload", "{}"),
            ("XADD", self.key(A), "NOMKSTREAM", "MINID", "~", "0-1", "*", "payload", "{}"),
        ]
        for number, command in enumerate(commands):
            (event,) = self.add(number, destination=A)
            await self.until_has(sink, event)
            self.redis.call(*command)
        for event in sink.events:
            self.redis.call("XDEL", self.key(A), event.id)
        await self.wait(3.5)
        self.assertEqual(sink.gaps, [])
        self.assertEqual(list(source.health()), [])

    async def test_groups_and_other_readers(self) -> None:
        """Consumer groups, other readers and invalid entries cause no gap."""
        _, sink = await self.watching(MESSAGE)
        self.redis.call("XGROUP", "CREATE", self.key(), "others", "0")
        self.redis.call("XADD", self.key(), "*", "nonsense", "1")
        self.redis.call("XREADGROUP", "GROUP", "others", "me", "STREAMS", self.key(), ">")
        self.redis.call("XADD", self.key(), f"{2**62}-1", "airyd-position", "")
        self.redis.call("XGROUP", "DESTROY", self.key(), "others")
        self.redis.call("EXPIRE", self.key(), 1000)
        await self.wait(3.5)
        self.assertEqual((sink.gaps, len(sink.refusals)), ([], 1))

    async def test_under_load(self) -> None:
        """Thousands of events, trimmed as soon as they are read, while watches come and go."""
        source, sink = await self.watching(A, B)
        published = 0
        while published < 4000:
            # Nothing is trimmed before it is read.
            await self.until(partial(self.has_read, sink, published - KEPT // 2))
            self.redis.pipeline(
                [
                    ("XADD", self.key(destination), "MAXLEN", "~", KEPT, "*", "payload", b'{"number":%d}' % published)
                    for destination in (A, B)
                    for _ in range(10)
                ]
            )
            published += 20
            if published % 1000 == 0:
                await source.watch(f"/topic/{published}")
        await self.until(lambda: len(sink.events) == published)
        await self.wait(2)
        self.assertEqual(sink.gaps, [])

    def has_read(self, sink: RecordingSink, count: int) -> bool:
        """Return whether the sink has this many events."""
        return len(sink.events) >= count

    async def test_a_reader_that_is_cut_off_under_load(self) -> None:
        """After repeated reconnects reading continues after the last id: no gap, no loss."""
        source, sink = await self.watching(A, B)
        published = 0
        for _ in range(4):
            for _ in range(10):
                published += self.publish_some()
                await self.wait(0.01)
            self.kill_readers()
            while source.health() or len(sink.events) < published:
                published += self.publish_some()
                await self.wait(0.01)
        await self.until(lambda: len(sink.events) == published)
        await self.wait(2)
        self.assertEqual(sink.gaps, [])

    def publish_some(self) -> int:
        """Publish a few events to each; return their number."""
        return sum(len(self.add(*range(5), destination=destination)) for destination in (A, B))

    def kill_readers(self) -> None:
        """Cut all connections of the source, on the server's side."""
        own = self.redis.call("CLIENT", "ID")
        for line in self.redis.call("CLIENT", "LIST").decode().splitlines():
            facts = dict(fact.split("=", 1) for fact in line.split() if "=" in fact)
            if int(facts["id"]) != own and facts["cmd"] in ("xread", "xinfo|stream", "client|unblock"):
                self.redis.call("CLIENT", "KILL", "ID", facts["id"])
