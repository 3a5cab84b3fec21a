"""Where refused entries go."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import PayloadFault, PayloadRefused
from airyd.sources.redis.deadletters import DeadLetters
from airyd.sources.redis.entries import Refused
from airyd.sources.redis.link import Link
from tests.doubles import record_log, text_of
from tests.redis.fakes import Error, FakeEndpoint, address, words

KEY = b"p:/queue/message"
MARK = words("SET", "p:dead-letter:p:/queue/message:5-1", "", "NX", "EX", 86400)


class DeadLetterTests(SynchronousTestCase):
    """A copy of each, once, where that is allowed."""

    def setUp(self) -> None:
        clock = Clock()
        endpoint = FakeEndpoint(clock)
        link = Link(address(), endpoint, clock, "tests")
        self.letters = DeadLetters(link, "p:", "stream")
        self.log = record_log(self)
        link.start()
        self.session = endpoint.sessions[0]
        self.session.log_in()

    def bury(self, body: bytes | None = b"s3cret", event_id: str = "5-1") -> None:
        """Refuse an entry."""
        self.letters.bury(KEY, Refused(event_id, body, PayloadRefused(PayloadFault.NOT_JSON_OBJECT, "no object")))

    def test_copied(self) -> None:
        for body, copied in (
            (b"s3cret", b"s3cret"),
            (None, b""),
            (b"x" * 100_000, b"x" * 65536),
            (b"\xff\0", b"\xff\0"),
        ):
            self.bury(body)
            self.assertEqual(self.session.asked(), [MARK])
            self.session.answer("OK")
            fields = words("stream", KEY, "id", "5-1", "reason", "no object", "payload", copied)
            self.assertEqual(self.session.asked(), [words("XADD", "p:dead-letter", "MAXLEN", "~", 1000, "*") + fields])
            self.session.answer(b"9-0")
        self.assertNotIn("s3cret", text_of(self.log))

    def test_another_node_was_first(self) -> None:
        self.bury()
        self.session.asked()
        self.session.answer(None)
        self.assertEqual(self.session.asked(), [])

    def test_where_it_is_forbidden(self) -> None:
        """It is tried once."""
        self.bury()
        self.bury(event_id="5-2")
        self.session.asked()
        self.session.answer(*[Error("NOPERM this user has no permissions to run the 'set' command")] * 2)
        self.bury(event_id="5-3")
        self.assertEqual(self.session.asked(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertIn("NOPERM", text_of(self.log))

    def test_what_passes(self) -> None:
        """Redis may have a reason to take nothing just now."""
        self.bury()
        self.session.asked()
        self.session.answer(Error("MISCONF Errors writing to the AOF file"))
        self.bury(event_id="5-2")
        self.assertEqual(len(self.session.asked()), 1)

    def test_redis_is_away(self) -> None:
        self.bury()
        self.session.lose()
        self.bury()
        self.assertEqual(self.flushLoggedErrors(), [])
