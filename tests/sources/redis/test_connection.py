"""One connection: login, reconnection and stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import REPLY_PATIENCE, NotConnected, RedisConnection
from airyd.sources.redis.protocol import RedisReply
from tests.doubles import record_log, text_of
from tests.sources.redis.fakes import Answer, Error, FakeEndpoint, Session, address, stream_info, words

PING = words("PING")
CLIENT_ID = words("CLIENT", "ID")
#: More than any pause between two attempts.
LONG = 6.1


class ConnectionCase(SynchronousTestCase):
    """A connection over a server in memory."""

    url = "redis://192.0.2.7"

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint(self.clock)
        self.connection = RedisConnection(address(self.url), self.endpoint, self.clock, "tests")
        self.log = record_log(self)

    @property
    def session(self) -> Session:
        """The newest connection."""
        return self.endpoint.sessions[-1]

    def connect(self) -> Session:
        """Start the connection and log it in."""
        self.connection.start()
        self.session.log_in()
        self.assertIsNone(self.connection.trouble)
        return self.session

    def assert_nothing_is_left(self) -> None:
        """Assert that no timer runs and no connection is open."""
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([session.is_open for session in self.endpoint.sessions if session.is_open], [])


class RoundTripTests(ConnectionCase):
    """The time of each command is measured."""

    def setUp(self) -> None:
        super().setUp()
        self.seconds: list[float] = []
        self.connection = RedisConnection(
            address(self.url), self.endpoint, self.clock, "tests", round_trip=self.seconds.append
        )
        self.connect()
        del self.seconds[:]

    def test_commands(self) -> None:
        """An error of Redis is a reply, too."""
        self.connection.command("PING").addErrback(lambda _: None)
        self.connection.command("NONSENSE").addErrback(lambda _: None)
        self.clock.advance(0.25)
        self.session.answer(b"PONG", Error("ERR unknown command"))
        self.assertEqual([0.25, 0.25], self.seconds)

    def test_not_those_that_wait(self) -> None:
        self.connection.command("XREAD", patience=2 * REPLY_PATIENCE).addErrback(lambda _: None)
        self.session.answer(None)
        self.assertEqual([], self.seconds)

    def test_not_without_a_reply(self) -> None:
        self.connection.command("PING").addErrback(lambda _: None)
        self.session.lose()
        self.assertEqual([], self.seconds)


class LoginTests(ConnectionCase):
    """The commands of a login."""

    def log_in(self, url: str, **environ: str) -> list[list[bytes]]:
        """Return the commands of a login, and assert that the connection counts only after all of them."""
        endpoint = FakeEndpoint(self.clock)
        connection = RedisConnection(address(url, **environ), endpoint, self.clock, "tests")
        connection.start()
        connected = connection.connected()
        said: list[list[bytes]] = []
        while commands := endpoint.sessions[0].asked():
            self.assertNoResult(connected)
            self.assertEqual(len(commands), 1)
            answers: dict[bytes, Answer] = {b"CLIENT": 42, b"PING": "PONG"}
            endpoint.sessions[0].answer(answers.get(commands[0][0], "OK"))
            said += commands
        self.successResultOf(connected)
        self.assertEqual((connection.client_id, connection.generation, connection.trouble), (42, 1, None))
        self.successResultOf(connection.connected())
        return said

    def test_order(self) -> None:
        self.assertEqual(self.log_in("redis://192.0.2.7"), [CLIENT_ID, PING])
        self.assertEqual(
            self.log_in("redis://:p%40ss@192.0.2.7/3"), [words("AUTH", "p@ss"), words("SELECT", 3), CLIENT_ID, PING]
        )
        self.assertEqual(
            self.log_in("redis://airyd@192.0.2.7", AIRYD_REDIS_PASSWORD="geheim ü"),
            [words("AUTH", "airyd", "geheim ü"), CLIENT_ID, PING],
        )

    def test_a_login_that_may_not_ping(self) -> None:
        self.connection.start()
        self.session.answer(7, Error("NOPERM this user has no permissions to run the 'ping' command"))
        self.successResultOf(self.connection.connected())


class WrongPasswordTests(ConnectionCase):
    """A refused login is retried: the operator may be changing the password."""

    url = "redis://airyd:s3cret@192.0.2.7"

    def test_retried_with_back_off_and_said_once(self) -> None:
        refusal = Error("WRONGPASS invalid username-password pair or user is disabled.")
        self.connection.start()
        connected = self.connection.connected()
        pauses = []
        for attempt in range(1, 9):
            self.assertEqual(len(self.endpoint.sessions), attempt)
            self.assertEqual(self.session.asked(), [words("AUTH", "airyd", "s3cret")])
            self.session.answer(refusal)
            self.assertFalse(self.session.is_open)
            self.assertEqual(self.connection.trouble, str(refusal))
            self.clock.advance(0)
            (retry,) = self.clock.getDelayedCalls()
            pauses.append(retry.getTime() - self.clock.seconds())
            self.clock.advance(pauses[-1])
        self.assertNoResult(connected)
        self.assertLess(pauses[0], 1.3)
        self.assertGreaterEqual(pauses[-1], 5)
        self.assertLessEqual(max(pauses), LONG)
        self.assertEqual(len([event for event in self.log if event["log_level"].name == "warn"]), 1)
        self.assertNotIn("s3cret", text_of(self.log))

        self.session.log_in()
        self.successResultOf(connected)
        self.assertIsNone(self.connection.trouble)


class PasswordFileTests(ConnectionCase):
    """The file of ``password-file`` is read again for each login."""

    refusal = Error("WRONGPASS invalid username-password pair or user is disabled.")

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text("first-hunter2\n")
        url = f"redis://airyd@192.0.2.7?password-file={self.path}"
        self.connection = RedisConnection(address(url), self.endpoint, self.clock, "tests")
        self.connection.start()

    def log_in_with(self, password: str) -> None:
        """Accept the login of the last session, which must have this password."""
        self.assertEqual(self.session.log_in()[0], words("AUTH", "airyd", password))

    def next_attempt(self) -> None:
        """Wait for another connection."""
        count = len(self.endpoint.sessions)
        while len(self.endpoint.sessions) == count:
            self.clock.advance(0.1)

    def test_reconnect(self) -> None:
        self.log_in_with("first-hunter2")
        self.path.write_text("second-hunter2")
        self.session.lose()
        self.next_attempt()
        self.log_in_with("second-hunter2")

    def test_changed_meanwhile(self) -> None:
        """After WRONGPASS the file is read at once, and the same connection logs in with another password."""
        self.assertEqual(self.session.asked(), [words("AUTH", "airyd", "first-hunter2")])
        self.path.write_text("second-hunter2")
        self.session.answer(self.refusal)
        self.assertTrue(self.session.is_open)
        self.log_in_with("second-hunter2")
        self.successResultOf(self.connection.connected())
        self.assertNotIn("hunter2", text_of(self.log))

    def test_not_changed(self) -> None:
        """The next attempt reads the file again."""
        self.session.answer(self.refusal)
        self.assertFalse(self.session.is_open)
        self.path.write_text("second-hunter2")
        self.next_attempt()
        self.log_in_with("second-hunter2")

    def test_unreadable(self) -> None:
        """The last password stays in use, and one line says so."""
        self.log_in_with("first-hunter2")
        for spoil in (lambda: self.path.write_text(""), self.path.unlink):
            spoil()
            for _ in range(2):
                self.session.lose()
                self.next_attempt()
                self.log_in_with("first-hunter2")
        said = [line for line in text_of(self.log).splitlines() if "the last password stays in use" in line]
        self.assertEqual(len(said), 2)
        self.assertIn("the file is empty", said[0])
        self.assertIn("there is no such file", said[1])


class ConnectingTests(ConnectionCase):
    """Attempts to connect, and the ends of a connection."""

    def test_refused(self) -> None:
        for fault, trouble in (
            (ConnectionRefusedError(), "connection refused"),
            (DNSLookupError("no such host"), "the name 192.0.2.7 cannot be resolved"),
            (ConnectTimeout(), "no answer"),
            (OSError(24, "Too many open files"), "Too many open files"),
        ):
            self.endpoint.fault = fault
            self.connection.start()
            self.assertIn(trouble, str(self.connection.trouble))
            self.clock.advance(LONG)
            self.assertEqual(self.endpoint.attempts, 2)
            self.connection.stop()
            self.endpoint.attempts = 0
        self.assert_nothing_is_left()

    def test_comes_back(self) -> None:
        for generation in range(1, 4):
            if generation == 1:
                self.connection.start()
            self.session.log_in(number=generation)
            self.assertEqual((self.connection.generation, self.connection.client_id), (generation, generation))
            self.session.lose()
            self.assertIn("lost", str(self.connection.trouble))
            connected = self.connection.connected()
            self.assertNoResult(connected)
            self.clock.advance(LONG)
        self.assertEqual(len(self.endpoint.sessions), 4)

    def test_a_silent_login(self) -> None:
        self.connection.start()
        self.clock.advance(REPLY_PATIENCE - 0.01)
        self.assertTrue(self.session.is_open)
        self.clock.advance(0.01)
        self.assertFalse(self.session.is_open)
        self.clock.advance(0)
        self.assertEqual(self.connection.trouble, "no reply within 5 seconds")

    def test_loading(self) -> None:
        """A Redis that is loading its data counts as not connected, not as one without streams."""
        loading = "LOADING Redis is loading the dataset in memory"
        self.connection.start()
        self.session.answer(7, Error(loading))
        self.clock.advance(0)
        self.assertEqual((self.connection.trouble, self.session.is_open), (loading, False))
        self.clock.advance(LONG)
        session = self.session
        session.log_in()

        command = self.connection.command("XINFO", "STREAM", "a")  # a replica that starts to load
        session.answer(Error(loading))
        self.failureResultOf(command, NotConnected)
        self.clock.advance(0)
        self.assertEqual((self.connection.trouble, session.is_open), (loading, False))

    def test_what_is_no_redis(self) -> None:
        self.connection.start()
        self.session.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.clock.advance(0)
        self.assertIn("a web server, not a Redis", str(self.connection.trouble))
        self.assertFalse(self.session.is_open)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_trouble_is_one_line_without_secrets(self) -> None:
        self.connection.start()
        self.session.lose(OSError("a\n b"))
        self.assertEqual(len(str(self.connection.trouble).splitlines()), 1)


class CommandTests(ConnectionCase):
    """Commands and their replies."""

    def test_in_order(self) -> None:
        session = self.connect()
        first, second = (
            self.connection.command("XADD", "k", "*", b"payload", b"\xff\r\n"),
            self.connection.command("GET", 7),
        )
        self.assertEqual(session.asked(), [words("XADD", "k", "*", "payload", b"\xff\r\n"), words("GET", "7")])
        session.answer(b"1-1", [b"\xff", 5, None, [b""]])
        self.assertEqual(self.successResultOf(first), b"1-1")
        self.assertEqual(self.successResultOf(second), [b"\xff", 5, None, [b""]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_error_is_one_commands(self) -> None:
        session = self.connect()
        first, second = self.connection.command("GET", "a"), self.connection.command("GET", "b")
        session.answer(Error("WRONGTYPE no"), b"x")
        self.assertIn("WRONGTYPE", str(self.failureResultOf(first, ResponseError).value))
        self.assertEqual(self.successResultOf(second), b"x")
        self.assertTrue(session.is_open)

    def test_without_a_connection(self) -> None:
        self.failureResultOf(self.connection.command("GET", "a"), NotConnected)
        self.connection.start()
        self.failureResultOf(self.connection.command("GET", "a"), NotConnected)  # not logged in yet

    def test_a_connection_that_is_lost(self) -> None:
        session = self.connect()
        commands = [self.connection.command("GET", "a") for _ in range(3)]
        session.answer(b"x")
        session.lose(ConnectionDone())
        self.assertEqual(self.successResultOf(commands[0]), b"x")
        for command in commands[1:]:
            error = self.failureResultOf(command, NotConnected).value
            self.assertIn("redis://192.0.2.7:6379/0: the connection was lost", str(error))

    def test_a_reply_that_comes_too_late(self) -> None:
        session = self.connect()
        command = self.connection.command("GET", "a")
        patient = self.connection.command("XREAD", patience=15)
        self.clock.advance(REPLY_PATIENCE - 0.1)
        self.assertTrue(session.is_open)
        self.clock.advance(0.1)
        self.assertFalse(session.is_open)
        self.clock.advance(0)
        for each in (command, patient):
            self.assertIn("no reply within 5 seconds", str(self.failureResultOf(each, NotConnected).value))
        self.clock.advance(LONG)
        self.assertEqual(len(self.endpoint.sessions), 2)

    def test_patience(self) -> None:
        session = self.connect()
        command = self.connection.command("XREAD", patience=10)
        self.clock.advance(9.9)
        session.answer(None)
        self.assertIsNone(self.successResultOf(command))

    def test_a_command_that_is_given_up(self) -> None:
        """The reply to a cancelled command is not taken for the next one's."""
        session = self.connect()
        first, second = self.connection.command("GET", "a"), self.connection.command("GET", "b")
        first.addErrback(lambda failure: None)
        first.cancel()
        session.answer(b"a", b"b")
        self.assertEqual(self.successResultOf(second), b"b")

    def test_a_wait_for_a_connection_may_be_cancelled(self) -> None:
        waiting = [self.connection.connected() for _ in range(3)]
        for each in waiting:  # not started
            self.failureResultOf(each, SourceUnavailable)
        self.endpoint.holding = True
        self.connection.start()
        waiting = [self.connection.connected() for _ in range(3)]
        gone: list[object] = []
        waiting[0].addCallback(lambda _: waiting[2].cancel())  # at the very moment when the others' turn comes
        for each in waiting[1:]:
            each.addErrback(gone.append)
        waiting[1].cancel()
        self.endpoint.connect_all()
        self.session.log_in()
        self.successResultOf(waiting[0])
        self.assertEqual(len(gone), 2)

    def test_connected_after_a_waiter_stopped_it(self) -> None:
        self.connection.start()
        stopping = self.connection.connected().addCallback(lambda _: self.connection.stop())
        self.session.log_in()
        self.assert_nothing_is_left()
        self.successResultOf(stopping)
        self.clock.advance(LONG)
        self.assertEqual(len(self.endpoint.sessions), 1)


class TransactionTests(ConnectionCase):
    """MULTI and EXEC."""

    def test_replies(self) -> None:
        session = self.connect()
        transaction = Deferred.fromCoroutine(self.connection.transaction(("GET", "a"), ("XINFO", "STREAM", "b")))
        self.assertEqual(
            session.asked(), [words(*each) for each in (("MULTI",), ("GET", "a"), ("XINFO", "STREAM", "b"), ("EXEC",))]
        )
        session.answer("OK", "QUEUED", "QUEUED", [b"x", Error("ERR no such key")])
        value, error = self.successResultOf(transaction)
        self.assertEqual(value, b"x")
        self.assertIsInstance(error, ResponseError)

    def test_not_carried_out(self) -> None:
        session = self.connect()
        for answers, error in (
            (("OK", Error("NOPERM no"), Error("EXECABORT")), ResponseError),
            (("OK", "QUEUED", None), SourceUnavailable),
        ):
            transaction = Deferred.fromCoroutine(self.connection.transaction(("GET", "a")))
            session.answer(*answers)
            self.failureResultOf(transaction, error)
        transaction = Deferred.fromCoroutine(self.connection.transaction(("GET", "a")))
        session.answer("OK", "QUEUED")
        session.lose()
        self.failureResultOf(transaction, NotConnected)


class FullMemoryTests(ConnectionCase):
    """At maxmemory Redis refuses MULTI; an unchanged stream is then read without it."""

    RANGE = ("XRANGE", "b", "5-0", "+")
    INFO = ("XINFO", "STREAM", "b")
    OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")

    def begin(self) -> tuple[Session, Deferred[list[RedisReply]]]:
        """Let Redis refuse a transaction."""
        session = self.connect()
        transaction = Deferred.fromCoroutine(self.connection.transaction(self.RANGE, self.INFO))
        self.assertEqual(session.asked()[0], words("MULTI"))
        session.answer("OK", self.OOM, self.OOM, Error("EXECABORT Transaction discarded because of previous errors."))
        return session, transaction

    def read(self, session: Session, before: Answer, after: Answer, entries: Answer) -> None:
        """Answer one attempt."""
        self.assertEqual(session.asked(), [words(*each) for each in (self.INFO, self.RANGE, self.INFO, self.INFO)])
        session.answer(before, entries, before, after)

    def test_a_stream_that_does_not_change(self) -> None:
        cases: list[tuple[Answer, Answer]] = [
            (stream_info("9-0", 9, newest="9-0"), [[b"9-0", [b"a", b"b"]]]),
            (Error("ERR no such key"), []),
        ]
        for same, entries in cases:
            with self.subTest(same=same):
                self.setUp()
                session, transaction = self.begin()
                self.read(session, same, same, entries)
                found, info = self.successResultOf(transaction)
                self.assertEqual(found, entries)
                self.assertEqual(isinstance(info, ResponseError), isinstance(same, Error))

    def test_a_stream_that_changes(self) -> None:
        """After any change the read is repeated."""
        before = stream_info("9-0", 9, "0-0", "9-0", "4-0", 6)
        for after in (
            stream_info("10-0", 10, "0-0", "10-0", "4-0", 7),
            stream_info("9-0", 9, "7-0", "9-0", "4-0", 5),
            stream_info("9-0", 9, "0-0", "9-0", "5-0", 5),
            Error("ERR no such key"),
        ):
            with self.subTest(after=after):
                self.setUp()
                session, transaction = self.begin()
                self.read(session, before, after, [[b"1-0", [b"a", b"b"]]])
                self.assertNoResult(transaction)
                self.read(session, after, after, [])
                self.assertEqual(self.successResultOf(transaction)[0], [])

    def test_a_stream_that_changes_all_the_time(self) -> None:
        session, transaction = self.begin()
        for number in range(10):
            self.read(session, stream_info("9-0", number), stream_info("9-0", number + 1), [])
        self.failureResultOf(transaction, SourceUnavailable)

    def test_a_lost_connection(self) -> None:
        session, transaction = self.begin()
        session.lose()
        self.failureResultOf(transaction, NotConnected)


class StopTests(ConnectionCase):
    """A connection can be stopped at any time, without leftovers."""

    url = "redis://:x@192.0.2.7/1"

    def test_not_started(self) -> None:
        self.successResultOf(self.connection.stop())
        self.assert_nothing_is_left()

    def in_state(self, prepare: Callable[[], object]) -> None:
        """Stop the connection in the state that ``prepare`` brings about."""
        self.connection.start()
        waiter: Deferred[None] | None = self.connection.connected()
        prepare()
        if waiter is not None and waiter.called:
            self.successResultOf(waiter)
            waiter = None
        stopped = self.connection.stop()
        self.assert_nothing_is_left()
        self.successResultOf(stopped)
        if waiter is not None:
            self.failureResultOf(waiter, SourceUnavailable)
        self.failureResultOf(self.connection.connected(), SourceUnavailable)
        self.failureResultOf(self.connection.command("GET", "a"), SourceUnavailable)
        self.successResultOf(self.connection.stop())
        attempts = self.endpoint.attempts
        self.clock.advance(100)
        self.assertEqual(self.endpoint.attempts, attempts)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_connecting(self) -> None:
        self.endpoint.holding = True
        self.in_state(lambda: None)

    def test_logging_in(self) -> None:
        for step in range(4):
            self.setUp()
            answers: list[Answer] = ["OK", "OK", 7]
            self.in_state(lambda answers=answers[:step]: self.session.answer(*answers))  # type: ignore[misc]  # a lambda

    def test_connected(self) -> None:
        self.in_state(lambda: self.session.log_in())

    def test_waiting_for_a_reply(self) -> None:
        commands: list[Deferred[RedisReply]] = []

        def ask() -> None:
            self.session.log_in()
            commands.extend(self.connection.command("GET", "a") for _ in range(2))

        self.in_state(ask)
        for command in commands:
            self.failureResultOf(command, NotConnected)

    def test_waiting_for_the_next_attempt(self) -> None:
        self.endpoint.fault = ConnectionRefusedError()
        self.in_state(lambda: None)

    def test_waiting_for_the_next_attempt_after_a_loss(self) -> None:
        def lose() -> None:
            self.session.log_in()
            self.session.lose()

        self.in_state(lose)

    def test_the_other_end_does_not_answer(self) -> None:
        session = self.connect()
        session.never_ends()
        stopped = self.connection.stop()
        self.clock.advance(0.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.assert_nothing_is_left()
        self.successResultOf(stopped)
