"""A WebSocket and STOMP client whose bytes the test controls, also malformed ones that no library would send.

Every wait has a time limit; its failure says what came instead.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.integration.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    StompFrame,
    WebSocketFrame,
    decode,
    encode,
    websocket_frame,
)
from tests.patience import PATIENCE

#: The ``Sec-WebSocket-Key`` of every client; nothing depends on its value.
NONCE: Final = base64.b64encode(b"MDEyMzQ1Njc4OWFi").decode()
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Ended(AssertionError):
    """The server ended the TCP connection while the test expected more."""


class Closed(AssertionError):
    """A close frame came while the test expected a STOMP frame.

    :ivar code: its close code, 1005 if it has none
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code


class Response(NamedTuple):
    """The response to an opening handshake: header names in lower case, repeated headers joined by commas."""

    status: int
    headers: dict[str, str]


def _named(headers: dict[str, str]) -> list[tuple[str, str]]:
    """Return keywords as headers, with ``-`` for ``_``."""
    return [(name.replace("_", "-"), value) for name, value in headers.items()]


class RawClient:
    """One connection to the server; the test controls every byte.

    :param port: a TCP port of the loopback interface, or the path of a unix socket
    :ivar beats: how many heart-beats have come from the server
    :ivar version: the STOMP version of the session, after CONNECTED
    """

    def __init__(
        self,
        port: int | Path,
        *,
        path: str = "/ws.communication",
        protocols: Iterable[str] = ("v10.stomp", "v11.stomp", "v12.stomp"),
        headers: dict[str, str | None] | None = None,
        method: str = "GET",
        http: str = "HTTP/1.1",
        receive_buffer: int | None = None,
    ) -> None:
        is_tcp = isinstance(port, int)
        self._socket = socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self._socket.connect(("127.0.0.1", port) if is_tcp else str(port))
        except OSError:
            self._socket.close()
            raise
        if is_tcp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.key = NONCE
        offered = ", ".join(protocols)
        fields: dict[str, str | None] = {
            "Host": f"127.0.0.1:{port}" if is_tcp else "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": offered or None,
            **(headers or {}),
        }
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        self.request = "\r\n".join([f"{method} {path} {http}", *lines, "", ""]).encode()
        self.beats = 0
        self.version = "1.2"

    # Bytes.

    def start_tls(self) -> None:
        """Go on with TLS, without a look at the server's certificate."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)

    def send_bytes(self, data: bytes) -> None:
        """Send these bytes; if the connection has ended, the next read reports it."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def _more(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"nothing came in time; unread: {bytes(self._buffer[:200])!r}")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError:
            raise AssertionError(f"nothing came in time; unread: {bytes(self._buffer[:200])!r}") from None
        except ConnectionError as error:
            raise Ended(str(error)) from error
        finally:
            self._socket.settimeout(PATIENCE)
        if not data:
            raise Ended(f"the server ended the connection; unread: {bytes(self._buffer[:200])!r}")
        self._buffer += data

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) < count:
            self._more(deadline)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def has_data(self, within: float) -> bool:
        """Return whether data came, or the connection ended, within ``seconds``."""
        if self._buffer:
            return True
        self._socket.settimeout(within)
        try:
            self._buffer += self._socket.recv(1 << 18)
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(PATIENCE)
        return True

    def expect_end(self, within: float = PATIENCE) -> None:
        """Read to the end of the TCP connection, and drop the data."""
        deadline = time.monotonic() + within
        try:
            while True:
                self._more(deadline)
                self._buffer.clear()
        except Ended:
            return

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def abort(self) -> None:
        """Close the socket, without DISCONNECT or close frame."""
        self._socket.close()

    def nonblocking(self) -> socket.socket:
        """Return the socket, made non-blocking, for a selector; no data may be unread."""
        assert not self._buffer
        self._socket.setblocking(False)
        return self._socket

    # HTTP.

    def response(self) -> Response:
        """Read the head of the response to an opening handshake."""
        deadline = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in self._buffer:
            self._more(deadline)
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(int(lines[0].split(" ")[1]), headers)

    def ask(self) -> Response:
        """Send the opening handshake; return the response, whatever its status."""
        self.send_bytes(self.request)
        return self.response()

    def handshake(self) -> Response:
        """Send the opening handshake; it must be accepted."""
        response = self.ask()
        if response.status != 101:
            raise AssertionError(f"not upgraded: {response}")
        digest = hashlib.sha1(f"{self.key}{_GUID}".encode(), usedforsecurity=False).digest()
        if response.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise AssertionError(f"wrong Sec-WebSocket-Accept: {response}")
        return response

    # WebSocket.

    def send_frame(self, opcode: int, payload: bytes = b"", **options: bool | int) -> None:
        """Send one WebSocket frame, with the options of :func:`websocket_frame`."""
        self.send_bytes(websocket_frame(opcode, payload, **options))  # type: ignore[arg-type]  # as its signature says

    def frame(self, within: float = PATIENCE) -> WebSocketFrame:
        """Read one WebSocket frame; the server must not have masked it."""
        deadline = time.monotonic() + within
        first, second = self._take(2, deadline)
        size = second & 0x7F
        if second & 0x80:
            raise AssertionError("the server masked a frame")
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2, deadline))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8, deadline))
        return WebSocketFrame(bool(first & 0x80), first >> 4 & 7, first & 0xF, self._take(size, deadline))

    def close_code(self, within: float = PATIENCE) -> int:
        """Read until the close frame, answer it, wait for the end of the connection; return the close code."""
        try:
            while True:
                self.receive(within)
        except Closed as closed:
            return closed.code

    # STOMP.

    def send(
        self, command: str, headers: dict[str, str] | Sequence[tuple[str, str]] = (), body: bytes = b"", **more: str
    ) -> None:
        """Send one STOMP frame in one text message; keywords are headers with ``_`` for ``-``."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        pairs += _named(more)
        self.send_frame(TEXT, encode(command, pairs, body))

    def receive(self, within: float = PATIENCE) -> StompFrame:
        """Read the next STOMP frame; count heart-beats and answer pings on the way.

        Raises :class:`Closed` on a close frame, after answering it and seeing the connection end.
        """
        deadline = time.monotonic() + within
        while True:
            fin, rsv, opcode, payload = self.frame(max(deadline - time.monotonic(), 0.001))
            if not fin or rsv:
                raise AssertionError(f"fragmented, or RSV {rsv}: {payload[:200]!r}")
            if opcode == CLOSE:
                self.send_frame(CLOSE, payload[:2])
                self.expect_end()
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                raise Closed(code, payload[2:].decode())
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == TEXT and payload == b"\n":
                self.beats += 1
            elif opcode in (TEXT, BINARY):
                if opcode == TEXT:
                    payload.decode()
                return decode(payload, opcode, self.version)
            elif opcode != PONG:
                raise AssertionError(f"a WebSocket frame with opcode {opcode}")

    def expect(self, command: str, within: float = PATIENCE) -> StompFrame:
        """Read the next STOMP frame, which must have this command."""
        frame = self.receive(within)
        if frame.command != command:
            raise AssertionError(f"wanted {command}, got {frame}")
        return frame

    def connect(self, version: str = "1.2", **headers: str) -> StompFrame:
        """Begin a session of this version; return the CONNECTED."""
        self.version = version
        self.send("CONNECT", [("accept-version", version), *_named(headers)])
        connected = self.expect("CONNECTED")
        if connected.headers.get("version", "1.0") != version:
            raise AssertionError(f"wanted version {version}, got {connected}")
        return connected

    def subscribe(self, destination: str, subscription: str, **headers: str) -> StompFrame:
        """Subscribe; return the RECEIPT, which must be the next frame."""
        receipt = f"subscribed-{subscription}"
        fields = [("destination", destination), ("id", subscription), ("receipt", receipt), *_named(headers)]
        self.send("SUBSCRIBE", fields)
        return self.receipt(receipt)

    def receipt(self, name: str) -> StompFrame:
        """Read the next STOMP frame, which must be this RECEIPT."""
        frame = self.expect("RECEIPT")
        if frame.headers["receipt-id"] != name:
            raise AssertionError(f"wanted the receipt {name}, got {frame}")
        return frame

    def message(self, subscription: str | None = None, within: float = PATIENCE) -> StompFrame:
        """Read the next STOMP frame, which must be a MESSAGE (of this subscription, if one is given)."""
        frame = self.expect("MESSAGE", within)
        if subscription is not None and frame.headers.get("subscription") != subscription:
            raise AssertionError(f"wanted a MESSAGE of {subscription}, got {frame}")
        return frame

    def error(self, within: float = PATIENCE) -> tuple[StompFrame, int]:
        """Read an ERROR and the close after it, which must come next; return the ERROR and the close code."""
        frame = self.expect("ERROR", within)
        try:
            after = self.receive(within)
        except Closed as closed:
            return frame, closed.code
        raise AssertionError(f"after {frame} came {after}")

    def disconnect(self) -> None:
        """End the session as STOMP describes it: DISCONNECT, its RECEIPT, close 1000."""
        self.send("DISCONNECT", receipt="bye")
        self.receipt("bye")
        code = self.close_code()
        if code != 1000:
            raise AssertionError(f"closed with {code} after DISCONNECT")
