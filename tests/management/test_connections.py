"""What a process says about its connections, and how an operator ends them."""

from __future__ import annotations

import random
import struct
from typing import Any, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from airyd.errors import Fault, QueryRefused
from airyd.events import CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT
from airyd.interfaces import IMeasuredSource
from airyd.management.connections import Connections
from airyd.management.queries import (
    ConnectionDetails,
    ConnectionQuery,
    ConnectionState,
    KickCommand,
    KickReply,
    SubscriptionInfo,
)
from tests.doubles import frame, stomp_frames
from tests.management.case import ManagementTestCase
from tests.websocket.case import CONNECT, request, text


class RowTests(ManagementTestCase):
    """The row of a connection."""

    def test_before_the_login(self) -> None:
        self.loop.advance(10)
        self.ask(request(User_Agent="Mozilla/5.0 (X11)"))
        self.loop.advance(5)
        (row,) = self.rows()
        self.assertEqual((row.state, row.subject, row.version), (ConnectionState.OPENING, None, None))
        self.assertEqual((row.process, row.address, row.agent), ("airyd", "192.0.2.1:5000", "Mozilla/5.0 (X11)"))
        self.assertEqual((row.since, row.subscriptions, row.events, row.lag), (1.7e9 + 10, 0, 0, 0.0))

    def test_id_is_the_session(self) -> None:
        """A client can say its id: it is the ``session`` header of CONNECTED."""
        peer = self.opened()
        (before,) = self.rows()
        peer.say(CONNECT)
        (connected,) = self.stomp(peer)
        (after,) = self.rows()
        self.assertEqual(connected.headers["session"], before.id)
        self.assertEqual((after.id, after.subject, after.version), (before.id, "somebody", "1.2"))

    def test_ids_in_the_order_of_the_connections(self) -> None:
        for _ in range(3):
            self.opened()
        ids = [row.id for row in self.rows()]
        self.assertEqual([each.rpartition("-")[2] for each in ids], ["1", "2", "3"])
        self.assertEqual(len({each.partition("-")[0] for each in ids}), 1)

    def test_agent_can_not_do_harm(self) -> None:
        self.ask(request(User_Agent="\u00ad" + "x" * 1000))
        self.ask(request())
        agents = [row.agent for row in self.rows()]
        self.assertEqual(agents, ["?" + "x" * 199, None])

    def test_events(self) -> None:
        """Events count as they are handed over: to groups, to those who acknowledge, and after an UNSUBSCRIBE."""
        group = self.logged_in("group", MESSAGE, UNREAD_COUNT)
        self.logged_in("window", MESSAGE, ack="client")
        for _ in range(3):
            self.publish(MESSAGE)
        late = self.logged_in("late", MESSAGE)
        self.publish(MESSAGE)
        self.publish(UNREAD_COUNT)
        self.assertEqual([row.events for row in self.rows()], [5, 4, 1])
        for peer in (group, late):
            peer.say(text(frame("UNSUBSCRIBE", id="0")))
        self.publish(MESSAGE)
        self.assertEqual([row.events for row in self.rows()], [5, 5, 1])
        self.assertEqual([row.subscriptions for row in self.rows()], [1, 1, 0])

    def test_closing(self) -> None:
        self.opened().say(text(b"\0\0nonsense"))
        (row,) = self.rows()
        self.assertEqual(row.state, ConnectionState.CLOSING)

    def test_slow(self) -> None:
        """Bytes that wait for more than a second."""
        peer = self.logged_in("ann", MESSAGE)
        peer.socket.room = 10
        self.publish(MESSAGE)
        (row,) = self.rows()
        self.assertEqual(row.state, ConnectionState.LIVE)
        self.assertGreater(row.buffered, 10)
        self.loop.advance(1.1)
        (row,) = self.rows()
        self.assertEqual(row.state, ConnectionState.SLOW)
        peer.socket.room = None
        self.loop.turn()
        (row,) = self.rows()
        self.assertEqual((row.state, row.buffered), (ConnectionState.LIVE, 0))

    def test_catching_up(self) -> None:
        """A client whose window is full lags; by how much, only some sources know."""
        peer = self.opened()
        peer.say(CONNECT)
        peer.say(text(frame("SUBSCRIBE", id="0", destination=MESSAGE, ack="client", prefetch_count="1")))
        for _ in range(3):
            self.publish(MESSAGE)
        (row,) = self.rows()
        self.assertEqual((row.state, row.lag), (ConnectionState.CATCHING_UP, None))

        def age(destination: str, event_id: str) -> float:
            return 100.0 - 10 * int(event_id.rpartition("-")[2])

        cast(Any, self.feed).age = age
        alsoProvides(self.feed, IMeasuredSource)
        (row,) = self.rows()
        self.assertEqual(row.lag, 20.0)

    def test_addresses(self) -> None:
        """An IPv6 address has brackets before its port; a client on a unix socket has none."""
        self.opened().transport.client = ("2001:db8::7", 5000, 0, 0)
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(StringTransport(peerAddress=UNIXAddress(b"/run/x")))
        self.assertEqual([row.address for row in self.rows()], ["[2001:db8::7]:5000", "unix"])

    def test_behind_a_proxy(self) -> None:
        self.opened()
        (channel,) = self.factory.channels.values()
        channel._forwarded = "tcp6:2001:db8::7"
        (row,) = self.rows()
        self.assertEqual(row.address, "2001:db8::7")


class DetailTests(ManagementTestCase):
    """One connection in full."""

    def details(self, number: int = 0) -> ConnectionDetails:
        """Return one connection, by its place in the list."""
        details = self.connections.answer(ConnectionQuery(id=self.rows()[number].id)).details
        assert details is not None
        return details

    def test_all(self) -> None:
        peer = self.opened()
        self.door.principal.expires = 1.7e9 + 3600
        peer.say(text(frame("CONNECT", accept_version="1.2", heart_beat="10000,20000")))
        peer.say(text(frame("SUBSCRIBE", id="a", destination=MESSAGE)))
        peer.say(text(frame("SUBSCRIBE", id="b", destination=UNREAD_COUNT, ack="client", prefetch_count="7")))
        published = self.publish(MESSAGE)
        self.publish(UNREAD_COUNT)
        self.loop.advance(4)
        self.assertEqual((self.details().sent, self.details().received), (None, None))
        peer.socket.info = struct.pack("=120xQQ", 1234, 567)
        details = self.details()
        self.assertEqual((details.sent, details.received), (1234, 567))
        self.assertEqual((details.heart_beat, details.heard), ((30.0, 30.0), 4.0))
        self.assertEqual((details.token_end, details.limit), (1.7e9 + 3600, self.limits.buffered))
        first, second = details.subscriptions
        self.assertEqual(
            first,
            SubscriptionInfo(
                id="a",
                destination=MESSAGE,
                state=ConnectionState.LIVE,
                ack="auto",
                position=published,
                lag=0.0,
                window=None,
                unacknowledged=0,
                filter=None,
            ),
        )
        self.assertEqual((second.id, second.ack, second.window, second.unacknowledged), ("b", "client", 7, 1))

    def test_wildcard(self) -> None:
        """A pattern has a row for each destination."""
        peer = self.logged_in("ann")
        peer.say(text(frame("SUBSCRIBE", id="w", destination="/queue/*")))
        rows = self.details().subscriptions
        self.assertEqual({(row.id, row.destination) for row in rows}, {("w", MESSAGE), ("w", UNREAD_COUNT)})
        self.assertEqual(self.rows()[0].subscriptions, 2)

    def test_opening(self) -> None:
        self.feed.watches.holding = True
        self.logged_in("ann", CHANNEL_CONNECTED)
        (row,) = self.details().subscriptions
        self.assertEqual((row.state, row.position), (ConnectionState.OPENING, None))

    def test_unknown(self) -> None:
        self.opened()
        known = self.rows()[0].id
        for wrong in ("", "x", "0-1", known + "0", known.replace("-", "--"), f"{known[:-1]}²", "1" * 5000):
            self.assertIsNone(self.connections.answer(ConnectionQuery(id=wrong)).details)


class KickTests(ManagementTestCase):
    """ERROR ``disconnected by operator``, close code 1008."""

    def kick(self, **what: str) -> KickReply:
        """Carry out the command."""
        answer = self.connections.kick(KickCommand(**what))
        return self.finish(answer)

    def test_by_id(self) -> None:
        ann, bea = self.logged_in("ann"), self.logged_in("bea")
        reply = self.kick(id=self.rows()[0].id, reason="401 too many\ntabs")
        self.assertEqual(reply, KickReply(disconnected=1))
        before, code = self._until_close(ann)
        (error,) = stomp_frames(before)
        self.assertEqual(code, Fault.KICKED.close_code)
        self.assertEqual(error.headers["message"], "disconnected by operator")
        self.assertEqual(error.body, b"An operator has ended this connection. 401 too many?tabs")
        self.assertEqual(bea.got(), b"")
        self.assertEqual(self.metrics.errors["kicked"], 1)

    def test_by_subject(self) -> None:
        """All connections of a user, but of nobody else; the client may come back."""
        anns = [self.logged_in("ann") for _ in range(3)]
        bea = self.logged_in("bea")
        self.assertEqual(self.kick(subject="ann").disconnected, 3)
        for peer in anns:
            self.assertEqual(self.closed(peer), (["ERROR"], 1008))
        self.assertEqual(bea.got(), b"")
        self.assertEqual(self.kick(subject="ann").disconnected, 0)
        self.logged_in("ann")

    def test_many_are_spread(self) -> None:
        self.patch(random, "uniform", lambda _, end: end)
        peers = [self.logged_in("ann") for _ in range(100)]
        self.assertEqual(self.kick(subject="ann").disconnected, 100)
        self.assertEqual([peer.got() for peer in peers], [b""] * 100)
        self.loop.advance(0.2)
        self.turns.turn()
        self.assertEqual({self.closed(peer)[1] for peer in peers}, {1008})

    def test_one_that_goes_meanwhile(self) -> None:
        peers = [self.logged_in("ann") for _ in range(20)]
        self.kick(subject="ann")
        peers[0].lose()
        self.loop.advance(3)
        self.turns.turn()
        self.assertEqual(self.closed(peers[1])[1], 1008)

    def test_before_the_handshake(self) -> None:
        peer = self.reach()
        self.assertEqual(self.kick(id=self.rows()[0].id).disconnected, 1)
        self.assertIn(b" 503 ", peer.got())

    def test_neither_or_both(self) -> None:
        for what in ({}, {"id": "a", "subject": "b"}):
            answer = self.connections.kick(KickCommand(**what))
            self.failureResultOf(answer, QueryRefused)

    def test_other_processes(self) -> None:
        """Ids of another process are unknown here."""
        self.opened()
        other = Connections("worker-2", self.factory, self.turns, self.wall)
        self.assertEqual(other.row(next(iter(self.factory.channels.values()))).process, "worker-2")
        self.assertEqual(self.kick(id="00000000-1").disconnected, 0)
