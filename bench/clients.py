"""STOMP clients on bare sockets, which count what they receive and look at it as little as possible."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

from bench.scenarios import MESSAGE

#: Seconds to wait for a silent server.
PATIENCE: Final = 120.0
COMPRESSION: Final = "permessage-deflate"

_UPGRADE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    "Sec-WebSocket-Protocol: v12.stomp\r\n{more}\r\n"
)
_OFFER: Final = f"Sec-WebSocket-Extensions: {COMPRESSION}; client_max_window_bits\r\n"
#: The end of a deflated message, which is not sent (RFC 7692, section 7.2.2).
_TAIL: Final = b"\0\0\xff\xff"


class ClientFailed(Exception):
    """A client did not get what it should; the text says what is missing."""


class Subscriber(NamedTuple):
    """A client with a subscription.

    :ivar answer: all bytes up to the RECEIPT of its SUBSCRIBE
    :ivar rest: the bytes after that
    """

    socket: socket.socket
    answer: bytes
    rest: bytes

    @property
    def position(self) -> str:
        """The position in the RECEIPT: all later events follow."""
        return self.answer.rpartition(b"\nlast-message-id:")[2].partition(b"\n")[0].decode()


def frame(command: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a STOMP frame as a client's WebSocket message, masked with zeros (RFC 6455, section 5.2)."""
    lines = [command, *(f"{name}:{value}" for name, value in headers.items()), "", ""]
    stomp = "\n".join(lines).encode() + body + b"\0"
    if len(stomp) < 126:
        return struct.pack("!BB4x", 0x81, 0x80 | len(stomp)) + stomp
    return struct.pack("!BBH4x", 0x81, 0xFE, len(stomp)) + stomp


def sent(body: bytes) -> bytes:
    """Return the frame that publishes ``body``."""
    return frame("SEND", {"destination": MESSAGE, "content-length": str(len(body))}, body)


def opening(port: int, path: str, more: str = "") -> bytes:
    """Return a client's opening handshake."""
    return _UPGRADE.format(path=path, port=port, more=more).encode()


def connected(
    port: int,
    path: str,
    offers_compression: bool = False,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    heart_beat: str = "0,0",
) -> socket.socket:
    """Open a WebSocket and a STOMP session, by default without heart-beats.

    :param token: the token for CONNECT
    :param tls: what to connect with over TLS
    :raises ClientFailed: the server refused it, or did not take the offered compression
    """
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        client = tls.wrap_socket(client)
    client.sendall(opening(port, path, _OFFER if offers_compression else ""))
    answer = until(client, b"\r\n\r\n")
    if b" 101 " not in answer or offers_compression != (COMPRESSION.encode() in answer):
        client.close()
        status = answer.partition(b"\r\n")[0].decode()
        raise ClientFailed(
            f"{COMPRESSION} was offered, but not accepted" if " 101 " in status else f"no WebSocket: {status}"
        )
    login = {} if token is None else {"Authorization": f"Bearer {token}"}
    client.sendall(frame("CONNECT", {"accept-version": "1.2", "heart-beat": heart_beat, **login}))
    until(client, b"\0")
    return client


def subscribed(
    port: int,
    path: str,
    name: str = "0",
    offers_compression: bool = False,
    after: str | None = None,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Subscriber:
    """Open a WebSocket, a session and a subscription.

    :param name: the subscription's id
    :param after: the ``message-id`` to resume after
    :raises ClientFailed: see :func:`connected`
    """
    client = connected(port, path, offers_compression, token, tls)
    resume = {} if after is None else {"last-message-id": after}
    client.sendall(frame("SUBSCRIBE", {"id": name, "destination": MESSAGE, "receipt": "live", **resume}))
    answer, end, rest = until(client, b"receipt-id:live").partition(b"receipt-id:live")
    answer += end
    while b"\0" not in rest:
        rest += _more(client)
    receipt, end, rest = rest.partition(b"\0")
    return Subscriber(client, answer + receipt + end, rest)


def until(client: socket.socket, end: bytes) -> bytes:
    """Read until ``end`` has come; return all bytes.

    :raises ClientFailed: the connection was closed before that
    """
    data = b""
    while end not in data:
        data += _more(client)
    return data


def _more(client: socket.socket) -> bytes:
    data = client.recv(1 << 16)
    if not data:
        raise ClientFailed("a connection was closed by the server")
    return data


class Reader:
    """Reads the WebSocket messages of one connection, compressed or not."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._socket = subscriber.socket
        self._data = subscriber.rest
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, count: int) -> tuple[list[bytes], int]:
        """Return the next ``count`` messages, and their size on the wire in bytes.

        :raises ClientFailed: the connection was closed
        """
        messages: list[bytes] = []
        size = 0
        while len(messages) < count:
            for message, length in self._whole():
                messages.append(message)
                size += length
            if len(messages) < count:
                self._data += _more(self._socket)
        return messages, size

    def _whole(self) -> Iterator[tuple[bytes, int]]:
        """Take the complete messages (RFC 6455, section 5.2: unmasked, in one frame each)."""
        while len(self._data) >= 2:
            length, start = self._data[1], 2
            if length >= 126:
                start = 4 if length == 126 else 10
                length = int.from_bytes(self._data[2:start])
            if len(self._data) < start + length or start > len(self._data):
                return
            payload = self._data[start : start + length]
            if self._data[0] & 0x40:
                payload = self._inflate.decompress(payload + _TAIL)
            self._data = self._data[start + length :]
            yield payload, start + length


def drain(wanted: Mapping[socket.socket, int], unit: bytes | None, exactly: bool = True) -> None:
    """Read until each socket has got the wanted number of units.

    :param unit: the byte to count: the one that ends a STOMP frame (it is not in the benchmarks' bodies and WebSocket
        headers); None: count all bytes
    :param exactly: whether more than that is an error
    :raises ClientFailed: a socket was closed, got nothing for a long time, or got too much
    """
    left = dict(wanted)
    buffer = bytearray(1 << 20)
    with selectors.EpollSelector() as selector:
        for each in left:
            selector.register(each, selectors.EVENT_READ)
        while left:
            ready = selector.select(PATIENCE)
            if not ready:
                raise ClientFailed(f"{sum(left.values())} {'bytes' if unit is None else 'deliveries'} missing")
            for key, _ in ready:
                client = cast(socket.socket, key.fileobj)
                size = client.recv_into(buffer)
                if not size:
                    raise ClientFailed("a connection was closed by the server")
                left[client] -= size if unit is None else buffer.count(unit, 0, size)
                if left[client] < 0 and exactly:
                    raise ClientFailed("more came than was sent")
                if left[client] <= 0:
                    del left[client]
                    selector.unregister(client)


def close(clients: Sequence[socket.socket]) -> None:
    """Close connections."""
    for client in clients:
        client.close()
