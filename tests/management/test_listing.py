"""The list of connections: filters, orders, pages by cursor, pieces of work."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from airyd.errors import QueryRefused
from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.management import listing, turns
from airyd.management.connections import Connections
from airyd.management.listing import Listing
from airyd.management.merging import merge_replies
from airyd.management.queries import ConnectionsQuery, ConnectionsReply, ConnectionState, SortKey
from airyd.websocket.protocol import StompWebSocketFactory
from tests.loop import Peer
from tests.management.case import ManagementTestCase


class FilterTests(ManagementTestCase):
    """Which connections are listed."""

    def found(self, **wanted: Any) -> Sequence[str | None]:
        """Return the subjects that a query finds."""
        reply = self.page(ConnectionsQuery(**wanted))
        self.assertEqual(reply.total, len(reply.connections))
        return [row.subject for row in reply.connections]

    def test_filters(self) -> None:
        self.reach()
        self.logged_in("ann", MESSAGE)
        self.logged_in("bea", UNREAD_COUNT)
        self.logged_in("ann", MESSAGE, UNREAD_COUNT)
        self.assertEqual(self.found(), [None, "ann", "bea", "ann"])
        self.assertEqual(self.found(subject="ann"), ["ann", "ann"])
        self.assertEqual(self.found(subject="an"), [])
        self.assertEqual(self.found(destination=UNREAD_COUNT), ["bea", "ann"])
        self.assertEqual(self.found(destination=UNREAD_COUNT, subject="ann"), ["ann"])
        self.assertEqual(self.found(state=ConnectionState.OPENING), [None])
        self.assertEqual(self.found(state=ConnectionState.LIVE, subject="bea"), ["bea"])

    def test_addresses(self) -> None:
        """An IPv6 address may be written in several ways, and IPv4 within IPv6."""
        for name, host in (("ann", "192.0.2.7"), ("bea", "::ffff:192.0.2.7"), ("cid", "2001:db8::7")):
            self.logged_in(name)
            (*_, channel) = self.factory.channels.values()
            channel._forwarded = f"tcp{4 if '.' in host else 6}:{host}"
        self.assertEqual(self.found(address="192.0.2.7"), ["ann", "bea"])
        self.assertEqual(self.found(address="2001:0db8:0::7"), ["cid"])
        self.assertEqual(self.found(address="nonsense:"), [])

    def test_limits(self) -> None:
        for limit in (0, -1, 1001):
            self.failureResultOf(self.listing.answer(ConnectionsQuery(limit=limit)), QueryRefused)

    def test_cursors(self) -> None:
        wrong = ("", "x", "0123456", "01234567_", "01234567_1_airyd", "01234567_1..2_airyd_3", "01234567_-_airyd_3")
        for cursor in (*wrong, f"01234567_1_airyd_{10**19}", "01234567_nan_airyd_1"):
            self.failureResultOf(self.listing.answer(ConnectionsQuery(cursor=cursor)), QueryRefused)


class OrderTests(ManagementTestCase):
    """The largest key comes first."""

    def setUp(self) -> None:
        super().setUp()
        for name, destinations in (("ann", [MESSAGE]), ("bea", [UNREAD_COUNT]), ("cid", [MESSAGE, UNREAD_COUNT])):
            self.peer = self.logged_in(name, *destinations)
            self.loop.advance(1)

    def subjects(self, sort: SortKey) -> str:
        """Return the first letters of the subjects in their order."""
        return "".join(str(row.subject)[0] for row in self.page(ConnectionsQuery(sort=sort)).connections)

    def test_age(self) -> None:
        self.assertEqual(self.subjects(SortKey.AGE), "abc")

    def test_deliveries(self) -> None:
        self.publish(UNREAD_COUNT)
        self.publish(UNREAD_COUNT)
        self.publish(MESSAGE)
        self.assertEqual(self.subjects(SortKey.DELIVERIES), "cba")

    def test_buffered(self) -> None:
        self.peer.socket.room = 0
        self.publish(MESSAGE)
        self.assertEqual(self.subjects(SortKey.BUFFERED), "cab")

    def test_lag(self) -> None:
        self.assertEqual(self.subjects(SortKey.LAG), "abc")

    def test_keys_stay_while_one_reads_on(self) -> None:
        """A page has the order of the first one, although events have been sent meanwhile."""
        self.publish(UNREAD_COUNT)
        query = ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1)
        first = self.page(query)
        for _ in range(5):
            self.publish(MESSAGE)
        second = self.page(ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1, cursor=first.next))
        third = self.page(ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1, cursor=second.next))
        self.assertEqual([page.connections[0].subject for page in (first, second, third)], ["bea", "cid", "ann"])
        self.assertIsNone(third.next)

    def test_rankings_are_forgotten(self) -> None:
        """Few are kept, and not for long; then the next page has the order of now."""
        query = ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1)
        first = self.page(query)
        for _ in range(10):
            self.page(query)
        self.assertLessEqual(len(self.listing._rankings), 4)
        self.loop.advance(1000)
        second = self.page(ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1, cursor=first.next))
        self.assertEqual(second.connections[0].subject, "bea")
        self.assertEqual(len(self.listing._rankings), 1)

    def test_rankings_are_forgotten_without_queries(self) -> None:
        """They do not stay when nobody lists connections any more."""
        query = ConnectionsQuery(sort=SortKey.DELIVERIES, limit=1)
        self.page(query)
        self.loop.advance(200)
        self.page(query)
        for seconds, expected in ((299, 1), (300, 0)):
            self.loop.advance(seconds)
            self.turns.turn()
            self.assertEqual(len(self.listing._rankings), expected)
        self.page(query)
        self.loop.advance(300)
        self.turns.turn()
        self.assertEqual(len(self.listing._rankings), 0)


class PieceTests(ManagementTestCase):
    """A listing gives the reactor turns."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(listing, "_SOME_UNITS", 1)

    def test_pieces(self) -> None:
        for _ in range(40):
            self.logged_in("ann", MESSAGE)
        with patch.object(turns, "UNITS_PER_TURN", 10):
            answer = self.listing.answer(ConnectionsQuery(limit=20))
            count = 0
            while not answer.called:
                self.turns.turn()
                count += 1
        # 40 connections of 2 units, one piece that sorts, 20 rows of 21.
        self.assertGreaterEqual(count, 40 * 2 // 10 + 20)
        self.assertEqual(len(self.successResultOf(answer).connections), 20)

    def test_one_that_goes_meanwhile(self) -> None:
        peers = [self.logged_in(f"u{number}") for number in range(20)]
        with patch.object(turns, "UNITS_PER_TURN", 1):
            answer = self.listing.answer(ConnectionsQuery())
            self.turns.turn()
            peers[0].lose()
            peers[19].lose()
            page = self.finish(answer)
        self.assertEqual([row.subject for row in page.connections], [f"u{number}" for number in range(1, 19)])

    def test_error_of_a_plugin(self) -> None:
        """An exception in a later piece reaches the caller."""
        self.logged_in("ann")
        with (
            patch.object(self.connections, "row", side_effect=ZeroDivisionError),
            patch.object(turns, "UNITS_PER_TURN", 1),
        ):
            answer = self.listing.answer(ConnectionsQuery())
            for _ in range(5):
                self.turns.turn()
            self.failureResultOf(answer, ZeroDivisionError)


class ModelTests(ManagementTestCase):
    """Connections come and go between the pages and within them, on a node of several processes."""

    processes = ("worker-1", "worker-2", "worker-10")

    def setUp(self) -> None:
        super().setUp()
        self.patch(listing, "_SOME_UNITS", 1)
        self.factories = [
            StompWebSocketFactory(self.context, self.factory.policy, self.factory.reactor) for _ in self.processes
        ]
        self.listings = [
            Listing(Connections(name, factory, self.turns, self.wall), factory, self.turns)
            for name, factory in zip(self.processes, self.factories, strict=True)
        ]
        self.peers: dict[str, Peer] = {}

    def come(self, chance: random.Random) -> None:
        """Open a connection to one of the processes."""
        factory = chance.choice(self.factories)
        peer = Peer(self.loop, factory.buildProtocol(None))
        (*_, channel) = factory.channels.values()
        channel.client._events = chance.randrange(3)
        self.peers[channel.client.id] = peer
        self.loop.advance(chance.choice((0.0, 0.0, 0.001)))

    def go(self, chance: random.Random) -> None:
        """Close one."""
        if self.peers:
            self.peers.pop(chance.choice(list(self.peers))).lose()

    def churn(self, chance: random.Random) -> None:
        """Let some come and go, and change the keys of others."""
        for _ in range(chance.randrange(4)):
            chance.choice((self.come, self.go))(chance)
        for factory in self.factories:
            for channel in factory.channels.values():
                channel.client._events += chance.randrange(3)

    def pages(self, chance: random.Random, sort: SortKey, name: str) -> Iterator[ConnectionsReply]:
        """Yield all pages of a listing, with churn in each turn of the reactor.

        :param name: a name that no other listing has
        """
        query = ConnectionsQuery(sort=sort, limit=chance.randint(1, 7), cursor=name)
        for _ in range(1000):
            answers = [each.answer(query) for each in self.listings]
            while not all(answer.called for answer in answers):
                self.churn(chance)
                self.turns.turn()
            replies = {name: self.successResultOf(each) for name, each in zip(self.processes, answers, strict=True)}
            page = merge_replies(query, replies, [])
            assert isinstance(page, ConnectionsReply)
            yield page
            if page.next is None:
                return
            query = ConnectionsQuery(sort=sort, limit=query.limit, cursor=page.next)
            self.churn(chance)
        raise AssertionError("the listing does not end")

    def test_each_is_on_one_page(self) -> None:
        """A connection that exists during the whole listing is on exactly one page; none is on two."""
        for seed in range(60):
            chance = random.Random(seed)
            sort = chance.choice((SortKey.AGE, SortKey.DELIVERIES))
            for _ in range(chance.randrange(30)):
                self.come(chance)
            before = dict(self.peers)
            with patch.object(turns, "UNITS_PER_TURN", chance.randint(1, 200)):
                pages = list(self.pages(chance, sort, f"{seed:08x}"))
            listed = [row.id for page in pages for row in page.connections]
            self.assertEqual(len(set(listed)), len(listed), f"seed {seed}: one is on two pages")
            stayed = {each for each, peer in before.items() if self.peers.get(each) is peer}
            self.assertEqual(stayed - set(listed), set(), f"seed {seed}: one is on no page")
            keys = [key for page in pages for key in page.keys]
            self.assertEqual(keys, sorted(keys, reverse=True), f"seed {seed}")
            for peer in self.peers.values():
                peer.lose()
            self.peers = {}
