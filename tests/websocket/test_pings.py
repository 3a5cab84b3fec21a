"""Pings on the wire."""

from __future__ import annotations

from airyd.errors import Fault
from airyd.events import MESSAGE
from tests.doubles import frame, websocket_frames
from tests.integration.wire import CLOSE, PING, PONG, websocket_frame
from tests.websocket.case import WebSocketTestCase, text


class PingTests(WebSocketTestCase):
    """With an interval of 30 seconds."""

    def pass_seconds(self, count: int) -> None:
        """Let so many seconds pass, one at a time."""
        for _ in range(count):
            self.loop.advance(1)
            self.loop.turn()

    def test_a_ping_and_its_answer(self) -> None:
        peer = self.connected_peer()
        for _ in range(5):
            self.pass_seconds(40)
            self.assertEqual(websocket_frames(peer.got()), [(PING, b"")])
            peer.say(websocket_frame(PONG))
        self.assertEqual(self.kinds(), {})

    def test_any_byte_is_an_answer(self) -> None:
        peer = self.connected_peer()
        for byte in websocket_frame(PING) + text(b"\n") + text(frame("SEND", destination="/x"))[:-1]:
            self.pass_seconds(80)
            peer.say(bytes([byte]))
        self.assertEqual(self.kinds(), {})

    def test_no_answer(self) -> None:
        """ERROR, 1008, and the end, whether the client reads that or not."""
        peer = self.connected_peer(MESSAGE)
        self.pass_seconds(130)
        pings = websocket_frames(peer.got())
        self.assertEqual(pings[:2], [(PING, b"")] * 2)
        self.assertIn(b"message:no heart-beat in time", pings[2][1])
        self.assertEqual((pings[3][0], pings[3][1][:2]), (CLOSE, b"\x03\xf0"))
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {Fault.HEARTBEAT_TIMEOUT.kind: 1})

    def test_a_ping_overtakes_nothing(self) -> None:
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 3
        self.publish(MESSAGE)
        self.pass_seconds(40)
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual([opcode for opcode, _ in websocket_frames(peer.got())], [1, PING])
