"""A connection that is traced: its client gets the same bytes as that of an untraced twin, and observers see them."""

from __future__ import annotations

import random
from typing import Any, Final

from twisted.protocols.policies import WrappingFactory

from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.hub import hub
from airyd.limits import Limits
from airyd.websocket import deflate
from airyd.websocket.frames import texts_of
from airyd.websocket.protocol import StompWebSocket
from airyd.websocket.tracing import TracedWebSocket, observe, stop_observing
from tests.doubles import EVENT, frame
from tests.integration.wire import PING, websocket_frame
from tests.loop import Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, request, text

#: Random runs of each test; more were tried.
SEEDS: Final = 5
_SUBSCRIBED: Final = (MESSAGE, UNREAD_COUNT)


class Recorder:
    """Keeps what it is called with.

    :ivar wires: the bytes of each call
    :ivar ends: the kind of each end of the connection
    """

    def __init__(self) -> None:
        self.wires: list[bytes] = []
        self.ends: list[str] = []

    @property
    def wire(self) -> bytes:
        """All bytes that were sent."""
        return b"".join(self.wires)

    def sent(self, wire: bytes) -> None:
        """See ``WireObserver``."""
        self.wires.append(wire)

    def closed(self, kind: str) -> None:
        """See ``WireObserver``."""
        self.ends.append(kind)


class TracingCase(WebSocketTestCase):
    """Helpers of the cases below."""

    def channel_of(self, peer: Peer) -> StompWebSocket:
        """Return the server's side of a connection."""
        protocol: Any = peer.transport.protocol
        channel: StompWebSocket = getattr(protocol, "wrappedProtocol", protocol)
        return channel

    def subscriber(self, extensions: str | None = None, ack: str = "auto", is_secure: bool = False) -> Peer:
        """Return a connection with two subscriptions; ``is_secure``: nothing is sent directly, as under TLS."""
        factory = WrappingFactory(self.factory) if is_secure else self.factory
        peer = Peer(self.loop, factory.buildProtocol(None))
        peer.say(request(Sec_WebSocket_Extensions=extensions))
        peer.say(CONNECT)
        for number, name in enumerate(_SUBSCRIBED):
            peer.say(text(frame("SUBSCRIBE", id=str(number), destination=name, ack=ack)))
        self.settle()
        peer.got()
        return peer

    def settle(self) -> None:
        """Let all turns end and all queues be written."""
        for _ in range(200):
            self.loop.turn()

    def traced(self, peer: Peer) -> Recorder:
        """Begin to observe a connection."""
        recorder = Recorder()
        observe(self.channel_of(peer), recorder)
        return recorder

    def assert_untraced(self, peer: Peer) -> None:
        """Require that nothing is left of a trace."""
        self.assertIs(type(self.channel_of(peer)), StompWebSocket)
        self.assertEqual(self.factory.observers, {})


class TwinTests(TracingCase):
    """Two clients do the same; one of them is traced now and then. Neither falls behind, which they would in turn."""

    limits = Limits(buffered=1 << 30, buffered_mark=1 << 29)

    def setUp(self) -> None:
        super().setUp()
        self.patch(hub, "SENDS_PER_TURN", 1)  # so that traces begin and end while a flush is in flight
        self.patch(deflate, "FEWEST_RECEIVERS", 2)

    def run_twins(self, seed: int, extensions: str | None, ack: str, is_secure: bool) -> None:
        """Compare what both get."""
        dice = random.Random(seed)
        others = [self.subscriber(extensions) for _ in range(3)]
        twins = [self.subscriber(extensions, ack, is_secure) for _ in range(2)]
        others += [self.subscriber(extensions) for _ in range(2)]
        traced = twins[0]
        recorder: Recorder | None = None
        for step in range(60):
            match dice.randrange(9):
                case 0 | 1 | 2:
                    for _ in range(dice.randrange(1, 4)):
                        body = EVENT.replace(b'"now"', b'"%d%s"' % (step, b"x" * dice.choice((0, 100, 70_000))))
                        self.publish_pending(dice.choice(_SUBSCRIBED), body)
                case 3:
                    self.loop.advance(0)
                case 4:
                    self.loop.turn()
                case 5:
                    room = dice.choice((None, 0, 1, 50, 5000))
                    for peer in twins:
                        peer.socket.room = room
                case 6 if recorder is None:
                    recorder = self.traced(traced)
                case 6:
                    assert recorder is not None
                    stop_observing(self.channel_of(traced), recorder)
                    recorder = None
                    self.assert_untraced(traced)
                case 7:
                    for peer in twins:
                        peer.say(websocket_frame(PING, b"%d" % step))
                case 8:
                    for peer in twins:
                        peer.say(text(frame("SUBSCRIBE", id="2", destination=MESSAGE, receipt=f"s{step}")))
                        peer.say(text(frame("UNSUBSCRIBE", id="2", receipt=f"u{step}")))
        for peer in twins:
            peer.socket.room = None
        self.settle()
        first, second = (peer.got() for peer in twins)
        self.assertEqual(first, second, f"seed {seed}")
        self.assertTrue(first)
        for peer in (*twins, *others):
            peer.lose()
        self.assertEqual(self.factory.observers, {})

    def test_plain(self) -> None:
        for seed in range(SEEDS):
            self.run_twins(seed, None, "auto", is_secure=False)

    def test_compressed(self) -> None:
        for seed in range(SEEDS):
            self.run_twins(seed, "permessage-deflate", "auto", is_secure=False)

    def test_secure(self) -> None:
        for seed in range(SEEDS):
            self.run_twins(seed, None, "auto", is_secure=True)

    def test_acknowledged(self) -> None:
        for seed in range(SEEDS):
            self.run_twins(seed, None, "client", is_secure=False)


class ObservedTests(TracingCase):
    """What an observer sees."""

    def test_all_bytes_in_order(self) -> None:
        """It sees what the client gets, whether the socket takes all of it, a part, or nothing."""
        for is_secure in (False, True):
            peer = self.subscriber(is_secure=is_secure)
            recorder = self.traced(peer)
            for room in (None, 0, 7, 500, None):
                peer.socket.room = room
                self.publish(MESSAGE)
                peer.say(websocket_frame(PING, b"!"))
                self.publish(UNREAD_COUNT)
            peer.socket.room = None
            self.settle()
            self.assertEqual(recorder.wire, peer.got())
            stop_observing(self.channel_of(peer), recorder)
            seen = recorder.wire
            self.publish(MESSAGE)
            self.assertEqual(recorder.wire, seen)
            self.assert_untraced(peer)
            peer.lose()

    def test_texts(self) -> None:
        """The texts of compressed and uncompressed messages of any size can be read from the bytes."""
        self.patch(deflate, "FEWEST_RECEIVERS", 2)
        peers = [self.subscriber("permessage-deflate; client_max_window_bits") for _ in range(2)]
        recorder = self.traced(peers[0])
        bodies = [
            EVENT,
            EVENT.replace(b'"now"', b'"%s"' % (b"y" * 200)),
            EVENT.replace(b'"now"', b'"%s"' % (b"z" * 70_000)),
        ]
        for body in bodies:
            self.publish_pending(MESSAGE, body)
        self.settle()
        for body in bodies:
            self.publish(MESSAGE, body)
        texts = [sent for wire in recorder.wires for sent in texts_of(wire)]
        self.assertEqual([sent.partition(b"\n\n")[2][:-1] for sent in texts], bodies * 2)
        self.assertLess(len(recorder.wire), len(b"".join(bodies)), "they are compressed")

    def test_two_observers(self) -> None:
        peer = self.subscriber()
        first = self.traced(peer)
        self.publish(MESSAGE)
        second = self.traced(peer)
        self.publish(MESSAGE)
        stop_observing(self.channel_of(peer), first)
        self.publish(MESSAGE)
        self.assertIs(type(self.channel_of(peer)), TracedWebSocket)
        stop_observing(self.channel_of(peer), second)
        wire = peer.got()
        third = len(wire) // 3
        self.assertEqual((first.wire, second.wire), (wire[: 2 * third], wire[third:]))
        self.assert_untraced(peer)

    def test_a_client_that_is_too_slow(self) -> None:
        """Without a history, the event that no buffer had room for was not sent; the ERROR was."""
        self.patch(self.context.hub.destinations[0], "has_history", False)
        peer = self.subscriber()
        recorder = self.traced(peer)
        peer.socket.room = 0
        body = EVENT.replace(b'"now"', b'"%s"' % (b"x" * 200_000))
        while self.channel_of(peer).direct is not None or not self.channel_of(peer).client.is_over:
            self.publish(MESSAGE, body)
        peer.socket.room = None
        self.settle()
        self.assertEqual(recorder.wire, peer.got())

    def test_the_end(self) -> None:
        """An observer learns that the connection was lost; nothing is left of the trace."""
        peer = self.subscriber()
        channel, recorder = self.channel_of(peer), self.traced(peer)
        peer.lose()
        self.assertEqual(recorder.ends, ["lost"])
        self.assertEqual(self.factory.observers, {})
        stop_observing(channel, recorder)
        self.assertEqual(self.kinds(), {"lost": 1})
