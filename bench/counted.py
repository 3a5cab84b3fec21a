"""The program that ``bench.instructions`` runs: events and connections in one process, without a reactor.

The daemon is composed as usual, with a clock in place of the reactor. Its clients are TCP sockets of the loopback
interface; all data fits into their buffers. Callgrind counts what runs between two calls of :func:`mark`.

``python -m bench.counted`` runs everything, and prints how many pieces there are between each pair of marks.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from airyd.config.command_line import Options
from airyd.interfaces import IServerReactor
from airyd.service import Airyd
from airyd.websocket.transport import DirectServer
from bench.scenarios import MESSAGE

#: The function of the C library that only :func:`mark` calls.
MARK: Final = "getsid"
#: The kind of piece that the others are compared with.
FLOOR: Final = "bare send"

MEMBERS: Final = 200
#: Turns of the reactor with one event, and turns with sixteen events, as under full load.
TURNS: Final = 40
BURST: Final = 16
BURSTS: Final = 4
CONNECTIONS: Final = 50
#: Seconds within which a frame must come from the daemon's ``send`` to its client.
PATIENCE: Final = 30.0
#: Repetitions before the count, because the interpreter specialises code that has run often.
WARM_UP: Final = 10

_BODY: Final = b'{"conversation_id":"c","message":{"id":"m","content":"%b"}}' % (b"x" * 260)
#: A client's opening handshake.
_OPENING: Final = (
    b"GET /ws.communication HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    b"Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"
)


def mark() -> None:
    """Let Callgrind write its counts since the last mark, and begin anew."""
    os.getsid(0)


def text(stomp: bytes) -> bytes:
    """Return a STOMP frame as a client's WebSocket message (RFC 6455, section 5.2), masked with zeros."""
    size = bytes((0x80 | len(stomp),)) if len(stomp) < 126 else b"\xfe" + len(stomp).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + stomp


_CONNECT: Final = text(b"CONNECT\naccept-version:1.2\nheart-beat:30000,30000\n\n\0")
_SEND: Final = text(b"SEND\ndestination:%b\ncontent-length:%d\n\n%b\0" % (MESSAGE.encode(), len(_BODY), _BODY))


def daemon(clock: MemoryReactorClock) -> tuple[Airyd, Any]:
    """Start airyd over a clock; return it, and the factory of its connections."""
    options = Options()
    options.parseOptions(["--listen", "tcp:8080:interface=127.0.0.1", "--admin=none", "--auth=anonymous:send"])
    airyd = Airyd(options.settings, cast(IServerReactor, clock), lambda: 0.0)
    airyd.privilegedStartService()
    return airyd, clock.tcpServers[0][1]


class Crowd:
    """A daemon, a client that publishes, and clients that listen.

    :ivar airyd: the daemon
    :ivar listeners: the daemon's transports to the clients that listen
    """

    def __init__(self) -> None:
        self.listeners: list[DirectServer] = []
        self._sockets: list[socket.socket] = []
        self._loop = MemoryReactorClock()
        self.airyd, self._factory = daemon(self._loop)
        self._port = socket.create_server(("127.0.0.1", 0))
        self._publisher, self._publishing_socket = self._accept()
        self._say(self._publisher, _OPENING, _CONNECT)

    def reach(self) -> DirectServer:
        """Open another TCP connection; return the daemon's end."""
        transport, client = self._accept()
        client.settimeout(PATIENCE)
        self._sockets.append(client)
        self.listeners.append(transport)
        return transport

    def subscribe(self, transport: DirectServer, name: str) -> None:
        """Open a WebSocket, a session and a subscription with the id ``name``."""
        self._say(transport, _OPENING, _CONNECT, text(f"SUBSCRIBE\nid:{name}\ndestination:{MESSAGE}\n\n\0".encode()))

    def enter(self, names: Sequence[str]) -> None:
        """Add a listener for each of these subscription ids."""
        for name in names:
            self.subscribe(self.reach(), name)
        self.received(1)

    def leave(self) -> None:
        """Close the connections of all listeners."""
        for transport, client in zip(self.listeners, self._sockets, strict=True):
            transport.connectionLost(Failure(CONNECTION_LOST))
            client.close()
        self.listeners.clear()
        self._sockets.clear()

    def close(self) -> None:
        """Close all connections and the port."""
        self.leave()
        self._publisher.connectionLost(Failure(CONNECTION_LOST))
        self._publishing_socket.close()
        self._port.close()

    def settle(self) -> None:
        """Let the reactor have a turn."""
        self._loop.advance(0)

    def publish(self, events: int = 1) -> None:
        """Let the publisher SEND ``count`` events in one turn."""
        self._say(self._publisher, *[_SEND] * events)

    def received(self, frames: int) -> list[bytes]:
        """Return the bytes that each listener got since the last call.

        This waits, because a busy kernel delivers data over the loopback interface later than ``send`` returns.

        :param frames: how many STOMP frames each must get
        :raises RuntimeError: a listener got more, or was closed
        :raises TimeoutError: a listener got less within :data:`PATIENCE`
        """
        return [_read(client, frames) for client in self._sockets]

    def _accept(self) -> tuple[DirectServer, socket.socket]:
        client = socket.create_connection(self._port.getsockname())
        accepted, address = self._port.accept()
        protocol = self._factory.buildProtocol(IPv4Address("TCP", *address))
        number = len(self.listeners)
        transport = DirectServer(accepted, protocol, address, cast(Any, None), number, cast(Any, self._loop))
        protocol.makeConnection(transport)
        return transport, client

    def _say(self, transport: DirectServer, *reads: bytes) -> None:
        for data in reads:
            transport.protocol.dataReceived(data)
        self._loop.advance(0)


def _read(client: socket.socket, frames: int) -> bytes:
    data = b""
    while (got := data.count(b"\0")) < frames:
        more = client.recv(1 << 20)
        if not more:
            raise RuntimeError(f"the daemon closed a connection after {got} of {frames} frames")
        data += more
    if got > frames:
        raise RuntimeError(f"a listener got {got} frames instead of {frames}")
    return data


class Counted:
    """Runs the pieces that are counted.

    :ivar pieces: how many pieces of each kind were run, in order
    """

    def __init__(self, crowd: Crowd) -> None:
        self.pieces: dict[str, int] = {}
        self._crowd = crowd

    def all(self) -> None:
        """Run all pieces."""
        self.deliveries("delivery, same id", ["sub-0"] * MEMBERS)
        self.deliveries("delivery, own ids", [f"sub-{number}" for number in range(MEMBERS)])
        self.bare_sends()
        self.connections()

    @contextmanager
    def _count(self, name: str, pieces: int, frames: int) -> Iterator[None]:
        """Count what runs in the ``with`` block; each listener must get ``frames`` frames in it."""
        gc.collect()
        gc.freeze()  # like the daemon after its start
        mark()
        yield
        mark()
        self.pieces[name] = pieces
        self._crowd.received(frames)

    def deliveries(self, name: str, ids: Sequence[str]) -> None:
        """Publish to listeners with these subscription ids: one event per turn, then many per turn."""
        self._crowd.enter(ids)
        for _ in range(WARM_UP):
            self._crowd.publish()
        self._crowd.received(WARM_UP)
        with self._count(name, len(ids) * TURNS, TURNS):
            for _ in range(TURNS):
                self._crowd.publish()
        with self._count(f"{name}, {BURST} events a turn", len(ids) * BURST * BURSTS, BURST * BURSTS):
            for _ in range(BURSTS):
                self._crowd.publish(BURST)
        self._crowd.leave()

    def bare_sends(self) -> None:
        """Send the same bytes to the same number of sockets, by the shortest loop in Python."""
        self._crowd.enter(["sub-0"] * MEMBERS)
        self._crowd.publish()
        message = self._crowd.received(1)[0]
        sends = [transport.socket.send for transport in self._crowd.listeners]
        with self._count(FLOOR, len(sends) * TURNS, TURNS):
            for _ in range(TURNS):
                for send in sends:
                    send(message)
        self._crowd.leave()

    def connections(self) -> None:
        """Open WebSockets, CONNECT and SUBSCRIBE."""
        transports = [self._crowd.reach() for _ in range(CONNECTIONS)]
        with self._count("handshake, CONNECT, SUBSCRIBE", CONNECTIONS, 1):
            for transport in transports:
                self._crowd.subscribe(transport, "sub-0")
        self._crowd.leave()


def main() -> None:
    """Run all pieces; print their numbers by kind as JSON."""
    counted = Counted(Crowd())
    counted.all()
    sys.stdout.write(json.dumps(counted.pieces) + "\n")


if __name__ == "__main__":
    main()
