"""Accepts the connections of clients, some in each turn of the reactor, and those last that have only begun.

If thousands of clients come at once, the kernel keeps them in the queue of the listening socket until airyd has handled
what the clients before them have sent. So clients that were there before wait for few others.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Final, cast

from twisted.internet import tcp, unix
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort

from airyd.tls import TlsFactory
from airyd.websocket.poller import ConnectionPoller
from airyd.websocket.tls_transport import DirectTlsServer
from airyd.websocket.transport import DirectServer, DirectUnixServer

#: The most connections that one turn of the reactor accepts. Each soon has four events: two of the opening, one or more
#: of SUBSCRIBEs, and its end, which makes ``poller.EVENTS_PER_TURN`` of these.
ACCEPTED_PER_TURN: Final = 16
#: The size of an IPv6 address of a socket.
_IPV6_PARTS: Final = 4


class Acceptor:
    """Replaces ``doRead`` of a TCP port on Twisted's epoll reactor: accepting takes half as long, and stops while
    clients wait.
    """

    __slots__ = ("_poller", "_port")

    def __init__(self, port: tcp.Port) -> None:
        self._port = port
        self._poller = ConnectionPoller(port.reactor)

    def accept(self) -> None:
        """Accept the next connections."""
        poller = self._poller
        if poller.is_busy:
            poller.is_busy = False  # for one turn only, since the poller may have nothing to do in the next
            return
        for _ in range(ACCEPTED_PER_TURN):
            try:
                accepted, address = self._port.socket.accept()
            except BlockingIOError:
                return
            except OSError:
                tcp.Port.doRead(self._port)  # it reserves a descriptor for the case that there are no more
                return
            self._begin(accepted, address)

    def _begin(self, accepted: socket.socket, address: tuple[Any, ...]) -> None:
        port = self._port
        if len(address) == _IPV6_PARTS:  # like Twisted: only this text has the zone of a link-local address
            host, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            address = (host, *address[1:])
        factory: Any = port.factory
        # An address of Twisted's takes 1 µs.
        built = port._buildAddr(address) if getattr(factory, "uses_address", True) else None
        protocol = factory.buildProtocol(built)
        if protocol is None:
            accepted.close()
            return
        protocol.makeConnection(port.transport(accepted, protocol, address, port, 0, cast(Any, self._poller)))


def make_direct(port: IListeningPort) -> IListeningPort:
    """Make a listening port use airyd's transports for its connections, also for TLS (``Port.transport``)."""
    if isinstance(port, unix.Port):
        port.transport = DirectUnixServer
    elif isinstance(port, tcp.Port):
        factory = port.factory
        if isinstance(factory, TlsFactory):  # the transport does what Twisted's factory would do
            port.factory = factory.wrappedFactory
            port.transport = partial(DirectTlsServer, factory)  # type: ignore[assignment]  # it is only called
        else:
            port.transport = DirectServer
        if isinstance(port.reactor, EPollReactor):  # else the operator has chosen another one
            port.doRead = Acceptor(port).accept  # type: ignore[method-assign]  # there is no hook for it
        # Accepted sockets inherit this option; Autobahn would set it on each connection, in 2 µs.
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return port
