"""TLS on an accepted TCP connection: OpenSSL reads and writes the socket itself.

Twisted's TLS is a protocol around the client's protocol. It copies each write into a buffer, waits for a turn of the
reactor, encrypts into a second buffer and copies the result into the transport's queue. Here a batch is encrypted and
sent within one call of OpenSSL, ``SSL_write``, and an idle connection keeps no buffers.

What OpenSSL asks for, and what happens:

======================= ================================================================================================
SSL_write wants write   The socket is full. OpenSSL keeps one encrypted record; the next write must begin with the same
                        bytes. So the caller queues them, and the queue is written when the socket has room.
SSL_write wants read    The handshake is under way. The queue waits until something was read.
SSL_read wants write    An answer of TLS itself does not fit into the socket. Reading goes on when it has room.
close_notify arrives    It is answered, and the connection ends.
close_notify is sent    Nothing can be written any more; the connection ends when the client has answered or closed.
======================= ================================================================================================

``_lib`` and ``_ssl`` are private to pyOpenSSL: its own ``send`` takes 1.4 µs more, a fifth of a delivery.
tests/websocket/test_tls_transport.py fails if they change.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet import main
from twisted.internet.interfaces import IProtocol, IReactorFDSet
from twisted.internet.tcp import Port
from twisted.python.failure import Failure

from airyd.tls import TlsFactory
from airyd.websocket.transport import READ_BYTES, DirectServer

#: The longest payload of a record (RFC 8446, section 5.1). A read that is shorter would leave a rest in OpenSSL, of
#: which the reactor knows nothing.
_RECORD_BYTES: Final = 16 * 1024
_ssl_write: Final = SSL._lib.SSL_write  # type: ignore[attr-defined]


class DirectTlsServer(DirectServer):
    """A TCP connection with TLS.

    ``write``, ``buffered`` and the observer count bytes before they are encrypted.

    :ivar factory: where Twisted's chooser of certificates finds the protocols for ALPN
    """

    __slots__ = ("_connection", "_is_established", "_read_waits", "_ssl", "_write_waits", "factory")

    def __init__(
        self,
        factory: TlsFactory,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: Port,
        sessionno: int,
        reactor: IReactorFDSet,
    ) -> None:
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        self.factory = factory
        self._is_established = False
        self._read_waits = False  # for room in the socket
        self._write_waits = False  # for bytes from the client
        self._connection: SSL.Connection | None = factory.tls.accepted(sock, self)
        self._ssl: Any = self._connection._ssl

    @property
    def _tls(self) -> SSL.Connection:
        """The connection for OpenSSL, until it is lost."""
        assert self._connection is not None  # noqa: S101  # nothing is read or written after connectionLost
        return self._connection

    # Sending.

    @property
    def direct(self) -> Any:
        """See ``DirectServer``."""
        return self.send

    def send(self, data: bytes) -> int:
        """Encrypt and send bytes like ``socket.send``; return how many were taken.

        If it takes only a part, the next write must begin with the rest.
        """
        size = len(data)
        try:
            count: int = _ssl_write(self._ssl, data, size)
        except TypeError:  # there is no ``SSL`` any more
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        # Short: there are more records to write, or the socket is full, or it is gone: the reactor finds out.
        return count if count == size else self._write(data, max(count, 0))[0]

    def _write(self, data: Any, taken: int) -> tuple[int, SSL.Error | None]:
        """Write bytes record by record, after the first ``taken``; return how many are taken then, and what stopped it.

        pyOpenSSL's ``send`` also clears OpenSSL's queue of errors, which belongs to all connections.
        """
        view = memoryview(data)
        try:
            while taken < len(view):
                taken += self._tls.send(view[taken:])
        except SSL.Error as error:
            return taken, error
        return taken, None

    def writeSomeData(self, data: Any) -> Any:
        """Encrypt and send queued bytes; return how many were taken, or why the connection is lost."""
        taken, error = self._write(memoryview(data)[: self.SEND_LIMIT], 0)
        if isinstance(error, SSL.WantReadError):
            self._write_waits = True
            self.stopWriting()
        elif error is not None and not isinstance(error, SSL.WantWriteError):
            return main.CONNECTION_LOST
        return taken

    def doWrite(self) -> Any:
        """See ``IWriteDescriptor``."""
        if self._read_waits:
            self._read_waits = False
            reason = self.doRead()
            if reason is not None or self._read_waits:
                return reason
        if not self._is_established or not (self.buffered or self.disconnecting or self._writeDisconnecting):
            self.stopWriting()
            return None
        return super().doWrite()

    # Receiving.

    def doRead(self) -> Any:
        """Read the records that have arrived, up to 24 KiB (``IReadDescriptor``)."""
        pieces: list[bytes] = []
        size = 0
        reason: Exception | None = None
        try:
            if not self._is_established:
                self._shake_hands()
            while size < READ_BYTES:
                pieces.append(self._tls.recv(_RECORD_BYTES))
                size += len(pieces[-1])
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._read_waits = True
            self.startWriting()
        except SSL.ZeroReturnError:
            self._send_close_notify()
            reason = main.CONNECTION_DONE
        except SSL.Error:
            reason = main.CONNECTION_LOST
            if not self._is_established:
                # OpenSSL has sent an alert. A close with unread bytes is a reset, and the client might not see it.
                with suppress(OSError):
                    self.socket.recv(READ_BYTES)
        if self._write_waits:
            self._write_waits = False
            self.startWriting()
        if pieces:
            self.protocol.dataReceived(b"".join(pieces))
            if self._aborting:
                return None  # it is lost in the next turn
        return reason

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._is_established = True
        if self.buffered:
            self.startWriting()

    # Closing.

    def loseConnection(self) -> None:
        """Send what is queued and close_notify; the connection ends when the client has answered or closed."""
        if not self.connected or self.disconnecting:
            return
        if not self._is_established:
            self.abortConnection()
            return
        self.disconnecting = True
        self.startWriting()

    def loseWriteConnection(self) -> None:
        """Send what is queued and close_notify, and shut our side of the connection."""
        if self._is_established:
            super().loseWriteConnection()
        else:  # nobody could read it
            self.abortConnection()

    def _postLoseConnection(self) -> Any:
        """Send close_notify, after the queue is sent; return why the connection is lost, or None while it is not."""
        self._writeDisconnected = True
        return main.CONNECTION_DONE if self._send_close_notify() else None

    def _closeWriteConnection(self) -> None:
        self._send_close_notify()
        super()._closeWriteConnection()

    def _send_close_notify(self) -> bool:
        """Send close_notify; return whether the connection can be closed: the client's was received, or it is gone."""
        try:
            return self._tls.shutdown()
        except SSL.WantWriteError:
            self.startWriting()  # which leads here again
            return False
        except SSL.Error:
            return True

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket (``IReadDescriptor``)."""
        # The number of the socket can soon be another client's, so nobody may call OpenSSL any more.
        self._ssl = None
        tls, self._connection = self._connection, None
        super().connectionLost(reason)
        del tls
