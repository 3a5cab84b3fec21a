"""Pub/Sub over a silent Redis in memory: it may be quiet, busy, or dead."""

from __future__ import annotations

from airyd.sources.redis.connection import REPLY_PATIENCE
from airyd.sources.redis.pubsub import PING_EVERY
from tests.sources.redis.fakes import Answer, Error, says_hello
from tests.sources.redis.test_pubsub import PING, PubSubCase, message
from tests.sources.support import body


class SilenceTests(PubSubCase):
    """A quiet subscription and a dead one look the same."""

    def test_a_quiet_one(self) -> None:
        for _ in range(3):
            self.wait(PING_EVERY)
            self.assertEqual(self.reading.asked(), [PING])
            self.reading.answer([b"pong", b""])
        self.assertEqual(list(self.source.health()), [])

    def test_a_dead_one(self) -> None:
        self.watch()
        self.wait(PING_EVERY)
        self.wait(REPLY_PATIENCE)
        self.assertFalse(self.reading.is_open)
        self.wait(1.2)
        self.log_in()
        self.assertIn("no reply within 5 seconds", self.sink.gaps[0][1])

    def test_a_redis_that_is_busy_with_one_command(self) -> None:
        """A busy Redis answers no connection: waiting loses nothing, but health reports it."""
        self.watch()
        self.wait(PING_EVERY)
        for _ in range(120):
            self.clock.advance(1)
        self.assertTrue(self.reading.is_open)
        self.assertEqual([trouble.count("no reply") for trouble in self.source.health()], [1, 1])
        self.reading.answer([b"pong", b""], message(1))
        self.clock.advance(0)
        self.assertEqual([trouble.partition(":")[2] for trouble in self.source.health() if "subscriber" in trouble], [])
        self.assertEqual([event.body for event in self.sink.events], [body(1)])
        self.assertEqual(self.sink.gaps, [])

    def test_a_redis_that_is_back_and_a_subscription_that_is_not(self) -> None:
        """Redis has answered over the other connection, so this one is dead."""
        self.watch()
        self.wait(PING_EVERY)
        for _ in range(30):
            self.clock.advance(1)
        self.assertTrue(self.reading.is_open)
        silent = self.reading
        while self.clock.seconds() < 60 and silent.is_open:
            self.clock.advance(0.5)
            self.commands = next(each for each in reversed(self.endpoint.sessions) if each is not silent)
            for command in self.commands.asked():
                answers: dict[bytes, Answer] = {b"PING": "PONG", b"HELLO": says_hello()}
                self.commands.answer(answers[command[0]])
        self.assertFalse(silent.is_open)

    def test_a_busy_one(self) -> None:
        """The PONG waits behind many messages: while they arrive, the connection is alive."""
        self.clock.advance(PING_EVERY)
        for number in range(4):
            self.clock.advance(REPLY_PATIENCE - 0.1)
            self.reading.answer(message(number))
        self.assertTrue(self.reading.is_open)
        self.reading.answer([b"pong", b""])
        self.clock.advance(PING_EVERY)
        self.assertEqual(self.reading.asked(), [PING, PING])
        self.reading.answer([b"pong", b""])

    def test_refused(self) -> None:
        """Without the right to PING messages still arrive: the error shows that Redis is alive."""
        self.watch()
        self.clock.advance(PING_EVERY)
        self.reading.answer(Error("NOPERM this user has no permissions to run the 'ping' command"))
        self.reading.answer(message(1))
        self.assertEqual([event.body for event in self.sink.events], [body(1)])
