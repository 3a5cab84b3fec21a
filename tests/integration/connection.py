"""A non-blocking connection, for many clients in a single thread.

``tests.integration.swarm`` (a thousand clients that check numbers) and ``tests.chaos.client`` (clients that check
everything, and come back) add their checks. ``tests.integration.raw`` blocks, and can send malformed
bytes. ``tests.model.client`` has no socket: the hub calls it, and its connection is in memory. All of them read frames
with ``tests.integration.wire``, not with airyd's own code, whose mistakes they would share.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.integration.raw import NONCE
from tests.integration.wire import CLOSE, PING, PONG, TEXT, encode, websocket_frame, whole_frames
from tests.patience import PATIENCE

_UPGRADE: Final = (
    "GET /ws.communication HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MESSAGE: Final = re.compile(rb"MESSAGE\nsubscription:(.+)\n(?:.+\n)*?message-id:([0-9a-f]{8}-[0-9a-f-]+)\n(?:.+\n)*\n")
_NUMBER: Final = re.compile(rb'"n":(\d+)\}')


class Delivery(NamedTuple):
    """A MESSAGE with an event of :mod:`tests.integration.payloads`.

    :ivar number: the number in the event
    """

    subscription: str
    message_id: str
    number: int
    body: bytes


def delivery(frame: bytes) -> Delivery | None:
    """Read a MESSAGE; return None if it is malformed."""
    head, number = _MESSAGE.match(frame), _NUMBER.search(frame)
    if head is None or number is None:
        return None
    return Delivery(head[1].decode(), head[2].decode(), int(number[1]), frame[head.end() : -1])


def login(version: str, token: str = "") -> bytes:
    """Return the CONNECT of a client without heart-beats, so that the server sends none."""
    headers = {"accept-version": version, "heart-beat": "0,0"}
    return encode("CONNECT", headers | ({"passcode": token} if token else {}))


def subscription(name: str, destination: str, receipt: str, after: str) -> bytes:
    """Return a SUBSCRIBE.

    :param after: the ``message-id`` to resume after, or ""
    """
    headers = {"id": name, "destination": destination, "receipt": receipt}
    return encode("SUBSCRIBE", headers | ({"last-message-id": after} if after else {}))


class StompConnection:
    """A WebSocket with one STOMP frame per text message, to be read when a selector reports it as readable.

    Raises ``OSError`` if nobody listens.

    :param opened: called when the server has upgraded the connection
    :param received: called with the bytes of each STOMP frame
    :param complain: called with a text if the server does something wrong
    :param patience: seconds after which connecting fails
    :param tls: for a TLS connection to ``localhost``
    :ivar is_open: whether the server has upgraded it
    :ivar close_code: the code of the server's close frame; 0 before that
    """

    __slots__ = ("_buffer", "_complain", "_opened", "_received", "close_code", "is_open", "socket")

    def __init__(
        self,
        port: int,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        complain: Callable[[str], None],
        patience: float = PATIENCE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._opened = opened
        self._received = received
        self._complain = complain
        self._buffer = b""
        self.is_open = False
        self.close_code = 0
        self.socket = socket.create_connection(("127.0.0.1", port), patience)
        try:
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            self.socket.sendall(_UPGRADE.format(port=port).encode())
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def send(self, *frames: bytes) -> None:
        """Send STOMP frames; if the connection has ended, the next read reports it."""
        self._send_bytes(b"".join(websocket_frame(TEXT, frame) for frame in frames))

    def _send_bytes(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(data)

    def reset(self) -> None:
        """End the connection by a TCP reset; unread data is lost."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read(self) -> bool:
        """Read and handle what has arrived; return False if the server closed the connection or refused the upgrade.

        Raises ``OSError`` if the connection was lost.
        """
        try:
            data = self.socket.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        if not data:
            return False
        self._buffer += data
        while isinstance(self.socket, ssl.SSLSocket) and (left := self.socket.pending()):
            self._buffer += self.socket.recv(left)  # a selector does not report what TLS has read already
        if not self.is_open:
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return True
            if not head.startswith(b"HTTP/1.1 101 "):
                self._complain(f"not upgraded: {head!r}")
                return False
            self._buffer = rest
            self.is_open = True
            self._opened()
        at = 0
        for first, payload, at in whole_frames(self._buffer):  # noqa: B007  # where the last one ends
            self._take(first, payload)
        self._buffer = self._buffer[at:]
        return True

    def _take(self, first: int, payload: bytes) -> None:
        if first == 0x80 | CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self._send_bytes(websocket_frame(CLOSE, payload[:2]))
        elif first == 0x80 | PING:  # a client without heart-beats is pinged (docs/protocol.rst, "Heart-beats")
            self._send_bytes(websocket_frame(PONG, payload))
        elif first != 0x80 | TEXT or payload.count(0) != 1 or payload[-1]:
            self._complain(f"not one STOMP frame in one text message: {first:#x} {payload[:200]!r}")
        else:
            self._received(payload)
