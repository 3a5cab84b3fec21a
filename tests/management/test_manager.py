"""The queries that a whole process answers: overview, destinations, process, drain."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path
from typing import Any, cast
from weakref import ref

from prometheus_client import generate_latest
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from airyd.client.client import Client
from airyd.events import MESSAGE, STATUS, UNREAD_COUNT
from airyd.management import processes
from airyd.management.queries import (
    ConnectionQuery,
    ConnectionReply,
    ConnectionsQuery,
    ConnectionsReply,
    DestinationRow,
    DestinationsQuery,
    DestinationsReply,
    DrainCommand,
    DrainReply,
    KickCommand,
    KickReply,
    ManagementQuery,
    ManagementReply,
    OverviewQuery,
    OverviewReply,
    ProcessesQuery,
    ProcessesReply,
)
from airyd.management.rates import SAMPLE_EVERY
from airyd.service import Airyd
from tests.doubles import EVENT, frame
from tests.loop import Peer
from tests.test_service import ServiceTestCase
from tests.websocket.case import CONNECT, close_frame, request, text


class ManagerTestCase(ServiceTestCase):
    """Has a started service."""

    arguments: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.service: Airyd = self.started(*self.arguments)

    def ask(self, query: ManagementQuery) -> ManagementReply:
        """Return the answer to a query."""
        return self.successResultOf(self.service.ask(query))

    def publish(self, destination: str = MESSAGE) -> None:
        """Publish, and let the turn end."""
        self.source.publish(destination, EVENT)
        self.reactor.turn()


class OverviewTests(ManagerTestCase):
    """The figures of the console's front page."""

    def overview(self) -> OverviewReply:
        """Return them."""
        return cast(OverviewReply, self.ask(OverviewQuery()))

    def test_counts(self) -> None:
        peers = [self.connected() for _ in range(3)]
        self.reach()
        self.publish()
        peers.pop().lose()
        found = self.overview()
        self.assertEqual((found.connections, found.sessions, found.opened, found.closed), (3, 2, 4, 1))
        self.assertEqual((found.events, found.deliveries), (1, 3))
        self.assertGreater(found.sent, 3 * len(EVENT))
        self.assertEqual((found.time, found.ready, found.warnings), (1.7e9, True, []))
        self.assertEqual((found.delivery[-1], found.round_trip[-1]), ((1e9, 1), (1e9, 0)))

    def test_slow(self) -> None:
        peer = self.connected()
        peer.socket.room = 0
        self.publish()
        self.reactor.advance(2)
        found = self.overview()
        self.assertEqual(found.slow, 1)
        self.assertGreater(found.buffered, len(EVENT))

    def test_troubles(self) -> None:
        self.source.troubles = ["Redis is down"]
        found = self.overview()
        self.assertEqual((found.ready, found.warnings), (False, ["Redis is down"]))


class DestinationTests(ManagerTestCase):
    """All destinations, by name."""

    def rows(self) -> dict[str, DestinationRow]:
        """Return them."""
        return {row.name: row for row in cast(DestinationsReply, self.ask(DestinationsQuery())).destinations}

    def test_nobody(self) -> None:
        rows = self.rows()
        self.assertEqual(list(rows), sorted(rows))
        self.assertNotIn(STATUS, rows)
        row = rows[MESSAGE]
        self.assertEqual((row.subscriptions, row.groups, row.filters, row.position, row.silence), (0, 0, 0, None, None))

    def test_subscribed(self) -> None:
        peers = [self.connected() for _ in range(3)]
        peers[0].say(text(frame("SUBSCRIBE", id="w", destination=MESSAGE, ack="client", prefetch_count="1")))
        for _ in range(3):
            self.publish()
        self.reactor.advance(7)
        row = self.rows()[MESSAGE]
        self.assertEqual((row.subscriptions, row.groups, row.catching_up), (4, 1, 1))
        self.assertEqual((row.events, row.deliveries, row.silence), (3, 10, 7.0))
        self.assertTrue(cast(str, row.position).endswith("-3"))
        for peer in peers:
            peer.lose()
        self.assertEqual((self.rows()[MESSAGE].groups, self.rows()[MESSAGE].subscriptions), (0, 0))

    def test_rates(self) -> None:
        """Over the last ten seconds."""
        self.connected()
        self.assertEqual(self.rows()[MESSAGE].events_per_second, 0)
        for count in (10, 20, 0):
            for _ in range(count):
                self.publish()
            self.reactor.advance(SAMPLE_EVERY)
        row = self.rows()[MESSAGE]
        self.assertEqual((row.events_per_second, row.deliveries_per_second), (2.0, 2.0))
        self.assertEqual(self.rows()[UNREAD_COUNT].events_per_second, 0.0)


class ProcessTests(ManagerTestCase):
    """The process itself."""

    arguments = ("--source=redis://ann:s3cret@127.0.0.1/0",)

    def test_row(self) -> None:
        self.connected()
        (row,) = cast(ProcessesReply, self.ask(ProcessesQuery())).processes
        self.assertEqual((row.name, row.pid, row.since), ("airyd", os.getpid(), 1.7e9))
        self.assertEqual((row.ready, row.reasons, row.warnings, row.draining), (True, [], [], False))
        self.assertEqual(row.connections, (1, 3996))
        self.assertEqual(set(row.versions), {"airyd", "python", "twisted", "autobahn", "txredisapi"})
        self.assertNotIn("s3cret", str(row))
        self.assertIn("127.0.0.1", row.sources[0])
        assert row.files is not None and row.memory is not None
        self.assertGreater(row.memory, 1 << 20)
        self.assertGreater(row.files[0], 2)
        self.assertIsNone(row.load)

    def test_load(self) -> None:
        self.reactor.advance(SAMPLE_EVERY)
        (row,) = cast(ProcessesReply, self.ask(ProcessesQuery())).processes
        self.assertIsNotNone(row.load)

    def test_a_system_that_does_not_say(self) -> None:
        self.patch(processes, "_PROC", Path("/nothing/there"))
        (row,) = cast(ProcessesReply, self.ask(ProcessesQuery())).processes
        self.assertEqual((row.memory, row.files), (None, None))


class ConnectionTests(ManagerTestCase):
    """Queries about connections reach them."""

    def test_list_find_kick(self) -> None:
        self.connected()
        (row,) = cast(ConnectionsReply, self.ask(ConnectionsQuery())).connections
        details = cast(ConnectionReply, self.ask(ConnectionQuery(id=row.id))).details
        assert details is not None
        self.assertEqual(details.connection.id, row.id)
        self.assertEqual(self.ask(KickCommand(id=row.id)), KickReply(disconnected=1))


class DrainTests(ManagerTestCase):
    """``POST drain``: unready, no new clients, and the others leave."""

    arguments = ("--drain-notice=20", "--drain-seconds=30")

    def setUp(self) -> None:
        super().setUp()
        self.patch(random, "uniform", lambda _, end: end)

    def drain(self, is_on: bool) -> DrainReply:
        """Begin, or take back."""
        return cast(DrainReply, self.ask(DrainCommand(is_on=is_on)))

    def listener(self) -> Peer:
        """Return a client that is told of the server's state."""
        peer = self.connected()
        peer.say(text(frame("SUBSCRIBE", id="s", destination=STATUS)))
        peer.got()
        return peer

    def refused(self) -> bytes:
        """Return the answer to a new client."""
        peer = self.reach()
        peer.say(request(Host="127.0.0.1:8080") + CONNECT)
        self.reactor.turn()
        return peer.got()

    def test_begins(self) -> None:
        peer = self.listener()
        self.assertEqual(self.drain(is_on=True), DrainReply(draining=True, connections=1))
        self.assertEqual(list(self.service.readiness().reasons), ["draining"])
        answer = self.refused()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "))
        self.assertIn(b"\r\nRetry-After: 5\r\n", answer)
        self.reactor.turn()
        self.assertIn(b'{"type":"draining","within":50.0}', peer.got())
        self.assertIn("airyd_draining 1.0", generate_latest(self.service.registry).decode())

    def test_clients_are_closed_and_the_process_stays(self) -> None:
        peer = self.listener()
        self.drain(is_on=True)
        self.publish()
        self.assertIn(b"MESSAGE", peer.got())
        self.reactor.advance(19.9)
        self.assertNotIn(b"ERROR", peer.got())
        self.reactor.advance(0.1)
        self.reactor.turn()
        self.assertIn(b'"type":"draining"', peer.got())
        self.reactor.advance(1)
        self.assertIn(b"ERROR\nmessage:server restarting\n", peer.got())
        peer.say(close_frame(1012))
        peer.lose()
        self.assertNotIn("stop", self.reactor.done)
        self.assertEqual(self.drain(is_on=True).connections, 0)

    def test_taken_back_during_the_notice(self) -> None:
        peer = self.listener()
        self.drain(is_on=True)
        self.reactor.advance(10)
        self.assertEqual(self.drain(is_on=False), DrainReply(draining=False, connections=1))
        peer.got()
        self.reactor.advance(100)
        self.assertNotIn(b"ERROR", peer.got())
        self.assertEqual(list(self.service.readiness().reasons), [])
        self.connected()

    def test_taken_back_while_clients_are_closed(self) -> None:
        """Those that are still there stay."""
        peers = [self.listener() for _ in range(3)]
        ends = iter((0.001, 40, 40))
        self.patch(random, "uniform", lambda _, __: next(ends))
        self.drain(is_on=True)
        self.reactor.advance(20)
        self.reactor.advance(0.001)
        peers[0].lose()
        self.assertEqual(self.drain(is_on=False).connections, 2)
        self.reactor.advance(100)
        self.publish()
        for peer in peers[1:]:
            got = peer.got()
            self.assertIn(b"MESSAGE", got)
            self.assertNotIn(b"ERROR", got)

    def test_keeps_no_connection(self) -> None:
        """What is over is freed, although the process goes on to drain."""
        self.patch(
            Client, "_log", Logger(observer=cast(Any, lambda event: None))
        )  # trial keeps events, with who has logged them
        peer = self.listener()
        (factory,) = {each[1] for each in cast(Any, self.reactor.tcpServers) if hasattr(each[1], "channels")}
        (gone,) = map(ref, factory.channels.values())
        self.drain(is_on=True)
        self.reactor.advance(20)
        self.reactor.advance(1)
        peer.say(close_frame(1012))
        peer.lose()
        del peer
        self.reactor.pump([1] * 100)  # the timers of the connection
        gc.collect()
        self.assertIsNone(gone())

    def test_twice(self) -> None:
        """A second command of the same kind changes nothing."""
        peer = self.listener()
        self.drain(is_on=False)
        self.drain(is_on=True)
        self.reactor.advance(15)
        self.drain(is_on=True)
        self.reactor.advance(5)
        self.reactor.advance(1)
        self.assertIn(b"ERROR", peer.got())

    def test_stop_while_draining(self) -> None:
        """SIGTERM ends it as ever."""
        peer = self.listener()
        self.drain(is_on=True)
        self.service.leave()
        stopped = self.service.stopService()
        self.reactor.advance(1)
        self.assertIn(b"ERROR", peer.got())
        peer.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reload(self) -> None:
        """A reload does not end it."""
        self.drain(is_on=True)
        reload = self.successResultOf(Deferred.fromCoroutine(self.service.prepare_reload(self.service.settings)))
        reload.apply()
        self.assertIn(b" 503 ", self.refused())
        self.assertEqual(list(self.service.readiness().reasons), ["draining"])
