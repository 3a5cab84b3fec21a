"""Keys of wrong types and names, and streams that are too long or from the future."""

from __future__ import annotations

import time

from airyd.doctor.findings import Level
from airyd.doctor.redis_streams import near_names
from airyd.events import MESSAGE
from tests.doctor.case import DoctorCase, OwnServerCase, ReplyFilter


class TypeTests(DoctorCase):
    """Keys of another type."""

    async def test_missing(self) -> None:
        report = await self.examine()
        self.all_well(report, "keys")
        self.has(report, Level.OK, "lag", f"{self.key()} does not exist yet")

    async def test_types(self) -> None:
        for words, kind in [
            (("SET", "x"), "string"),
            (("LPUSH", "x"), "list"),
            (("SADD", "x"), "set"),
            (("HSET", "f", "x"), "hash"),
        ]:
            self.redis.call(words[0], self.key(), *words[1:])
            report = await self.examine()
            self.has(report, Level.FAILURE, "keys", f"{self.key()} is a {kind}, not a stream", f"RENAME {self.key()} ")
            self.redis.call("DEL", self.key())

    async def test_pubsub(self) -> None:
        """A stream that airyd does not read, because its URL says Pub/Sub."""
        self.add(1)
        report = await self.examine(url=self.url(more="&mode=pubsub"))
        self.has(report, Level.WARNING, "keys", f"{self.key()} is a stream", "leave mode=pubsub out")


class NameTests(OwnServerCase):
    """Keys with wrong names near the right ones."""

    async def test_wrong_names(self) -> None:
        self.prefix = "airyd:"
        for name in (
            "airyd:queue/message",
            "/queue/messages",
            "/queue/message",
            "queue/message",
            "airyd:/queue/messages",
            "airyd/queue/message",
            "airyd:queue:message",
            "airyd:/queue/message/",
            "airyd:message",
            "AIRYD:/QUEUE/MESSAGE",
        ):
            self.redis.call("XADD", name, "*", "payload", "{}")
            report = await self.examine()
            (wrong,) = [each for each in self.of_check(report, "keys") if each.level is not Level.OK]
            self.assertIn(f"there is a key {name}, ", wrong.message)
            self.assertIn("XADD airyd:/queue/message ", wrong.advice)
            self.redis.call("DEL", name)
        self.redis.call("LPUSH", "airyd:/queue/messages", "x")
        self.has(await self.examine(), Level.WARNING, "keys", "airyd:/queue/messages", "XADD")

    async def test_right_names(self) -> None:
        """Keys of other destinations are right, also if their names are near."""
        self.prefix = "airyd:"
        for name in ("airyd:/queue/message", "airyd:/queue/messages", "airyd:revocations", "other"):
            self.redis.call("XADD", name, "*", "payload", "{}")
        report = await self.examine("--destination=/queue/messages")
        self.all_well(report, "keys")

    async def test_other_database(self) -> None:
        self.redis.call("SELECT", 3)
        self.add(1)
        report = await self.examine()
        self.has(report, Level.WARNING, "keys", f"database 3 has a stream {self.key()}", "database 0")

    def test_near_names(self) -> None:
        """No name comes twice, and the right one is not among them."""
        for prefix in ("airyd:", "", "{a}:", ":"):
            names = list(near_names(prefix, MESSAGE))
            self.assertEqual(len(names), len(set(names)))
            self.assertNotIn(f"{prefix}{MESSAGE}", names)


class LagTests(DoctorCase):
    """How long a stream is, and how old its last event."""

    async def test_entries(self) -> None:
        self.add(1, 2, 3)
        report = await self.examine(wall=lambda: time.time())
        finding = self.has(report, Level.OK, "lag", f"{self.key()} has 3 entries")
        self.assertRegex(finding.message, r"the last event came \d+ s ago$")

    async def test_old(self) -> None:
        self.redis.call(*self.addition(1, event_id=f"{int(time.time() - 7000) * 1000}-0"))
        self.assertRegex(str((await self.examine()).findings), r"the last event came 70\d\d s ago")

    async def test_position(self) -> None:
        """The entry that airyd adds to an empty stream is not an event."""
        self.redis.call("XADD", self.key(), "*", "airyd-position", "")
        self.has(await self.examine(), Level.OK, "lag", "the last entry is not an event")

    async def test_untrimmed(self) -> None:
        self.add(*range(25))
        url = self.url(more="&maxlen=10")
        self.has(await self.examine(url=url), Level.WARNING, "lag", "publishers do not trim it to 10", "MAXLEN '~' 10")

    async def test_future(self) -> None:
        """Ids that are ahead of the clock: publishers chose them, or a clock was set back."""
        self.redis.call(*self.addition(1, event_id=f"{int(time.time() + 1000) * 1000}-0"))
        self.has(await self.examine(), Level.WARNING, "lag", " s in the future", "XADD with the id *")

    async def test_dead_letters(self) -> None:
        self.assertEqual(self.of_check(await self.examine(), "dead-letters"), [])
        self.redis.call("XADD", f"{self.prefix}dead-letter", "*", "stream", self.key())
        self.has(await self.examine(), Level.WARNING, "dead-letters", "has 1 of them", "XREVRANGE")

    async def test_dead_letters_of_an_old_server(self) -> None:
        """Pub/Sub works with Redis 6.2, whose XINFO STREAM has no counters."""
        proxy = ReplyFilter(self.server.port, lambda data: data.replace(b"entries-added", b"entries-other"))
        self.addCleanup(proxy.close)
        self.redis.call("XADD", f"{self.prefix}dead-letter", "*", "channel", self.key())
        report = await self.examine(url=self.url(port=proxy.port, more="&mode=pubsub"))
        self.has(report, Level.WARNING, "dead-letters", "has 1 of them", "XREVRANGE")
