"""Sending, while the kernel takes all, some or no bytes."""

from __future__ import annotations

from airyd.errors import Fault, StompError
from airyd.events import CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT
from tests.doubles import EVENT, frame, stomp_frames, websocket_frames
from tests.integration.wire import PING, PONG, websocket_frame
from tests.loop import Peer
from tests.websocket.case import WebSocketTestCase, text


def event(number: int, size: int = 0) -> bytes:
    """Return an event that can be told from others."""
    return EVENT.replace(b'"now"', b'"%d%s"' % (number, b"x" * size))


class SendingTests(WebSocketTestCase):
    """The stream that a client reads is whole and in order, however the kernel takes it."""

    def bodies(self, peer: Peer) -> list[bytes]:
        """Return the bodies of the MESSAGEs that came."""
        return [sent.body for sent in self.stomp(peer)]

    def publish_number(self, number: int, size: int = 0) -> None:
        """Publish an event in a turn of its own, without letting the queue be written."""
        self.publish(MESSAGE, event(number, size))

    def test_direct(self) -> None:
        """Bytes that the socket takes are sent within the flush, before the reactor writes."""
        peer = self.connected_peer(MESSAGE)
        self.publish_number(1)
        self.assertEqual(self.bodies(peer), [event(1)])
        self.assertEqual(self.metrics.stalls, 0)

    def test_partial_at_every_byte(self) -> None:
        """A send may stop at any byte; later bytes are queued after the rest."""
        peer = self.connected_peer(MESSAGE)
        self.publish_number(0)
        size = len(peer.got())
        for room in range(size + 1):
            peer = self.connected_peer(MESSAGE)
            peer.socket.room = room
            self.publish_number(1)
            self.publish_number(2)
            peer.say(websocket_frame(PING, b"!"))
            peer.socket.room = None
            self.loop.turn()
            *messages, pong = websocket_frames(peer.got())
            self.assertEqual((len(messages), pong), (2, (PONG, b"!")), room)
            self.publish_number(3)
            self.assertEqual(self.bodies(peer), [event(3)], "direct again")
            peer.lose()
        self.assertEqual(self.metrics.stalls, size + 1)
        self.assertEqual(self.kinds(), {"lost": size + 1})

    def test_others_are_not_slowed(self) -> None:
        peers = [self.connected_peer(MESSAGE) for _ in range(5)]
        peers[2].socket.room = 3
        for number in range(3):
            self.publish_number(number)
        for index, peer in enumerate(peers):
            if index != 2:
                self.assertEqual(self.bodies(peer), [event(number) for number in range(3)])
        peers[2].socket.room = None
        self.loop.turn()
        self.assertEqual(self.bodies(peers[2]), [event(number) for number in range(3)])

    def test_drop_by_drop(self) -> None:
        """A client that reads byte by byte loses none."""
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 0
        for number in range(5):
            self.publish_number(number)
            for _ in range(100):
                peer.socket.room += 1
                self.loop.turn()
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual(self.bodies(peer), [event(number) for number in range(5)])

    def test_two_groups_in_one_turn(self) -> None:
        """If one group's send is partial, the other group's send must not overtake the rest."""
        peer = self.connected_peer(MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED)
        for room in (0, 1, 50, 300, 500):
            peer.socket.room = room
            for destination in (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED):
                self.publish_pending(destination, event(room))
            self.loop.advance(0)
            peer.socket.room = None
            self.loop.turn()
            order = [sent.headers["destination"] for sent in self.stomp(peer)]
            self.assertEqual(order, [MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED], room)

    def test_two_groups_at_the_end(self) -> None:
        """A client that leaves in the turn of the events still gets a valid stream."""
        farewells = (frame("DISCONNECT", receipt="bye"), ["MESSAGE", "MESSAGE"]), (frame("NONSENSE"), ["ERROR"])
        for leave, sent in farewells:
            for room in (0, 1, 50, 300, 500):
                peer = self.connected_peer(MESSAGE, UNREAD_COUNT)
                peer.socket.room = room
                self.publish_pending(MESSAGE, event(1))
                self.publish_pending(UNREAD_COUNT, event(2))
                peer.socket.more = [None]  # when the first send has stopped short, the client reads all at once
                peer.say(text(leave))
                peer.socket.room = None
                self.loop.turn()
                names, _ = self.closed(peer)
                self.assertEqual(names[: len(sent)], sent, room)
                peer.lose()
        self.assertEqual(self.metrics.buffered_clients, 0)

    def test_reset_in_the_middle_of_a_send(self) -> None:
        """The transport finds out, and other clients are unaffected."""
        peer = self.connected_peer(MESSAGE, UNREAD_COUNT)
        other = self.connected_peer(MESSAGE)
        peer.socket.reset = True
        self.publish_pending(MESSAGE, event(1))
        self.publish_pending(UNREAD_COUNT, event(1))
        self.loop.turn()
        self.assertEqual(self.bodies(other), [event(1)])
        self.assertEqual(self.kinds(), {"lost": 1})
        self.publish_number(2)
        self.assertEqual(self.bodies(other), [event(2)])
        other.lose()
        self.assertEqual(self.kinds(), {"lost": 2})

    def test_lost_while_events_wait_for_the_turn(self) -> None:
        peer = self.connected_peer(MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED)
        for destination in (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED):
            self.publish_pending(destination, EVENT)
        peer.socket.closed = True
        peer.lose()
        self.loop.turn()
        self.assertEqual(self.kinds(), {"lost": 1})

    def test_fail_from_outside(self) -> None:
        peer = self.connected_peer(MESSAGE)
        (channel,) = self.factory.channels.values()
        channel.fail(StompError(Fault.RESTARTING, "Come again."))
        self.assertEqual(self.closed(peer), (["ERROR"], 1012))


class ResumeTests(WebSocketTestCase):
    """A long history, with the default limits."""

    def test_more_than_may_be_buffered(self) -> None:
        """A history larger than the buffer's limit is sent at the client's pace."""
        watcher = self.connected_peer()
        watcher.say(text(frame("SUBSCRIBE", id="a", destination=MESSAGE, receipt="r")))
        (receipt,) = self.stomp(watcher)
        watcher.lose()
        count, size = 190, 30_000
        for number in range(count):
            self.publish(MESSAGE, event(number, size))
        peer = self.connected_peer()
        peer.socket.room = 0
        position = receipt.headers["last-message-id"]
        peer.say(text(frame("SUBSCRIBE", b"", id="a", destination=MESSAGE, last_message_id=position)))
        got, most = b"", 0
        for _ in range(200):
            peer.socket.room = 100_000
            self.loop.turn()
            got += peer.got()
            most = max(most, peer.transport.buffered)
        self.assertEqual([sent.body for sent in stomp_frames(got)], [event(number, size) for number in range(count)])
        self.assertLess(most, 512 * 1024)
