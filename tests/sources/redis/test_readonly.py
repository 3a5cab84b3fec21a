"""An address that changes to another master: the connection to the old one is closed."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import KEEP_ALIVE, NotExecuted, RedisConnection
from tests.integration.proxy import Proxy
from tests.sources.contract import NEWS
from tests.sources.redis.case import RedisCase
from tests.sources.redis.fakes import Answer, Error, FakeEndpoint, Session, address, says_hello, words
from tests.sources.redis.server import Connection, RedisServer
from tests.sources.support import body

READONLY = Error("READONLY You can't write against a read only replica.")
UNBLOCKED = Error("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
HELLO = words("HELLO")
REPLICA = says_hello(role="replica")
#: More than the pause before a second attempt.
PAUSE = 1.2


class ConnectionCase(SynchronousTestCase):
    """A connection that may lead to another server the next time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint(self.clock)
        self.connection = RedisConnection(
            address(), self.endpoint, self.clock, "tests", is_numbered=False, keep_alive=True
        )
        self.connection.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop it; nothing is left."""
        self.connection.stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([each for each in self.endpoint.sessions if each.is_open], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def log_in(self, hello: Answer | None = None) -> Session:
        """Log in the newest connection, by default to a master."""
        session = self.endpoint.sessions[-1]
        self.assertEqual(session.log_in(hello=hello), [HELLO, words("PING")])
        self.assertIsNone(self.connection.trouble)
        return session

    def wait(self, seconds: float, *sessions: Session, hello: Answer | None = None) -> None:
        """Advance the clock while these connections answer."""
        for _ in range(round(seconds * 8)):
            self.clock.advance(0.125)
            for session in sessions:
                for _ in session.asked():
                    session.answer(says_hello() if hello is None else hello)


class ReadOnlyTests(ConnectionCase):
    """What READONLY means."""

    def test_a_master_that_became_a_replica(self) -> None:
        """Refused commands fail as not executed, so that they can be repeated on the next connection."""
        session = self.log_in()
        writing = [self.connection.command("XADD", "a", "*", "b", "c") for _ in range(3)]
        session.answer(READONLY, READONLY, READONLY)
        for each in writing:
            self.failureResultOf(each, NotExecuted)
        self.assertFalse(session.is_open)
        self.clock.advance(0)
        self.clock.advance(PAUSE)
        session = self.log_in()
        writing = [self.connection.command("XADD", "a", "*", "b", "c")]
        session.answer(b"1-0")
        self.assertEqual(self.successResultOf(writing[0]), b"1-0")

    def test_other_errors_that_come_with_it(self) -> None:
        """Other errors are replies, and don't close the connection."""
        session = self.log_in()
        writing, reading = (
            self.connection.command("XADD", "a", "*", "b", "c"),
            self.connection.command("XINFO", "STREAM", "a"),
        )
        session.answer(READONLY, Error("ERR no such key"))
        self.failureResultOf(writing, NotExecuted)
        self.assertIn("no such key", str(self.failureResultOf(reading, ResponseError).value))
        self.clock.advance(0)
        self.assertIn("READONLY", str(self.connection.trouble))

    def test_a_replica_from_the_beginning(self) -> None:
        """Only writes fail."""
        session = self.log_in(REPLICA)
        for _ in range(20):
            writing = self.connection.command("XADD", "a", "*", "b", "c")
            session.asked()
            session.answer(READONLY)
            self.assertIn("READONLY", str(self.failureResultOf(writing, ResponseError).value))
            for other in self.endpoint.sessions[1:]:
                if other.is_open:
                    other.log_in(hello=REPLICA)
            self.wait(1, session, hello=REPLICA)
            self.assertEqual((session.is_open, self.connection.trouble), (True, None))
        self.assertLess(len(self.endpoint.sessions), 12)  # it is looked now and then whether there is a master

    def test_a_master_behind_the_address_of_a_replica(self) -> None:
        """The address changes after the connection was made."""
        session = self.log_in(REPLICA)
        writing = self.connection.command("XADD", "a", "*", "b", "c")
        session.answer(READONLY)
        self.failureResultOf(writing, ResponseError)
        self.assertTrue(session.is_open)
        self.endpoint.sessions[-1].log_in()
        self.assertFalse(session.is_open)
        self.clock.advance(0)
        self.clock.advance(PAUSE)
        self.log_in()

    def test_looking_for_a_master_fails(self) -> None:
        session = self.log_in(REPLICA)
        self.endpoint.fault = OSError("no route")
        for _ in range(3):
            writing = self.connection.command("XADD", "a", "*", "b", "c")
            session.asked()
            session.answer(READONLY)
            self.failureResultOf(writing, ResponseError)
            self.wait(6, session, hello=REPLICA)
        self.assertTrue(session.is_open)
        self.assertEqual(self.endpoint.attempts, 1 + 3)

    def test_stopped_while_it_looks_for_a_master(self) -> None:
        session = self.log_in(REPLICA)
        writing = self.connection.command("XADD", "a", "*", "b", "c")
        session.answer(READONLY)
        self.failureResultOf(writing, ResponseError)
        self.assertEqual(len(self.endpoint.sessions), 2)

    def test_a_server_that_does_not_say_what_it_is(self) -> None:
        """Each attempt waits longer: not every refused write reconnects."""
        session = self.log_in(Error("ERR unknown command 'HELLO'"))
        left = 0
        for _ in range(100):
            writing = self.connection.command("XADD", "a", "*", "b", "c")
            session.asked()
            session.answer(READONLY)
            writing.addErrback(lambda failure: None)
            if not session.is_open:
                left += 1
                self.clock.advance(0)
                self.clock.advance(PAUSE)
                session = self.log_in(Error("ERR unknown command 'HELLO'"))
            self.clock.advance(0.1)
        self.assertTrue(2 <= left <= 15, left)

    def test_unblocked(self) -> None:
        """UNBLOCKED ends a blocked read when a master becomes a replica."""
        session = self.log_in()
        reading = self.connection.command("XREAD", "BLOCK", 5000, "STREAMS", "a", "0")
        session.answer(UNBLOCKED)
        self.failureResultOf(reading, NotExecuted)
        self.assertFalse(session.is_open)


class KeepAliveTests(ConnectionCase):
    """An idle connection."""

    def test_is_not_idle(self) -> None:
        session = self.log_in()
        for _ in range(3):
            self.clock.advance(KEEP_ALIVE)
            self.assertEqual(session.asked(), [HELLO])
            session.answer(says_hello())
        self.assertTrue(session.is_open)

    def test_nothing_waits_behind_a_command_that_blocks(self) -> None:
        session = self.log_in()
        reading = self.connection.command("XREAD", patience=10)
        session.asked()
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(session.asked(), [])
        session.answer(None)
        self.successResultOf(reading)
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(session.asked(), [HELLO])

    def test_a_master_that_becomes_a_replica(self) -> None:
        """The connection is closed before any write."""
        session = self.log_in()
        self.clock.advance(KEEP_ALIVE)
        session.answer(REPLICA)
        self.assertFalse(session.is_open)
        self.clock.advance(0)
        self.assertIn("replica", str(self.connection.trouble))

    def test_a_replica_that_becomes_a_master(self) -> None:
        session = self.log_in(REPLICA)
        self.clock.advance(KEEP_ALIVE)
        session.answer(says_hello())
        self.assertEqual((session.is_open, self.connection.server_info.is_replica), (True, False))

    def test_a_server_that_does_not_know_hello(self) -> None:
        session = self.log_in(Error("ERR unknown command 'HELLO'"))
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(session.asked(), [words("PING")])
        session.answer(Error("NOPERM this user has no permissions to run the 'ping' command"))
        self.assertTrue(session.is_open)

    def test_no_answer(self) -> None:
        session = self.log_in()
        self.wait(KEEP_ALIVE + 5)
        self.assertFalse(session.is_open)


class FailoverTests(RedisCase):
    """Two servers, and one address that leads to whichever is the master."""

    def make_server(self) -> RedisServer:
        """Return the master; the one that follows it is beside it."""
        master = self.own_server()
        self.other = self.own_server("--replicaof", "127.0.0.1", f"{master.port}")
        self.address = Proxy(master.port)
        self.addCleanup(self.address.close)
        return master

    async def fail_over(self) -> None:
        """Promote the other one; connections that are open stay with the old master, which lives on as a replica."""
        old, new = self.redis, self.other.connect()
        self.addCleanup(new.close)
        await self.until(lambda: new.call("DBSIZE") == old.call("DBSIZE") and self.follows(new))
        new.call("REPLICAOF", "NO", "ONE")
        self.address.lead_to(self.other.port)
        old.call("REPLICAOF", "127.0.0.1", self.other.port)
        await self.until(lambda: self.follows(old))
        self.redis = new

    def follows(self, server: Connection) -> bool:
        """Return whether a server has caught up with its master."""
        return b"master_link_status:up" in server.call("INFO", "replication")

    async def test_streams(self) -> None:
        source, sink = await self.running(self.url(port=self.address.port))
        await source.watch(NEWS)
        await source.publish(NEWS, body(1))
        await self.until(lambda: len(sink.events) == 1)
        await self.fail_over()
        for number in range(2, 5):
            await source.publish(NEWS, body(number))
        await self.until(lambda: len(sink.events) == 4)
        self.assertEqual([event.body for event in sink.events], [body(number) for number in range(1, 5)])
        self.assertEqual(sink.gaps, [])
        await self.until(lambda: not source.health())

    async def test_no_master_behind_the_address(self) -> None:
        """It continues as with a replica from the start: only writes fail."""
        other = self.other.connect()
        self.addCleanup(other.close)
        source, _ = await self.running(self.url(port=self.address.port))
        await source.watch(NEWS)
        await self.until(lambda: self.follows(other))
        other.call("REPLICAOF", "NO", "ONE")
        self.redis.call("REPLICAOF", "127.0.0.1", self.other.port)
        error = await self.assertFailure(source.publish(NEWS, body(1)), SourceUnavailable)
        self.assertIn("READONLY", str(error))
        await self.until(lambda: not source.health())
        for _ in range(30):
            error = await self.assertFailure(source.publish(NEWS, body(1)), SourceUnavailable)
            self.assertIn("READONLY", str(error))
            self.assertEqual(list(source.health()), [])
            await self.wait(0.05)
