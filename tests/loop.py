"""A reactor and TCP sockets in memory, on which Twisted's real transports run."""

from __future__ import annotations

import errno
import os
from socket import AF_INET
from typing import Any, cast

from twisted.internet import main
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from airyd.websocket.transport import DirectServer


class Loop(MemoryReactorClock):
    """A clock that is also a reactor: it keeps the ports, the readers and the writers."""

    def turn(self) -> None:
        """Make the timed calls that are due, then let all writers write."""
        self.advance(0)
        for writer in tuple(self.writers):
            reason = writer.doWrite()
            if reason is not None:
                self.writers.discard(writer)
                writer.connectionLost(Failure(reason))
        self.advance(0)


class Socket:
    """A connected socket whose peer the test plays.

    :ivar room: bytes that the kernel still takes; None: no limit
    :ivar more: the value of ``room`` after each partial send
    :ivar reset: whether the peer has reset the connection
    :ivar taken: the bytes that the kernel took
    :ivar shut: whether the writing side was shut down
    :ivar info: the kernel's ``struct tcp_info``; too short: it has none
    """

    family = AF_INET

    def __init__(self) -> None:
        self.room: int | None = None
        self.more: list[int | None] = []
        self.reset = False
        self.taken = b""
        self.shut = False
        self.closed = False
        self.info = b""

    def send(self, data: Any) -> int:
        """Take as many bytes as there is room for, like a non-blocking ``socket.send``."""
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        count = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            self.room -= count
        if count < len(data) and self.more:
            self.room = self.more.pop(0)
        if not count:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.taken += bytes(data[:count])
        return count

    def shutdown(self, how: int) -> None:
        """Shut the writing side down."""
        self.shut = True

    def close(self) -> None:
        """Close it."""
        self.closed = True

    def fileno(self) -> int:
        """Return a number that no open file has."""
        return -1

    def setblocking(self, blocking: bool) -> None:
        """Do nothing."""

    def setsockopt(self, *arguments: object) -> None:
        """Do nothing."""

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        """Return :attr:`info`."""
        return self.info

    def getpeername(self) -> tuple[str, int]:
        """Return an address for documentation (RFC 5737)."""
        return "192.0.2.1", 5000

    def getsockname(self) -> tuple[str, int]:
        """Return another address for documentation."""
        return "192.0.2.2", 8080


class Peer:
    """The client's end of a connection to a protocol over Twisted's TCP transport.

    :ivar socket: the server's socket
    :ivar transport: the server's transport
    """

    def __init__(self, loop: Loop, protocol: Any) -> None:
        self._loop = loop
        self.socket = Socket()
        self.transport = DirectServer(
            cast(Any, self.socket), protocol, ("192.0.2.1", 5000), cast(Any, None), 1, cast(Any, loop)
        )
        protocol.makeConnection(self.transport)

    @property
    def is_read(self) -> bool:
        """Whether the server is reading now."""
        return self.transport in self._loop.readers

    def say(self, data: bytes) -> None:
        """Send bytes to the server; they are dropped if it is not reading."""
        if self.is_read:
            self.transport.protocol.dataReceived(data)

    def got(self) -> bytes:
        """Return the bytes that came since the last call."""
        taken, self.socket.taken = self.socket.taken, b""
        return taken

    def lose(self, reason: Exception = main.CONNECTION_LOST) -> None:
        """Let the connection break."""
        self._loop.writers.discard(self.transport)
        self._loop.readers.discard(self.transport)
        self.transport.connectionLost(Failure(reason))
