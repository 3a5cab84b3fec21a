"""How connections end: close frames, timeouts and metrics."""

from __future__ import annotations

from twisted.internet import main

from airyd.errors import Fault, StompError
from airyd.events import MESSAGE
from airyd.limits import CLOSE_PATIENCE
from tests.doubles import EVENT, frame
from tests.loop import Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, close_frame, text

BYE = text(frame("DISCONNECT", receipt="bye"))


class ClosingTests(WebSocketTestCase):
    """The closing handshake (RFC 6455, section 7)."""

    def pass_time(self, seconds: int) -> None:
        """Let time pass, a second at a time."""
        for _ in range(seconds):
            self.loop.advance(1)
            self.loop.turn()

    def assert_gone(self, peer: Peer) -> None:
        """Check that the server has closed its socket."""
        self.loop.turn()
        self.assertTrue(peer.socket.closed)

    def test_disconnect(self) -> None:
        """ERROR-free: RECEIPT, close 1000, and the connection ends when the client has answered."""
        peer = self.connected_peer(MESSAGE)
        peer.say(BYE)
        self.assertEqual(self.closed(peer), (["RECEIPT"], 1000))
        self.loop.turn()
        self.assertFalse(peer.socket.closed, "it waits for the client's close frame")
        peer.say(close_frame(1000))
        self.assert_gone(peer)
        self.assertEqual(self.kinds(), {"normal": 1})

    def test_client_closes_first(self) -> None:
        for code in (1000, 1001, 3000, 4999):
            peer = self.connected_peer(MESSAGE)
            peer.say(close_frame(code, b"bye"))
            _, answered = self.closed(peer)
            self.assertIn(answered, (1000, code))
            self.assert_gone(peer)
        self.assertEqual(self.kinds(), {"client": 4})

    def test_close_without_code(self) -> None:
        peer = self.connected_peer(MESSAGE)
        peer.say(b"\x88\x80\0\0\0\0")
        self.closed(peer)
        self.assert_gone(peer)
        self.assertEqual(self.kinds(), {"client": 1})

    def test_connection_lost(self) -> None:
        for reason in (main.CONNECTION_LOST, main.CONNECTION_DONE):
            self.connected_peer(MESSAGE).lose(reason)
            self.opened().lose(reason)
            self.reach().lose(reason)
        self.assertEqual(self.kinds(), {"lost": 6})

    def test_fault(self) -> None:
        """The metric names the fault, whatever the client does afterwards."""
        for index, end in enumerate((lambda peer: peer.say(close_frame(1000)), lambda peer: peer.lose())):
            peer = self.connected_peer(MESSAGE)
            peer.say(text(frame("NONSENSE")))
            self.assertEqual(self.closed(peer), (["ERROR"], 1002))
            end(peer)
            self.loop.turn()
            self.assertEqual(self.kinds(), {"unknown_command": index + 1})

    def test_every_fault_has_its_code(self) -> None:
        for fault in Fault:
            peer = self.connected_peer(MESSAGE)
            (channel,) = self.factory.channels.values()
            channel.fail(StompError(fault, "x" * 1000))
            self.assertEqual(self.closed(peer), (["ERROR"], int(fault.close_code)))
            peer.lose()
        self.assertEqual(self.kinds(), {fault.kind: 1 for fault in Fault})

    def test_client_does_not_answer(self) -> None:
        """The client has five seconds to read its last frames."""
        peer = self.connected_peer(MESSAGE)
        peer.say(BYE)
        self.pass_time(int(CLOSE_PATIENCE) - 1)
        self.assertFalse(peer.socket.closed)
        self.pass_time(3)
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {"normal": 1})

    def test_client_does_not_read(self) -> None:
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 0
        peer.say(text(frame("NONSENSE")))
        self.pass_time(int(CLOSE_PATIENCE) - 1)
        self.assertFalse(peer.socket.closed)
        self.pass_time(3)
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {"unknown_command": 1})

    def test_client_that_closes_does_not_read(self) -> None:
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 0
        peer.say(close_frame(1000))
        self.pass_time(8)
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {"client": 1})

    def test_answer_while_the_last_frames_wait(self) -> None:
        """The connection is closed after the last frames are sent."""
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 0
        self.publish(MESSAGE)
        peer.say(BYE)
        peer.say(close_frame(1000))
        self.loop.turn()
        self.assertFalse(peer.socket.closed)
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual(self.closed(peer), (["MESSAGE", "RECEIPT"], 1000))
        self.assert_gone(peer)
        self.assertEqual(self.kinds(), {"normal": 1})

    def test_nothing_after_a_close_frame(self) -> None:
        """Events, heart-beats, pongs and receipts are not sent after it."""
        self.feed.publishes.holding = True
        for end in (text(frame("NONSENSE")), close_frame(1000), b"\x81\x01\n"):
            peer = self.opened()
            peer.say(text(frame("CONNECT", accept_version="1.2", heart_beat="0,1000")))
            peer.say(text(frame("SUBSCRIBE", id="a", destination=MESSAGE)))
            peer.say(text(frame("SEND", EVENT, destination=MESSAGE, receipt="late")))
            peer.say(end + b"\x89\x80\0\0\0\0")
            self.feed.publishes.answer()
            self.loop.turn()
            self.publish_flush()
            names, _ = self.closed(peer)
            self.assertNotIn("MESSAGE", names)
            self.assertNotIn("RECEIPT", names)
            self.pass_time(60)
            self.assertEqual(peer.got(), b"")

    def publish_flush(self) -> None:
        """Publish from elsewhere, while the feed holds answers."""
        self.feed.publishes.holding = False
        self.publish(MESSAGE)
        self.feed.publishes.holding = True

    def test_every_byte_is_a_sign_of_life(self) -> None:
        """A part of a frame and a ping count as signs of life, too."""
        peer = self.opened()
        peer.say(text(frame("CONNECT", accept_version="1.2", heart_beat="20000,0")))
        wire = text(b"\n") + b"\x89\x80\0\0\0\0" + text(frame("SEND", destination="/x"))[:-1]
        for byte in wire:
            self.pass_time(50)
            peer.say(bytes([byte]))
        self.assertEqual(len(self.factory.channels), 1)
        self.pass_time(80)
        self.assertEqual(self.kinds(), {"heartbeat_timeout": 1})

    def test_login_under_way(self) -> None:
        """A client that goes during its login; the answer comes later."""
        self.door.holding = True
        for end in (lambda peer: peer.lose(), lambda peer: peer.say(close_frame(1000))):
            peer = self.opened()
            peer.say(CONNECT)
            end(peer)
            self.loop.turn()
            self.door.answer()
            self.loop.turn()
        self.assertEqual(self.kinds(), {"lost": 1, "client": 1})

    def test_no_timer_is_left(self) -> None:
        peers = [self.connected_peer(MESSAGE) for _ in range(3)]
        peers[0].say(BYE)
        peers[0].say(close_frame(1000))
        peers[1].say(close_frame(1000))
        peers[2].lose()
        self.pass_time(60)
        self.assertEqual(self.loop.getDelayedCalls(), [])
        self.assertEqual((self.loop.readers, self.loop.writers), (set(), set()))

    def test_abort(self) -> None:
        peer = self.connected_peer(MESSAGE)
        (channel,) = self.factory.channels.values()
        channel.abort()
        self.assert_gone(peer)
        self.assertEqual(self.kinds(), {"lost": 1})

    def test_when_empty(self) -> None:
        peers = [self.connected_peer(MESSAGE), self.reach()]
        gone = self.factory.when_empty()
        peers[0].lose()
        self.assertNoResult(gone)
        peers[1].lose()
        self.successResultOf(gone)
