"""Twisted's server transports with the number of queued bytes, and an observer that learns when they were sent."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet import main, tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IProtocol, IReactorFDSet
from twisted.python.failure import Failure

#: Bytes that one read takes. A turn of the reactor reads once from each client, and Twisted's 64 KiB hold 10,000
#: WebSocket pings: one flooding client would block all others for a good part of a second. 8 KiB hold sixteen events of
#: a publisher, which then leave in one send, or pings for 5 ms.
READ_BYTES: Final = 8 * 1024

#: TCP keep-alive: seconds of silence before the first probe, seconds between probes, and how many may be unanswered.
_PROBE_AFTER: Final = 60
_PROBE_EVERY: Final = 15
_PROBES: Final = 4
#: The first 136 bytes of Linux's ``struct tcp_info``, of which two are read.
_TCP_INFO: Final = struct.Struct("=120xQQ")


class BufferObserver(Protocol):
    """Is called by a transport when its queued bytes were sent."""

    def emptied(self) -> None:
        """All queued bytes have been sent."""

    def progressed(self) -> None:
        """A part of the queued bytes has been sent."""

    def closing(self, count: Callable[[], tuple[int, int] | None]) -> None:
        """The connection is lost, and its socket is still open.

        :param count: returns how many bytes the other side has received and sent, or None if the kernel does not know
        """


class _Direct:
    """A mixin that adds ``buffered`` and an observer to a transport of Twisted's.

    It reads two names of ``twisted.internet.abstract.FileDescriptor`` that aren't API, ``dataBuffer``
    and ``_tempDataLen``; tests/websocket/test_transport.py fails when they change.

    :ivar observer: called when queued bytes were sent
    """

    __slots__ = ()

    bufferSize = READ_BYTES
    observer: BufferObserver | None
    dataBuffer: bytes
    offset: int
    socket: socket.socket
    _tempDataLen: int

    @property
    def direct(self) -> Callable[[bytes], int]:
        """A function that sends bytes at once, while none are queued: like ``socket.send``, it may take a part."""
        return self.socket.send

    @property
    def buffered(self) -> int:
        """Bytes that are queued."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket (``IReadDescriptor``)."""
        if self.observer is not None:
            self.observer.closing(partial(count_bytes, self.socket))
        super().connectionLost(reason)  # type: ignore[misc]  # the transport defines it

    def doWrite(self) -> Any:
        """Send queued bytes, as many as the kernel takes (``IWriteDescriptor``)."""
        before = self.buffered
        result = super().doWrite()  # type: ignore[misc]  # the transport defines it
        if result is None and self.observer is not None:
            left = self.buffered
            if not left:
                self.observer.emptied()
            elif left < before:
                self.observer.progressed()
        return result


class DirectServer(_Direct, tcp.Server):
    """A TCP connection; its attributes are in slots, and its names are built on demand, to save memory.

    :ivar polled: the events that its poller waits for (``airyd.websocket.poller``); 0 with another reactor
    """

    protocol: Any

    __slots__ = (
        "_tempDataBuffer",
        "_tempDataLen",
        "client",
        "connected",
        "dataBuffer",
        "observer",
        "offset",
        "polled",
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
        self.polled = 0
        self.protocol = protocol
        self.reactor = reactor
        self.server = server
        self.socket = sock
        self.connected = True
        self.startReading()

    def doRead(self) -> Any:
        """Read once, and pass it on (``IReadDescriptor``)."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def readConnectionLost(self, reason: Failure) -> None:
        """End the connection (``IHalfCloseableDescriptor``).

        No protocol of airyd's goes on with one half of it; Twisted asks, which takes 1 µs.
        """
        self.connectionLost(reason)

    @property
    def _addressType(self) -> type[IPv4Address] | type[IPv6Address]:  # type: ignore[override]  # Twisted only reads it
        return IPv4Address if len(self.client) == 2 else IPv6Address

    @property
    def hostname(self) -> object:  # type: ignore[override]  # Twisted only reads it
        """The client's address."""
        return self.client[0]

    @property
    def fileno(self) -> Callable[[], int]:
        """The socket's ``fileno``, until the connection is lost."""
        return self.socket.fileno

    @fileno.deleter
    def fileno(self) -> None:
        """Do nothing; Twisted deletes it with the socket."""

    # Twisted puts it into the log's context at each event of the connection: a constant costs nothing.
    logstr = "airyd"

    @property
    def repstr(self) -> str:  # type: ignore[override]  # Twisted only reads it
        """The result of ``repr``, without a session number, which would take 40 bytes."""
        return f"<{type(self.protocol).__name__} from {self.hostname}>"


class DirectUnixServer(_Direct, unix.Server):
    """A connection on a unix socket."""

    observer: BufferObserver | None = None


def keep_alive(listening: socket.socket) -> None:
    """Let the kernel end TCP connections whose other side has vanished, within two minutes of silence.

    Accepted sockets inherit these options from the listening one.
    """
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def count_bytes(connected: socket.socket) -> tuple[int, int] | None:
    """Return how many bytes the other side of a TCP connection has received and sent; None if they aren't known.

    The kernel counts them, so that airyd need not: ``tcpi_bytes_acked`` and ``tcpi_bytes_received`` of Linux's
    ``struct tcp_info``. Under TLS they are encrypted bytes.
    """
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    if len(info) < _TCP_INFO.size:
        return None
    acked, received = _TCP_INFO.unpack(info)
    return acked, received


#: The attribute of a transport whose client the proxy does not know, by the PROXY protocol.
_HIDES_CLIENT: Final = "airyd_hides_client"


def hide_client(transport: object) -> None:
    """Note that the peer of a transport is a proxy that does not know the client."""
    setattr(transport, _HIDES_CLIENT, True)


def hides_client(transport: object) -> bool:
    """Return whether a proxy has said of this transport, or of one below it, that it does not know the client.

    A header with the client's address is then not the proxy's, which forwards bytes only: the client wrote it.
    """
    while transport is not None:
        if getattr(transport, _HIDES_CLIENT, False):
            return True
        transport = None if isinstance(transport, _DIRECT) else getattr(transport, "transport", None)
    return False


_DIRECT: Final = (DirectServer, DirectUnixServer)


def direct_of(transport: object) -> DirectServer | DirectUnixServer | None:
    """Return the lowest transport, below wrappers such as TLS and the PROXY protocol, if it is one of these."""
    while not isinstance(transport, _DIRECT):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return None
    return transport
