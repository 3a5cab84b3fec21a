"""Waits for the sockets of clients, with an epoll of its own below the reactor's.

For each event of each socket, Twisted's reactor enters a log context, and calls six functions: 4 µs, a tenth of what a
client costs that connects. For the reactor, all clients together are one descriptor, that of this epoll: an epoll is
readable while one of its sockets has an event.

A turn of the reactor handles some of the events, and the next turn continues with the others. So timed calls, such as
the flush of live events, never wait for thousands of clients that connect.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.websocket.transport import DirectServer

#: The most events in one turn of the reactor. Each may be an opening handshake or a login, of some 30 µs: 2 ms.
EVENTS_PER_TURN: Final = 64

_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT
_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_FAILURES: Final[Mapping[type[BaseException], Failure]] = {
    ConnectionDone: Failure(CONNECTION_DONE),
    ConnectionLost: Failure(CONNECTION_LOST),
}


@implementer(IReadDescriptor)
class ConnectionPoller:
    """Takes the place of the reactor in the transports of clients: it calls them when their sockets are ready.

    :param reactor: a reactor that is also an ``IReactorTime``

    :ivar is_busy: whether the last turn left events for the next one
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self.is_busy = False
        self._reactor = reactor
        self._epoll = select.epoll()
        self._transports: dict[int, DirectServer] = {}

    # What the transports call, as if this were the reactor.

    def addReader(self, transport: DirectServer) -> None:
        """See ``IReactorFDSet``."""
        self._poll(transport, transport.polled | _READ)

    def removeReader(self, transport: DirectServer) -> None:
        """See ``IReactorFDSet``."""
        self._poll(transport, transport.polled & ~_READ)

    def addWriter(self, transport: DirectServer) -> None:
        """See ``IReactorFDSet``."""
        self._poll(transport, transport.polled | _WRITE)

    def removeWriter(self, transport: DirectServer) -> None:
        """See ``IReactorFDSet``."""
        self._poll(transport, transport.polled & ~_WRITE)

    def callLater(self, delay: float, call: Any, *arguments: object) -> IDelayedCall:
        """See ``IReactorTime``."""
        return IReactorTime(self._reactor).callLater(delay, call, *arguments)

    def _poll(self, transport: DirectServer, events: int) -> None:
        before = transport.polled
        if events == before:
            return
        transport.polled = events
        number = transport.socket.fileno()
        if not events:
            del self._transports[number]
            self._epoll.unregister(number)
            if not self._transports:
                self._reactor.removeReader(self)
        elif before:
            self._epoll.modify(number, events)
        else:
            if not self._transports:
                self._reactor.addReader(self)
            self._transports[number] = transport
            self._epoll.register(number, events)

    # What the reactor calls.

    def fileno(self) -> int:
        """See ``IFileDescriptor``."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """See ``ILoggingContext``."""
        return DirectServer.logstr

    def doRead(self) -> None:
        """Handle the next events (``IReadDescriptor``)."""
        ready = self._epoll.poll(0, EVENTS_PER_TURN)
        self.is_busy = len(ready) == EVENTS_PER_TURN
        for number, event in ready:
            transport = self._transports.get(number)
            if transport is not None:  # else an earlier event has ended it
                self._handle(transport, event)

    def _handle(self, transport: DirectServer, event: int) -> None:
        """Let a transport read or write; end it if that fails, as the reactor does."""
        reason: Any = None
        is_reading = False
        if event & _GONE and not event & _READ:
            is_reading = bool(transport.polled & _READ)
            reason = CONNECTION_DONE if is_reading else CONNECTION_LOST
        else:
            try:
                if event & _READ:
                    is_reading = True
                    reason = transport.doRead()
                if not reason and event & _WRITE:
                    is_reading = False
                    reason = transport.doWrite()
            except BaseException as error:  # noqa: BLE001  # the other clients must not notice, as with the reactor
                self._log.failure("a connection failed")
                reason = error
        if reason:
            self._end(transport, reason, is_reading)

    def _end(self, transport: DirectServer, reason: BaseException, is_reading: bool) -> None:
        failure = _FAILURES.get(type(reason)) or Failure(reason)
        self._poll(transport, 0)
        if is_reading and type(reason) is ConnectionDone:
            transport.readConnectionLost(failure)
        else:
            transport.connectionLost(failure)

    def connectionLost(self, reason: Failure) -> None:
        """End all connections, because the reactor has stopped (``IFileDescriptor``)."""
        for transport in tuple(self._transports.values()):
            transport.connectionLost(reason)
