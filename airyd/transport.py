"""Twisted's server transports, with what sending now needs: how much is queued, and word when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort

#: Bytes that one read takes. A turn of the reactor reads once from each client, and Twisted's 64 KiB hold 10,000
#: WebSocket pings or hundreds of SUBSCRIBEs: one client's flood would hold up everybody for a good part of a second.
READ_BYTES: Final = 4 * 1024


class _Direct:
    """Mixed into a transport of Twisted's.

    It reads two names of ``twisted.internet.abstract.FileDescriptor`` that aren't API, ``dataBuffer``
    and ``_tempDataLen``; tests/test_transport.py fails when they change.

    :ivar emptied: called when all that was queued has been sent
    """

    bufferSize = READ_BYTES
    emptied: Callable[[], None] | None = None
    dataBuffer: bytes
    offset: int
    _tempDataLen: int

    @property
    def buffered(self) -> int:
        """Bytes that are queued."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def doWrite(self) -> Any:
        """Send what is queued, as far as the kernel takes it (``IWriteDescriptor``)."""
        result = super().doWrite()  # type: ignore[misc]  # the transport that this is mixed into has it
        if result is None and self.emptied is not None and not self.buffered:
            self.emptied()
        return result


class DirectServer(_Direct, tcp.Server):
    """A TCP connection."""


class DirectUnixServer(_Direct, unix.Server):
    """A connection on a unix socket."""


def make_direct(port: IListeningPort) -> IListeningPort:
    """Let a listening port make its connections with these transports (the hook is ``Port.transport``)."""
    if isinstance(port, unix.Port):
        port.transport = DirectUnixServer
    elif isinstance(port, tcp.Port):
        port.transport = DirectServer
    return port


def direct_of(transport: object) -> DirectServer | DirectUnixServer | None:
    """Return the transport at the bottom if it is one of these: below TLS, a proxy's header, and such wrappers."""
    while not isinstance(transport, DirectServer | DirectUnixServer):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return None
    return transport
