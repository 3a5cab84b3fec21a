"""The dead-letter stream."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import PayloadFault, PayloadRefused
from airyd.events import InvalidEntry
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.dead_letters import LOOKED_THROUGH, DeadLetters
from airyd.sources.redis.entries import RefusedEntry
from tests.doubles import record_log, text_of
from tests.sources.redis.fakes import Error, FakeEndpoint, address, words

KEY = b"p:/queue/message"
MARK = words("XADD", "p:dead-letter:p:/queue/message", "MAXLEN", 1, "5-1", "copied", "")
LATER = Error("ERR The ID specified in XADD is equal or smaller than the target stream top item")


class DeadLetterTests(SynchronousTestCase):
    """Each refused entry is copied once, if that is allowed."""

    def setUp(self) -> None:
        self.clock = clock = Clock()
        endpoint = FakeEndpoint(clock)
        self.connection = connection = RedisConnection(address(), endpoint, clock, "tests")
        self.letters = DeadLetters(connection, "p:", "stream", clock)
        self.log = record_log(self)
        connection.start()
        self.session = endpoint.sessions[0]
        self.session.log_in()

    def copy(self, body: bytes | None = b"s3cret", event_id: str = "5-1") -> None:
        """Refuse an entry."""
        self.letters.copy(KEY, RefusedEntry(event_id, body, PayloadRefused(PayloadFault.NOT_JSON_OBJECT, "no object")))

    def test_copied(self) -> None:
        for body, copied in (
            (b"s3cret", b"s3cret"),
            (None, b""),
            (b"x" * 100_000, b"x" * 65536),
            (b"\xff\0", b"\xff\0"),
        ):
            self.copy(body)
            self.assertEqual(self.session.asked(), [MARK])
            self.session.answer(b"5-1")
            fields = words("stream", KEY, "id", "5-1", "reason", "no object", "payload", copied)
            self.assertEqual(self.session.asked(), [words("XADD", "p:dead-letter", "MAXLEN", "~", 1000, "*") + fields])
            self.session.answer(b"9-0")
        self.assertNotIn("s3cret", text_of(self.log))

    def test_another_node_was_first(self) -> None:
        self.copy()
        self.session.asked()
        self.session.answer(LATER)
        self.assertEqual(self.session.asked(), [])
        self.assertEqual(text_of(self.log).count("not copied"), 0)

    def test_messages_of_a_channel(self) -> None:
        """Messages have no increasing ids: one of a bounded number of keys marks each as copied for a minute."""
        letters = DeadLetters(self.connection, "p:", "channel", self.clock)
        marks = set()
        for number in range(500):
            letters.copy(
                KEY, RefusedEntry(f"{number:x}", b"", PayloadRefused(PayloadFault.NOT_JSON_OBJECT, "no object"))
            )
            ((command, mark, *options),) = self.session.asked()
            self.assertEqual([command, *options], words("SET", "", "NX", "EX", 60))
            self.assertLess(int(mark.removeprefix(b"p:dead-letter:")), 4096)
            marks.add(mark)
            self.session.answer(None)
        self.assertGreater(len(marks), 400)

    def test_a_flood(self) -> None:
        """A burst is copied up to the number kept, then some per second; the log says so."""
        for number in range(3000):
            self.copy(event_id=f"6-{number}")
        self.assertEqual(len(self.session.asked()), 1000)
        self.assertIn("per second", text_of(self.log))
        for _ in range(3):
            self.clock.advance(1)
            for number in range(1000):
                self.copy(event_id=f"7-{number}")
            self.assertEqual(len(self.session.asked()), 100)
            self.session.answer(*[LATER] * 100)

    def test_where_it_is_forbidden(self) -> None:
        """Without the right to write, copying is tried once."""
        self.copy()
        self.copy(event_id="5-2")
        self.session.asked()
        self.session.answer(*[Error("NOPERM this user has no permissions to run the 'xadd' command")] * 2)
        self.copy(event_id="5-3")
        self.assertEqual(self.session.asked(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertIn("NOPERM", text_of(self.log))

    def test_what_passes(self) -> None:
        """After another error copying is tried again."""
        self.copy()
        self.session.asked()
        self.session.answer(Error("MISCONF Errors writing to the AOF file"))
        self.copy(event_id="5-2")
        self.assertEqual(len(self.session.asked()), 1)

    def test_find(self) -> None:
        """A dead letter is found by the key and the id of its entry, in several reads."""

        def letter(number: int, key: bytes, event_id: str) -> Any:
            return [b"9-%d" % number, words("stream", key, "id", event_id, "reason", f"no {number}", "payload", "[]")]

        found = Deferred.fromCoroutine(self.letters.find(KEY, "5-1"))
        self.assertEqual(self.session.asked(), [words("XRANGE", "p:dead-letter", "-", "+", "COUNT", LOOKED_THROUGH)])
        self.session.answer([letter(number, b"p:/other", "5-1") for number in range(LOOKED_THROUGH)])
        after = f"(9-{LOOKED_THROUGH - 1}"
        self.assertEqual(self.session.asked(), [words("XRANGE", "p:dead-letter", after, "+", "COUNT", LOOKED_THROUGH)])
        self.session.answer([letter(90, KEY, "5-0"), letter(91, KEY, "5-1")])
        self.assertEqual(self.successResultOf(found), InvalidEntry("no 91"))

    def test_find_nothing(self) -> None:
        found = Deferred.fromCoroutine(self.letters.find(KEY, "5-1"))
        self.session.asked()
        self.session.answer([])
        self.assertIsNone(self.successResultOf(found))

    def test_find_where_reading_is_forbidden(self) -> None:
        """It is tried once: Redis logs each try."""
        found = Deferred.fromCoroutine(self.letters.find(KEY, "5-1"))
        self.session.asked()
        self.session.answer(Error("NOPERM No permissions to access a key"))
        self.assertIsNone(self.successResultOf(found))
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.letters.find(KEY, "5-1"))))
        self.assertEqual(self.session.asked(), [])

    def test_redis_is_away(self) -> None:
        self.copy()
        self.session.lose()
        self.copy()
        self.assertEqual(self.flushLoggedErrors(), [])
