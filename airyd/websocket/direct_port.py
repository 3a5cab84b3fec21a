"""Makes a listening port of Twisted's use airyd's transports for its connections (``Port.transport``)."""

from __future__ import annotations

import socket
from functools import partial

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort

from airyd.tls import TlsFactory
from airyd.websocket.tls_transport import DirectTlsServer
from airyd.websocket.transport import DirectServer, DirectUnixServer


def make_direct(port: IListeningPort) -> IListeningPort:
    """Make a listening port use airyd's transports for its connections, also for TLS."""
    if isinstance(port, unix.Port):
        port.transport = DirectUnixServer
    elif isinstance(port, tcp.Port):
        factory = port.factory
        if isinstance(factory, TlsFactory):  # the transport does what Twisted's factory would do
            port.factory = factory.wrappedFactory
            port.transport = partial(DirectTlsServer, factory)  # type: ignore[assignment]  # Twisted only calls it
        else:
            port.transport = DirectServer
        # Accepted sockets inherit this option; Autobahn would set it on each connection, in 2 µs.
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return port
