"""A client that reads too slowly is ended: too many bytes wait for it, or none of them is sent."""

from __future__ import annotations

from twisted.protocols.policies import WrappingFactory

from airyd.errors import Fault
from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.limits import Limits
from tests.doubles import EVENT, frame, websocket_frames
from tests.integration.wire import PING, websocket_frame
from tests.loop import Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, request, text

LIMIT = 20_000


class TooManyBytesTests(WebSocketTestCase):
    """A client that reads less than it gets."""

    limits = Limits(buffered=LIMIT)

    def test_gauge_of_stalled_clients(self) -> None:
        peer = self.connected_peer(MESSAGE, UNREAD_COUNT)
        peer.socket.room = 10
        self.publish(MESSAGE)
        self.publish(UNREAD_COUNT)
        self.assertEqual((self.metrics.buffered_clients, self.metrics.stalls), (1, 1))
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual(self.metrics.buffered_clients, 0)

    def test_what_waits(self) -> None:
        """A client is slow when bytes have waited for more than a second."""
        peers = [self.connected_peer(MESSAGE) for _ in range(3)]
        for peer in peers[:2]:
            peer.socket.room = 10
        self.publish(MESSAGE)
        waiting = [peer.transport.buffered for peer in peers]
        self.assertEqual((sum(waiting), 0, waiting[2]), (self.factory.buffered_bytes(), self.factory.slow_clients(), 0))
        self.assertGreater(waiting[0], 0)
        self.loop.advance(1.5)
        self.assertEqual(2, self.factory.slow_clients())
        peers[0].socket.room = None
        self.loop.turn()
        peers[0].socket.room = 10
        self.publish(MESSAGE)
        self.assertEqual(1, self.factory.slow_clients())
        self.loop.advance(1.5)
        self.assertEqual(2, self.factory.slow_clients())
        peers[1].lose()
        self.assertEqual(1, self.factory.slow_clients())
        self.assertEqual(peers[0].transport.buffered, self.factory.buffered_bytes())

    def test_slow_client(self) -> None:
        """Without a history, above the limit: ERROR and 1013. The buffer is bounded, and sent in order."""
        self.patch(self.context.hub.destinations[0], "has_history", False)
        peer = self.connected_peer(MESSAGE, UNREAD_COUNT)
        other = self.connected_peer(MESSAGE)
        peer.socket.room = 0
        most = 0
        for number in range(50):
            self.publish(MESSAGE, EVENT.replace(b'"now"', b'"%d%s"' % (number, b"x" * 900)))
            most = max(most, peer.transport.buffered)
        self.assertLessEqual(most, LIMIT + 1000)
        self.assertGreater(most, LIMIT - 2000)
        peer.socket.room = None
        self.loop.turn()
        names, code = self.closed(peer)
        self.assertEqual((names[-1], code), ("ERROR", 1013))
        self.assertEqual(set(names[:-1]), {"MESSAGE"})
        self.assertEqual(self.metrics.errors["slow_consumer"], 1)
        self.assertEqual(len(self.stomp(other)), 50)
        peer.lose()
        other.lose()
        self.assertEqual(self.kinds(), {"slow_consumer": 1, "lost": 1})

    def test_reads_from_the_history(self) -> None:
        """With a history it is not closed: above the mark nothing more is buffered, and it gets all when it reads."""
        peer, other = self.connected_peer(MESSAGE, UNREAD_COUNT), self.connected_peer(MESSAGE)
        peer.socket.room = 0
        bodies = [EVENT.replace(b'"now"', b'"%d%s"' % (number, b"x" * 900)) for number in range(50)]
        most = 0
        for number, body in enumerate(bodies):
            self.publish(MESSAGE, body)
            most = max(most, peer.transport.buffered)
            self.assertEqual(self.metrics.fell_behind, most > self.context.limits.effective_mark + 1000, number)
        self.assertLess(most, self.context.limits.effective_mark + 3000)
        peer.socket.room = None
        for _ in range(100):
            self.loop.turn()
        self.assertEqual([sent.body for sent in self.stomp(peer)], bodies)
        self.publish(MESSAGE, EVENT)
        self.publish(UNREAD_COUNT)
        self.assertEqual([len(self.stomp(peer)), len(self.stomp(other))], [2, 51])
        self.assertEqual((self.metrics.fell_behind, self.metrics.errors["slow_consumer"]), (1, 0))

    def test_slow_client_by_pings(self) -> None:
        """Autobahn's pongs count towards the limit, too."""
        peer = self.connected_peer()
        peer.socket.room = 0
        for _ in range(400):
            peer.say(websocket_frame(PING, b"x" * 125))
        self.assertLessEqual(peer.transport.buffered, LIMIT + 1000)
        peer.socket.room = None
        self.loop.turn()
        *_, error, close = websocket_frames(peer.got())
        self.assertIn(b"client too slow", error[1])
        self.assertEqual(close[1][:2], b"\x03\xf5")

    def test_slow_client_by_receipts(self) -> None:
        peer = self.connected_peer()
        peer.socket.room = 0
        for number in range(400):
            peer.say(text(frame("BEGIN", b"", transaction="t", receipt=f"{number:0100}")))
            peer.say(text(frame("ABORT", transaction="t")))
        self.assertLessEqual(peer.transport.buffered, LIMIT + 1000)
        peer.socket.room = None
        self.loop.turn()
        names, code = self.closed(peer)
        self.assertEqual((names[-1], code), ("ERROR", 1013))


class NoProgressTests(WebSocketTestCase):
    """A client that reads nothing of its buffer for two intervals is too slow, even if it sends."""

    def pass_seconds(self, peer: Peer, count: int, heart_beat: bytes = b"\n") -> None:
        """Let this many seconds pass, one at a time; the client sends."""
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

    def test_nothing_waited_for_long(self) -> None:
        """The time counts from when bytes began to wait, not from when the client last read."""
        peer = self.stuck()
        self.pass_seconds(peer, 5)
        peer.socket.room = None
        self.pass_seconds(peer, 50)
        peer.socket.room = 3
        self.publish(MESSAGE)
        self.pass_seconds(peer, 59)
        self.assertEqual(self.kinds(), {})
        self.pass_seconds(peer, 10)
        self.assertEqual(self.kinds(), {Fault.SLOW_CONSUMER.kind: 1})

    def test_nothing_waited_for_long_above_a_wrapper(self) -> None:
        """Under TLS each send waits for a turn, which may be the turn in which the time is checked."""
        wrapping = WrappingFactory(self.factory)
        for seconds in range(57, 64):
            peer = Peer(self.loop, wrapping.buildProtocol(None))
            peer.say(request())
            peer.say(CONNECT + text(frame("SUBSCRIBE", id="0", destination=MESSAGE)))
            self.loop.turn()
            self.pass_seconds(peer, seconds)
            peer.got()
            self.publish(MESSAGE)
            self.loop.advance(1)
            self.loop.turn()
            self.assertEqual([sent.command for sent in self.stomp(peer)], ["MESSAGE"], seconds)

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
