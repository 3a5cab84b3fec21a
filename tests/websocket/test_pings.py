"""Pings on the wire, and output buffers without progress."""

from __future__ import annotations

from airyd.errors import Fault
from airyd.events import MESSAGE
from tests.doubles import EVENT, frame, websocket_frames
from tests.integration.wire import CLOSE, PING, PONG, websocket_frame
from tests.loop import Peer
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
        """A client that doesn't answer gets ERROR and 1008, and is disconnected."""
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


class BacklogTests(WebSocketTestCase):
    """A client that reads nothing of its buffer for two intervals is too slow, even if it sends."""

    def pass_seconds(self, peer: Peer, count: int, heart_beat: bytes = b"\n") -> None:
        """Let so many seconds pass, one at a time; the client speaks."""
        for _ in range(count):
            self.loop.advance(1)
            self.loop.turn()
            peer.say(text(heart_beat))

    def stuck(self) -> Peer:
        """Return a connection with something in its output buffer, for which there is no room."""
        peer = self.connected_peer(MESSAGE)
        peer.socket.room = 3
        self.publish(MESSAGE)
        return peer

    def test_no_progress(self) -> None:
        peer = self.stuck()
        self.pass_seconds(peer, 59)
        self.assertEqual(self.kinds(), {})
        self.pass_seconds(peer, 10)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_it_is_told(self) -> None:
        """The client gets an ERROR, in case it reads again."""
        peer = self.stuck()
        self.pass_seconds(peer, 62)
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual(self.closed(peer), (["MESSAGE", "ERROR"], 1013))

    def test_progress(self) -> None:
        """An occasional byte counts as progress."""
        peer = self.stuck()
        for _ in range(5):
            self.pass_seconds(peer, 50)
            peer.socket.room = 1
        self.assertEqual(self.kinds(), {})
        self.pass_seconds(peer, 70)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_progress_while_more_is_added(self) -> None:
        """Sent bytes count as progress, even if the buffer grows."""
        peer = self.stuck()
        for _ in range(5):
            self.pass_seconds(peer, 50)
            self.publish(MESSAGE)
            peer.socket.room = 1
        self.assertEqual(self.kinds(), {})

    def test_more_is_added_and_nothing_leaves(self) -> None:
        peer = self.stuck()
        for _ in range(7):
            self.pass_seconds(peer, 10)
            self.publish(MESSAGE)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_emptied_meanwhile(self) -> None:
        peer = self.stuck()
        self.pass_seconds(peer, 50)
        peer.socket.room = None
        self.pass_seconds(peer, 5)
        self.assertEqual(len(websocket_frames(peer.got())), 1)
        peer.socket.room = 3
        self.publish(MESSAGE)
        self.pass_seconds(peer, 55)
        self.assertEqual(self.kinds(), {})
        self.pass_seconds(peer, 15)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_who_owes_heart_beats(self) -> None:
        """A client's heart-beats are not progress of the buffer."""
        peer = self.opened()
        peer.say(text(frame("CONNECT", accept_version="1.2", heart_beat="30000,0")))
        peer.say(text(frame("SUBSCRIBE", id="a", destination=MESSAGE)))
        peer.socket.room = 0
        self.publish(MESSAGE, EVENT)
        self.pass_seconds(peer, 70)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_the_process_slept(self) -> None:
        peer = self.stuck()
        self.pass_seconds(peer, 20)
        self.loop.advance(1000)
        self.pass_seconds(peer, 55)
        self.assertEqual(self.kinds(), {})

    def test_nothing_is_left_of_it(self) -> None:
        peer = self.stuck()
        peer.lose()
        self.loop.pump([1] * 120)
        self.assertEqual((self.kinds(), self.loop.getDelayedCalls()), ({"lost": 1}, []))

    def test_turned_off(self) -> None:
        """Without pings, only the limit in bytes applies."""
        self.ping_interval = 0
        self.setUp()
        peer = self.stuck()
        self.pass_seconds(peer, 1000)
        self.assertEqual(self.kinds(), {})
