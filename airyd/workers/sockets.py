"""Listening sockets that the parent opens and its workers accept from (SO_REUSEPORT).

Each worker has its own socket for each endpoint. All of them listen on the same port, and the kernel distributes new
connections by a hash of their addresses. Of 1,000 to 3,000 connections to two workers, the busier one had 50 to 54 %,
whether they came one at a time or 512 at once, with both workers on one core or each on its own. With one inherited
socket it had 50 to 58 %, up to 62 % in earlier prototypes: a new connection wakes all workers, and the first one to
accept gets it.

The parent keeps all sockets open, so that a worker that dies loses no connection that waits to be accepted. Every
worker inherits all sockets, so that another one can accept from them meanwhile
(:class:`~airyd.workers.messages.Cover`).
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from typing import cast

from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory, IProtocolFactory, IReactorSocket
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from airyd.tls import ReplaceableTls
from airyd.websocket.accepting import make_direct
from airyd.websocket.transport import keep_alive


class ListeningSockets:
    """Replaces the reactor when the parent's endpoints listen: opens sockets, but accepts nothing.

    :param count: sockets for each endpoint
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._ports: list[SharedPort] = []

    def descriptors(self) -> list[list[int]]:
        """Return the sockets' descriptors: for each endpoint, in the order of listening, one for each worker."""
        return [[each.fileno() for each in port.sockets] for port in self._ports]

    def listenTCP(self, port: int, factory: object, backlog: int = 50, interface: str = "") -> SharedPort:
        """Open the sockets; see ``IReactorTCP``."""
        self._ports.append(SharedPort(_open(port, interface, backlog, self._count)))
        return self._ports[-1]

    def listenSSL(
        self, port: int, factory: object, contextFactory: object, backlog: int = 50, interface: str = ""
    ) -> SharedPort:
        """Open the sockets; the workers add TLS. See ``IReactorSSL``."""
        return self.listenTCP(port, factory, backlog, interface)


def _open(port: int, interface: str, backlog: int, count: int) -> list[socket.socket]:
    family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        # With SO_REUSEPORT, a port of another airyd of the same user would seem free.
        probe = _bind(family, interface, port, reuse_port=False)
        port = probe.getsockname()[1]
        probe.close()
        for _ in range(count):
            opened.append(_bind(family, interface, port, reuse_port=True))
            keep_alive(opened[-1])
            opened[-1].listen(backlog)
    except OSError as error:
        for each in opened:
            each.close()
        raise CannotListenError(interface, port, error) from None
    return opened


def _bind(family: socket.AddressFamily, interface: str, port: int, *, reuse_port: bool) -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(socket.getaddrinfo(interface or None, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4])
    except OSError:
        bound.close()
        raise
    return bound


def _host_of(listening: socket.socket) -> IPv4Address | IPv6Address:
    name = listening.getsockname()
    return (IPv6Address if listening.family == socket.AF_INET6 else IPv4Address)("TCP", *name)


@implementer(IListeningPort)
class SharedPort:
    """The sockets of one endpoint, in the parent.

    :ivar sockets: one for each worker
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets
        self._host = _host_of(sockets[0])

    def startListening(self) -> None:
        """Do nothing: the sockets listen already (``IListeningPort``)."""

    def stopListening(self) -> Deferred[None]:
        """Close the sockets; they listen until the workers have closed them, too (``IListeningPort``)."""
        for each in self.sockets:
            each.close()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return where they listen (``IListeningPort``)."""
        return self._host


class InheritedSockets:
    """Replaces the reactor when a worker's endpoints listen: accepts from the inherited sockets.

    :param reactor: the real reactor
    :param descriptors: for each endpoint, in the order of listening, the socket of each worker
    :param number: the worker's own number
    """

    def __init__(self, reactor: IReactorSocket, descriptors: Sequence[Sequence[int]], number: int) -> None:
        self._reactor = reactor
        self._left = list(descriptors)
        self._number = number
        self._ports: list[InheritedPort] = []

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> InheritedPort:
        """Accept from the next endpoint's socket; see ``IReactorTCP``."""
        inherited = InheritedPort(self._reactor, self._left.pop(0), self._number, factory)
        self._ports.append(inherited)
        return inherited

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: ReplaceableTls | IOpenSSLContextFactory,
        backlog: int = 50,
        interface: str = "",
    ) -> InheritedPort:
        """Accept from the next endpoint's socket, with TLS; see ``IReactorSSL``."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)

    def cover(self, numbers: Collection[int]) -> None:
        """Also accept from the sockets of these workers, and of no others."""
        for port in self._ports:
            port.cover(numbers)


@implementer(IListeningPort)
class InheritedPort:
    """One endpoint in a worker: its own socket, and the sockets of workers that it covers."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorSocket, descriptors: Sequence[int], number: int, factory: IProtocolFactory
    ) -> None:
        self._reactor = reactor
        self._sockets = [socket.socket(fileno=each) for each in descriptors]
        self._number = number
        self._factory = factory
        self._host = _host_of(self._sockets[number])
        self._accepting: dict[int, IListeningPort] = {}
        self.startListening()

    def startListening(self) -> None:
        """Accept from the worker's own socket (``IListeningPort``)."""
        self._accept(self._number)

    def _accept(self, number: int) -> None:
        listening = self._sockets[number]
        factory = cast(ServerFactory, self._factory)  # Twisted takes any factory
        port = self._reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
        self._accepting[number] = make_direct(port)

    def cover(self, numbers: Collection[int]) -> None:
        """Also accept from these workers' sockets, and from no others."""
        wanted = {self._number, *numbers} if self._sockets else set()
        for number in self._accepting.keys() - wanted:
            stopping = maybeDeferred(self._accepting.pop(number).stopListening)
            stopping.addErrback(lambda failure: self._log.failure("could not stop accepting from a socket", failure))
        for number in wanted - self._accepting.keys():
            self._accept(number)

    def stopListening(self) -> Deferred[None]:
        """Stop accepting and close the sockets; they listen while another process has them (``IListeningPort``)."""
        for each in self._sockets:
            each.close()
        self._sockets = []
        stopping = [maybeDeferred(port.stopListening) for port in self._accepting.values()]
        self._accepting.clear()
        return gatherResults(stopping).addCallback(lambda _: None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return where it listens (``IListeningPort``)."""
        return self._host
