"""Sentinels in memory: which master airyd accepts, its changes, and the stop."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import SourceUnavailable
from airyd.sources.redis.address import read_sentinel_address
from airyd.sources.redis.connection import NotConnected, RedisConnection
from airyd.sources.redis.sentinel import ASK_EVERY, ASK_PATIENCE, MasterAddress, SentinelClient, Sentinels
from airyd.sources.url_query import Query
from tests.doubles import record_log
from tests.sources.redis.fakes import Answer, Error, FakeEndpoint, Session, address, words

OLD, NEW = MasterAddress(1, "192.0.2.1", 6379), MasterAddress(2, "192.0.2.2", 6380)
QUESTIONS = [words("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"), words("SENTINEL", "MASTER", "mymaster")]


def says(master: MasterAddress) -> list[Answer]:
    """Return a sentinel's replies to both commands."""
    facts: list[Answer] = [b"name", b"mymaster", b"ip", b"192.0.2.99", b"config-epoch", b"%d" % master.epoch]
    return [[master.host.encode(), b"%d" % master.port], facts]


class SentinelsCase(SynchronousTestCase):
    """Three sentinels.

    :ivar changes: the reported masters
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [FakeEndpoint(self.clock) for _ in range(3)]
        self.connections = [
            RedisConnection(address(f"redis://192.0.2.{number}"), endpoint, self.clock, "tests", is_numbered=False)
            for number, endpoint in enumerate(self.endpoints, 11)
        ]
        self.changes: list[MasterAddress] = []
        self.sentinels = Sentinels(self.connections, "mymaster", self.clock, self.changes.append)
        self.sentinels.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop; no timer is left."""
        stopped = self.sentinels.stop()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @property
    def sessions(self) -> list[Session]:
        """The newest connection of each."""
        return [endpoint.sessions[-1] for endpoint in self.endpoints]

    def log_in(self) -> None:
        """Let all be connected."""
        for session in self.sessions:
            session.log_in()

    def ask(self) -> Deferred[MasterAddress]:
        """Ask for the master."""
        return Deferred.fromCoroutine(self.sentinels.master())

    def answer(self, *masters: MasterAddress | None) -> None:
        """Answer the commands of the round; None does not answer."""
        for session, master in zip(self.sessions, masters, strict=True):
            asked = session.asked()
            if master is not None:
                self.assertEqual(asked, QUESTIONS)
                session.answer(*says(master))

    def round(self, *masters: MasterAddress | None) -> None:
        """Advance the clock to the next round, and answer it."""
        self.clock.advance(ASK_EVERY)
        self.answer(*masters)


class AnswerTests(SentinelsCase):
    """Which answer is accepted."""

    def test_all_say_the_same(self) -> None:
        self.log_in()
        asking = self.ask()
        self.answer(OLD, OLD, OLD)
        self.assertEqual(self.successResultOf(asking), OLD)
        self.assertEqual(self.changes, [])

    def test_the_address_is_that_of_the_first_question(self) -> None:
        """During a failover MASTER still names the old master; only its epoch is used."""
        self.log_in()
        asking = self.ask()
        self.answer(NEW, NEW, NEW)
        self.assertEqual(str(self.successResultOf(asking)), "192.0.2.2:6380")

    def test_most_are_enough(self) -> None:
        """A sentinel that hangs delays nothing."""
        self.log_in()
        asking = self.ask()
        self.answer(OLD, None, OLD)
        self.assertEqual(self.successResultOf(asking), OLD)

    def test_one_is_enough_if_the_others_are_away(self) -> None:
        self.sessions[0].log_in()
        for session in self.sessions[1:]:
            session.lose()
        asking = self.ask()
        self.sessions[0].answer(*says(OLD))
        self.assertNoResult(asking)
        self.clock.advance(ASK_PATIENCE)
        self.assertEqual(self.successResultOf(asking), OLD)

    def test_they_are_waited_for(self) -> None:
        asking = self.ask()
        self.assertNoResult(asking)
        self.log_in()
        self.answer(OLD, OLD, OLD)
        self.assertEqual(self.successResultOf(asking), OLD)

    def test_none_answers(self) -> None:
        """The error names each reason; an earlier answer doesn't count."""
        self.log_in()
        asking = self.ask()
        self.answer(OLD, OLD, OLD)
        self.successResultOf(asking)
        for session in self.sessions:
            session.lose()
        asking = self.ask()
        self.clock.advance(ASK_PATIENCE / 2)
        for endpoint in self.endpoints:
            endpoint.fault = OSError("no way")
        self.clock.advance(ASK_PATIENCE)
        text = str(self.failureResultOf(asking, SourceUnavailable).value)
        for number in (11, 12, 13):
            self.assertIn(f"redis://192.0.2.{number}:6379/0: ", text)

    def test_a_name_that_they_do_not_know(self) -> None:
        self.log_in()
        asking = self.ask()
        for session in self.sessions:
            session.answer(None, Error("ERR No such master with that name"))
        text = str(self.failureResultOf(asking, SourceUnavailable).value)
        self.assertEqual(text.count("ERR No such master with that name"), 3)

    def test_what_is_no_sentinel(self) -> None:
        self.log_in()
        asking = self.ask()
        for session in self.sessions:
            session.answer([b"192.0.2.1", b"6379"], [b"ip", b"192.0.2.1"])
        self.assertIn("gives an invalid answer", str(self.failureResultOf(asking, SourceUnavailable).value))

    def test_a_password_that_is_missing(self) -> None:
        self.log_in()
        asking = self.ask()
        for session in self.sessions:
            session.answer(Error("NOAUTH Authentication required."), Error("NOAUTH Authentication required."))
        self.assertIn("NOAUTH", str(self.failureResultOf(asking, SourceUnavailable).value))


class ChangeTests(SentinelsCase):
    """The master changes."""

    def setUp(self) -> None:
        super().setUp()
        self.log = record_log(self)
        self.log_in()
        asking = self.ask()
        self.answer(OLD, OLD, OLD)
        self.successResultOf(asking)

    def test_a_failover(self) -> None:
        self.round(NEW, NEW, NEW)
        self.assertEqual((self.changes, self.sentinels.known), ([NEW], NEW))
        self.round(NEW, NEW, NEW)
        self.assertEqual(self.changes, [NEW])

    def test_the_first_who_knows(self) -> None:
        """One sentinel with a newer epoch suffices; an older epoch needs a majority."""
        self.round(OLD, NEW, OLD)
        self.assertEqual(self.changes, [NEW])
        self.round(OLD, NEW, OLD)
        self.round(OLD, None, OLD)
        self.clock.advance(ASK_PATIENCE)
        self.assertEqual(self.changes, [NEW, OLD])

    def test_an_old_story(self) -> None:
        """A sentinel that was unreachable names the former master; airyd doesn't return to it."""
        self.round(NEW, NEW, NEW)
        self.clock.advance(ASK_EVERY)
        for session in self.sessions[1:]:
            session.asked()
            session.lose()
        self.answer(OLD, None, None)
        self.clock.advance(ASK_PATIENCE)
        self.assertEqual(self.changes, [NEW])

    def test_begun_anew(self) -> None:
        """After SENTINEL REMOVE and MONITOR the epochs start again."""
        anew = MasterAddress(0, "192.0.2.3", 6379)
        self.round(anew, anew, None)
        self.assertEqual(self.changes, [])
        self.clock.advance(ASK_PATIENCE)
        self.assertEqual(self.changes, [anew])

    def test_back_and_forth(self) -> None:
        """The same address with a newer epoch is another master: its data may differ."""
        self.round(*[OLD._replace(epoch=3)] * 3)
        self.assertEqual(self.changes, [OLD._replace(epoch=3)])


class SentinelClientTests(SynchronousTestCase):
    """Connections lead to the master that is named, and to no other."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        url = "redis+sentinel://airyd:s3cret@192.0.2.11/mymaster/3"
        self.redis = SentinelClient(read_sentinel_address(url, Query(url), {}), cast(Any, self.reactor))
        self.connection = self.redis.connection("tests")
        self.redis.start()
        self.sentinel = self.accept(26379)
        self.sentinel.log_in()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop; no timer is left."""
        for stopped in (self.connection.stop(), self.redis.stop()):
            self.reactor.advance(0)
            self.reactor.advance(0)
            self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def accept(self, port: int) -> Session:
        """Take the newest connection, which must be to this port; the reactor knows one host only."""
        self.reactor.advance(0)
        (client,) = self.reactor.tcpClients
        self.assertEqual(client[1], port)
        del self.reactor.tcpClients[:]
        session = Session(self.reactor, cast(IProtocol, client[2].buildProtocol(IPv4Address("TCP", client[0], port))))
        session.begin()
        return session

    def name(self, master: MasterAddress) -> None:
        """Let the sentinel name a master."""
        self.assertEqual(self.sentinel.asked(), QUESTIONS)
        self.sentinel.answer(*says(master))

    def log_in(self, session: Session, role: str = "master", replication_id: str = "abc") -> None:
        """Log in a connection to a server with this role."""
        self.assertEqual(session.log_in(), [words("AUTH", "airyd", "s3cret"), words("SELECT", 3), words("PING")])
        self.assertEqual(session.asked(), [words("INFO", "replication")])
        session.answer(f"# Replication\r\nrole:{role}\r\nmaster_replid:{replication_id}\r\n".encode())

    def connect(self) -> Session:
        """Start the connection; return its connection to the old master."""
        self.connection.start()
        self.name(OLD)
        session = self.accept(OLD.port)
        self.log_in(session)
        self.assertEqual((self.connection.trouble, self.connection.replication_id), (None, "abc"))
        return session

    def test_the_master_is_left_for_another(self) -> None:
        session = self.connect()
        command = self.connection.command("GET", "a")
        self.reactor.advance(ASK_EVERY)
        self.name(NEW)
        self.assertFalse(session.is_open)
        self.reactor.advance(0)
        self.assertIn("the master is now 192.0.2.2:6380", str(self.failureResultOf(command, NotConnected).value))
        self.reactor.advance(1.2)
        self.sentinel.answer(*says(NEW) * (len(self.sentinel.asked()) // 2))
        self.log_in(self.accept(NEW.port), replication_id="def")
        self.assertEqual(self.connection.replication_id, "def")

    def test_while_it_logs_in(self) -> None:
        """A former master would accept everything."""
        self.connection.start()
        self.name(OLD)
        session = self.accept(OLD.port)
        self.reactor.advance(ASK_EVERY)
        self.name(NEW)
        self.assertFalse(session.is_open)
        self.reactor.advance(0)
        self.assertIn("the master is now", str(self.connection.trouble))

    def test_while_it_connects(self) -> None:
        self.connection.start()
        self.name(OLD)
        self.reactor.advance(ASK_EVERY)
        self.name(NEW)
        session = self.accept(OLD.port)
        self.assertFalse(session.is_open)
        self.assertIn("is no longer the master", str(self.connection.trouble))

    def test_a_replica(self) -> None:
        """The named server is not promoted yet, or is a replica again."""
        self.connection.start()
        self.name(OLD)
        session = self.accept(OLD.port)
        self.log_in(session, role="slave")
        self.assertEqual(self.connection.trouble, "the server that the sentinels name is not a master (yet)")
        self.assertFalse(session.is_open)

    def test_one_that_does_not_say(self) -> None:
        self.connection.start()
        self.name(OLD)
        session = self.accept(OLD.port)
        session.log_in()
        session.answer(Error("NOPERM this user has no permissions to run the 'info' command"))
        self.assertIn("'info'", str(self.connection.trouble))

    def test_a_master_that_steps_back(self) -> None:
        """A READONLY reply shows it: the command was not executed, and the connection is closed."""
        for refusal in (
            "READONLY You can't write against a read only replica.",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        ):
            session = self.connect()
            command = self.connection.command("XADD", "a", "*", "b", "c")
            session.answer(Error(refusal))
            self.assertIn(refusal, str(self.failureResultOf(command, NotConnected).value))
            self.failureResultOf(self.connection.command("GET", "a"), NotConnected)
            self.assertNoResult(self.connection.connected().addErrback(lambda failure: None))
            self.reactor.advance(0)
            self.assertEqual(self.connection.trouble, refusal)
            self.connection.stop()
            self.reactor.advance(0)
            self.connection = self.redis.connection("tests")

    def test_no_sentinel(self) -> None:
        self.sentinel.lose()
        self.connection.start()
        self.reactor.advance(ASK_PATIENCE)
        self.assertIn("no sentinel knows the master: sentinel 192.0.2.11:26379: ", str(self.connection.trouble))
        self.reactor.advance(0.5)
        del self.reactor.tcpClients[:]
