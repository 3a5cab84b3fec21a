"""Connections to a ``StompWebSocketFactory``, with the test as the client and as the network."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, cast

from airyd.websocket.handshake import HandshakePolicy
from airyd.websocket.origin import OriginPolicy
from airyd.websocket.protocol import StompWebSocketFactory
from tests.doubles import ClientTestCase, frame, stomp_frames, websocket_frames
from tests.integration.wire import CLOSE, TEXT, StompFrame, websocket_frame
from tests.loop import Loop, Peer

PATH = "/ws.communication"
HEADERS = {
    "Host": "airy.example:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
CONNECT = websocket_frame(TEXT, frame("CONNECT", accept_version="1.2"))


def text(payload: bytes) -> bytes:
    """Return a client's whole text message."""
    return websocket_frame(TEXT, payload)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a client's close frame."""
    return websocket_frame(CLOSE, struct.pack("!H", code) + reason)


def request(
    path: str = PATH, method: str = "GET", http: str = "HTTP/1.1", more: Sequence[str] = (), **headers: str | None
) -> bytes:
    """Return an opening handshake; ``_`` in a header's name stands for ``-``, None leaves it out."""
    changed = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    merged = {name.lower(): value for name, value in HEADERS.items()} | changed
    lines = [f"{name}: {value}" for name, value in merged.items() if value is not None]
    return "\r\n".join([f"{method} {path} {http}", *lines, *more, "", ""]).encode("latin-1")


class WebSocketTestCase(ClientTestCase):
    """One factory; :meth:`reach` makes connections to it."""

    origins: Sequence[str] = ()
    paths: Sequence[str] = (PATH,)

    def make_clock(self) -> Loop:
        """Return a clock that is a reactor, too."""
        self.loop = Loop()
        return self.loop

    def setUp(self) -> None:
        """Make the factory."""
        super().setUp()
        origins = OriginPolicy(self.origins)
        limits = self.context.limits
        policy = HandshakePolicy(self.paths, origins, True, limits.request_head, limits.headers)
        self.factory = StompWebSocketFactory(self.context, policy, cast(Any, self.loop))

    def reach(self) -> Peer:
        """Return a new TCP connection."""
        return Peer(self.loop, self.factory.buildProtocol(None))

    def ask(self, request: bytes) -> tuple[int, dict[str, str], str, Peer]:
        """Send an opening handshake; return status, headers, body and the connection."""
        peer = self.reach()
        peer.say(request)
        self.loop.turn()
        return *self.answer(peer), peer

    def answer(self, peer: Peer) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of what the server answered to the handshake."""
        head, end, body = peer.got().partition(b"\r\n\r\n")
        self.assertTrue(end, head)
        status, *lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return int(status.split()[1]), {name.lower(): value for name, value in pairs}, body.decode("latin-1")

    def opened(self) -> Peer:
        """Return a connection whose opening handshake is done."""
        status, _, rest, peer = self.ask(request())
        self.assertEqual((status, rest), (101, ""))
        return peer

    def connected_peer(self, *subscriptions: str, ack: str = "auto") -> Peer:
        """Return a connection with a session and subscriptions to these destinations, ids from ``0`` on."""
        peer = self.opened()
        peer.say(CONNECT)
        for number, destination in enumerate(subscriptions):
            peer.say(text(frame("SUBSCRIBE", id=str(number), destination=destination, ack=ack)))
        self.assertEqual([sent.command for sent in stomp_frames(peer.got())], ["CONNECTED"])
        return peer

    def stomp(self, peer: Peer) -> list[StompFrame]:
        """Return the STOMP frames that came, without the close frame."""
        return stomp_frames(self._until_close(peer)[0])

    def closed(self, peer: Peer) -> tuple[list[str], int]:
        """Return the commands of the frames that came, and the code of the close frame that must be the last."""
        before, code = self._until_close(peer)
        if code is None:
            raise AssertionError("no close frame came")
        return [sent.command for sent in stomp_frames(before)], code

    def _until_close(self, peer: Peer) -> tuple[bytes, int | None]:
        wire = peer.got()
        frames = websocket_frames(wire)
        closes = [payload for opcode, payload in frames if opcode == CLOSE]
        if not closes:
            return wire, None
        self.assertEqual(len(closes), 1)
        self.assertEqual(frames[-1][0], CLOSE, "something came after the close frame")
        return wire[: -2 - len(closes[0])], struct.unpack("!H", closes[0][:2])[0]

    def publish_pending(self, destination: str, body: bytes) -> None:
        """Publish, without letting the turn end."""
        self.successResultOf(self.context.hub.publish(destination, body, "admin"))

    def kinds(self) -> dict[str, int]:
        """Return how many connections ended, by kind, and check that the gauges agree."""
        ended = {kind: count for kind, count in self.metrics.connections_closed.items() if count}
        self.assertEqual(self.metrics.connections_opened - sum(ended.values()), self.metrics.connections)
        self.assertEqual(len(self.factory.channels), self.metrics.connections)
        if not self.metrics.connections:
            self.assertEqual((self.metrics.buffered_clients, self.metrics.sessions), (0, 0))
            self.assertEqual(sum(self.metrics.subscriptions.values()), 0)
        return ended
