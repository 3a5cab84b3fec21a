"""Twisted's server transports that say how many bytes are queued, and report when all of them were sent."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IListeningPort, IProtocol, IReactorFDSet

#: Bytes that one read takes. A turn of the reactor reads once from each client, and Twisted's 64 KiB hold 10,000
#: WebSocket pings: one client's flood would hold up everybody for a good part of a second. 8 KiB hold sixteen events of
#: a publisher, which so leave in one send, and pings for 5 ms.
READ_BYTES: Final = 8 * 1024

#: TCP keep-alive: seconds of silence before the first probe, seconds between probes, and how many may be unanswered.
_PROBE_AFTER: Final = 60
_PROBE_EVERY: Final = 15
_PROBES: Final = 4


class BufferObserver(Protocol):
    """Is told by a transport when its queued bytes were sent."""

    def emptied(self) -> None:
        """All queued bytes have been sent."""

    def progressed(self) -> None:
        """A part of the queued bytes has been sent."""


class _Direct:
    """Mixed into a transport of Twisted's.

    It reads two names of ``twisted.internet.abstract.FileDescriptor`` that aren't API, ``dataBuffer``
    and ``_tempDataLen``; tests/websocket/test_transport.py fails when they change.

    :ivar observer: is told when queued bytes were sent
    """

    __slots__ = ()

    bufferSize = READ_BYTES
    observer: BufferObserver | None
    dataBuffer: bytes
    offset: int
    _tempDataLen: int

    @property
    def buffered(self) -> int:
        """Bytes that are queued."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def doWrite(self) -> Any:
        """Send what is queued, as far as the kernel takes it (``IWriteDescriptor``)."""
        before = self.buffered
        result = super().doWrite()  # type: ignore[misc]  # the transport that this is mixed into has it
        if result is None and self.observer is not None:
            left = self.buffered
            if not left:
                self.observer.emptied()
            elif left < before:
                self.observer.progressed()
        return result


class DirectServer(_Direct, tcp.Server):
    """A TCP connection. What every connection has is in slots; its names are made when they are asked for."""

    __slots__ = (
        "_tempDataBuffer",
        "_tempDataLen",
        "client",
        "connected",
        "dataBuffer",
        "observer",
        "offset",
        "protocol",
        "reactor",
        "server",
        "socket",
    )

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: tcp.Port,
        sessionno: int,
        reactor: IReactorFDSet,
    ) -> None:
        """Take over an accepted socket, as ``tcp.Server`` does."""
        sock.setblocking(False)
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.client = client
        self.dataBuffer = b""
        self.offset = 0
        self.observer = None
        self.protocol = protocol
        self.reactor = reactor
        self.server = server
        self.socket = sock
        self.connected = True
        self.startReading()

    @property
    def _addressType(self) -> type[IPv4Address] | type[IPv6Address]:  # type: ignore[override]  # Twisted only reads it
        return IPv4Address if len(self.client) == 2 else IPv6Address

    @property
    def hostname(self) -> object:  # type: ignore[override]  # Twisted only reads it
        """The client's address."""
        return self.client[0]

    @property
    def fileno(self) -> Callable[[], int]:
        """The socket's, until the connection is lost."""
        return self.socket.fileno

    @fileno.deleter
    def fileno(self) -> None:
        """Twisted deletes it with the socket."""

    # Twisted puts it into the log's context at each event of the connection: a constant costs nothing.
    logstr = "airyd"

    @property
    def repstr(self) -> str:  # type: ignore[override]  # Twisted only reads it
        """What ``repr`` gives. Without a number, which would take 40 bytes."""
        return f"<{type(self.protocol).__name__} from {self.hostname}>"


class DirectUnixServer(_Direct, unix.Server):
    """A connection on a unix socket."""

    observer: BufferObserver | None = None


def make_direct(port: IListeningPort) -> IListeningPort:
    """Make a listening port use these transports for its connections (the hook is ``Port.transport``)."""
    if isinstance(port, unix.Port):
        port.transport = DirectUnixServer
    elif isinstance(port, tcp.Port):
        port.transport = DirectServer
        # What it accepts has this from the socket that listens; Autobahn would set it on each connection, in 2 µs.
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return port


def keep_alive(listening: socket.socket) -> None:
    """Let the kernel end the connections of a TCP socket whose other side has vanished, within two minutes of silence.

    Connections have these options from the socket that accepted them.
    """
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


_DIRECT: Final = (DirectServer, DirectUnixServer)


def direct_of(transport: object) -> DirectServer | DirectUnixServer | None:
    """Return the transport at the bottom if it is one of these: below TLS, a proxy's header, and such wrappers."""
    while not isinstance(transport, _DIRECT):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return None
    return transport
