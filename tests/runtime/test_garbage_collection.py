"""The garbage collector does not scan connections, and closed ones leave no cycles."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

from twisted.internet.error import ConnectionLost
from twisted.logger import Logger, LogPublisher

from airyd.client.client import Client
from airyd.events import MESSAGE, Event
from airyd.runtime import garbage_collection as garbage
from airyd.websocket.protocol import StompWebSocket
from tests.doubles import EVENT, frame
from tests.integration.wire import BINARY, PING, websocket_frame
from tests.loop import Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, close_frame, request, text

BYE = frame("DISCONNECT", receipt="bye")
#: Connections of each kind.
MANY = 50


class GarbageTestCase(WebSocketTestCase):
    """A test that controls the garbage collector."""

    def setUp(self) -> None:
        """Stop the collector."""
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)


class StartTests(GarbageTestCase):
    """The start of a process."""

    def test_collections_begin_when_it_has_started(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        gc.enable()
        garbage.pause()
        self.assertFalse(gc.isenabled())
        garbage.begin()
        self.assertTrue(gc.isenabled())


class FreezeTests(GarbageTestCase):
    """Open connections."""

    def test_no_collection_walks_through_them(self) -> None:
        """All but the last few are frozen."""
        self.addCleanup(gc.unfreeze)
        peers = [self.connected_peer("/queue/message") for _ in range(5 * garbage.CONNECTIONS_PER_FREEZE)]
        walked = [each for each in gc.get_objects() if isinstance(each, StompWebSocket)]
        self.assertLessEqual(len(walked), garbage.CONNECTIONS_PER_FREEZE)
        self.assertEqual(len(peers), self.metrics.connections)

    def test_frozen_ones_go(self) -> None:
        self.addCleanup(gc.unfreeze)
        peer = self.connected_peer("/queue/message")
        before = gc.get_freeze_count()
        garbage.spare()
        frozen = gc.get_freeze_count()
        self.assertGreater(frozen, before)
        peer.lose()
        del peer
        self.assertLess(gc.get_freeze_count(), frozen)


class CycleTests(GarbageTestCase):
    """Closed connections: a frozen cycle would stay in memory for good."""

    def setUp(self) -> None:
        """Freeze nothing, which could not be counted, and log nothing: test runners keep log events, or send them."""
        super().setUp()
        quiet = Logger(observer=LogPublisher())
        self.patch(Client, "_log", quiet)
        self.patch(StompWebSocket, "_log", quiet)
        self.patch(StompWebSocket, "log", quiet)  # Autobahn's
        self.patch(garbage, "CONNECTIONS_PER_FREEZE", 1_000_000)

    def count(self) -> int:
        """Return how many objects of airyd's, Autobahn's and Twisted's classes there are."""
        houses = ("airyd.", "autobahn.", "twisted.internet.", "twisted.python.")
        return sum(str(type(each).__module__).startswith(houses) for each in gc.get_objects())

    def check(self, end: Callable[[], Peer]) -> None:
        """Let connections begin and end; when all deadlines have passed, nothing of them may be left."""
        for count in (2, MANY):  # the first ones fill caches
            for _ in range(count):
                peer = end()
                self.loop.turn()
                if not peer.socket.closed:
                    peer.lose()
            self.loop.advance(100)
            del peer
            self.door.seen.clear()
            if count == 2:
                before = self.count()
        self.assertLessEqual(self.count(), before)
        self.assertEqual((self.metrics.connections, self.metrics.sessions), (0, 0))

    def lost(self, *wires: bytes, ack: str = "auto") -> Peer:
        """Return a subscriber that said this, and was lost."""
        peer = self.connected_peer("/queue/message", "/queue/unread-count", ack=ack)
        for wire in wires:
            peer.say(wire)
        return peer

    def test_lost(self) -> None:
        self.check(self.lost)
        self.check(lambda: self.lost(text(b"SEND\ndest")))
        self.check(lambda: self.lost(ack="client"))

    def test_wildcards(self) -> None:
        for ack in ("auto", "client"):
            subscribe = frame("SUBSCRIBE", id="w", destination="/queue/**", ack=ack)
            unsubscribe = frame("UNSUBSCRIBE", id="w")
            self.check(partial(self.after_an_event, text(subscribe)))
            self.check(partial(self.after_an_event, text(subscribe), text(unsubscribe)))

    def after_an_event(self, *wires: bytes) -> Peer:
        """Return one that said the first of these, got something, said the others, and was lost."""
        peer = self.connected_peer()
        peer.say(wires[0])
        self.context.hub.deliver([Event(MESSAGE, "9999999999999-1", EVENT)])  # no history keeps it
        self.loop.turn()
        self.assertIn(b"MESSAGE", peer.got())
        for wire in wires[1:]:
            peer.say(wire)
        return peer

    def test_reset(self) -> None:
        """What is queued goes, too."""

        def reset() -> Peer:
            peer = self.lost()
            peer.socket.room = 10
            peer.say(text(frame("BEGIN", transaction="t", receipt="r")))
            self.assertGreater(peer.transport.buffered, 0)
            peer.lose(ConnectionLost())
            return peer

        self.check(reset)

    def test_closed(self) -> None:
        self.check(lambda: self.lost(close_frame(1000)))
        self.check(lambda: self.lost(text(BYE)))

    def test_errors(self) -> None:
        self.check(lambda: self.lost(text(b"NONSENSE\n\n\0")))
        self.check(lambda: self.lost(text(b"\xff")))
        self.check(lambda: self.lost(websocket_frame(3)))
        self.check(lambda: self.lost(websocket_frame(PING, b"x" * 126)))

    def test_never_connected(self) -> None:
        self.check(self.reach)
        self.check(self.opened)
        self.check(lambda: self.ask(request("/wrong"))[3])
        self.check(lambda: self.ask(request() + websocket_frame(BINARY, b"CONN"))[3])

    def test_login_under_way(self) -> None:
        """The answer comes when nobody waits for it any more."""

        def leave() -> Peer:
            self.door.holding = True
            peer = self.opened()
            peer.say(CONNECT)
            peer.lose()
            self.door.answer()
            self.door.holding = False
            return peer

        self.check(leave)
