"""Listening sockets: opened for several, inherited, covered, closed."""

from __future__ import annotations

import os
import select
import socket
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.listening.endpoints import ListeningEndpoint, url_of
from airyd.workers.sockets import InheritedSockets, ListeningSockets, SharedPort
from tests.patience import PATIENCE

#: Enough that a fair deal forgets none of three: the odds are 1 to 10**15.
MANY = 90


class SharedTests(SynchronousTestCase):
    """The parent's side, on the loopback interface."""

    def listen(self, description: str, count: int = 3) -> tuple[SharedPort, ListeningSockets]:
        """Open the sockets of an endpoint."""
        sockets = ListeningSockets(count)
        port = ListeningEndpoint.read("--listen", description, sockets).listen(Factory())
        assert isinstance(port, SharedPort)
        self.addCleanup(port.stopListening)
        return port, sockets

    def test_all_listen_on_one_port(self) -> None:
        port, sockets = self.listen("tcp:0:interface=127.0.0.1")
        verifyObject(IListeningPort, port)
        number = port.getHost().port
        self.assertEqual({each.getsockname() for each in port.sockets}, {("127.0.0.1", number)})
        self.assertEqual(sockets.descriptors(), [[each.fileno() for each in port.sockets]])
        for each in port.sockets:
            self.assertEqual(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)
            self.assertFalse(each.getblocking())
        self.assertEqual(url_of("ws", port, "/ws"), f"ws://127.0.0.1:{number}/ws")

    def test_clients_are_dealt_out(self) -> None:
        """Each socket gets some of many; none is lost."""
        port, _ = self.listen("tcp:0:interface=127.0.0.1")
        for _ in range(MANY):
            client = socket.create_connection(("127.0.0.1", port.getHost().port))
            self.addCleanup(client.close)
        counts = [0] * len(port.sockets)
        while sum(counts) < MANY:  # a busy kernel brings the last ones late
            ready, _, _ = select.select(port.sockets, (), (), PATIENCE)
            self.assertTrue(ready, counts)
            for each in ready:
                each.accept()[0].close()
                counts[port.sockets.index(each)] += 1
        self.assertGreater(min(counts), 0, counts)

    def test_ipv6(self) -> None:
        for description in (r"tcp6:0:interface=\:\:1", r"tcp:0:interface=\:\:1"):
            port, _ = self.listen(description)
            self.assertEqual(url_of("ws", port, "/"), f"ws://[::1]:{port.getHost().port}/")

    def test_two_endpoints(self) -> None:
        """Their descriptors come in the order in which they listen."""
        sockets = ListeningSockets(2)
        for _ in range(2):
            port = ListeningEndpoint.read("--listen", "tcp:0:interface=127.0.0.1", sockets).listen(Factory())
            self.addCleanup(port.stopListening)
        self.assertEqual([len(each) for each in sockets.descriptors()], [2, 2])

    def test_port_in_use(self) -> None:
        """By anybody, and by another airyd of the same user with workers of its own."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        other, _ = self.listen("tcp:0:interface=127.0.0.1")
        for number in (taken.getsockname()[1], other.getHost().port):
            ended = self.assertRaises(SystemExit, self.listen, f"tcp:{number}:interface=127.0.0.1")
            self.assertIn(f"--listen tcp:{number}", str(ended.code))
            self.assertIn(": cannot listen there: ", str(ended.code))

    def test_closed(self) -> None:
        port, _ = self.listen("tcp:0:interface=127.0.0.1")
        self.successResultOf(port.stopListening())
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port.getHost().port))


class Reactor:
    """Records the sockets that are accepted from.

    :ivar accepting: inode numbers of sockets, and the factory that gets their connections
    """

    def __init__(self) -> None:
        self.accepting: dict[int, Any] = {}

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> Any:
        """See ``IReactorSocket``."""
        inode = os.fstat(descriptor).st_ino
        assert inode not in self.accepting
        self.accepting[inode] = factory
        reactor = self

        class Port:
            def stopListening(self) -> Deferred[None]:
                del reactor.accepting[inode]
                return succeed(None)

        return Port()


class InheritedTests(SynchronousTestCase):
    """The worker's side: two endpoints of three workers, and this is the second of them."""

    def setUp(self) -> None:
        self.sockets = [[socket.create_server(("127.0.0.1", 0)) for _ in range(3)] for _ in range(2)]
        for each in (each for of_place in self.sockets for each in of_place):
            self.addCleanup(each.close)
        descriptors = [[os.dup(each.fileno()) for each in of_place] for of_place in self.sockets]
        self.reactor = Reactor()
        self.inherited = InheritedSockets(cast(IReactorSocket, self.reactor), descriptors, 1)
        self.factories = [Factory(), Factory()]
        self.ports = [
            cast(Any, self.successResultOf(serverFromString(cast(Any, self.inherited), "tcp:80").listen(factory)))
            for factory in self.factories
        ]
        for port in self.ports:
            self.addCleanup(port.stopListening)

    def expect(self, *numbers: int) -> None:
        """Check whose sockets are accepted from, of both endpoints."""
        expected = {
            os.fstat(of_place[number].fileno()).st_ino: factory
            for of_place, factory in zip(self.sockets, self.factories, strict=True)
            for number in numbers
        }
        self.assertEqual(self.reactor.accepting, expected)

    def test_its_own(self) -> None:
        self.expect(1)
        for of_place, port in zip(self.sockets, self.ports, strict=True):
            verifyObject(IListeningPort, port)
            self.assertEqual(port.getHost().port, of_place[1].getsockname()[1])

    def test_cover(self) -> None:
        for numbers in [0], [0, 2], [2], [2], []:
            self.inherited.cover(numbers)
            self.expect(1, *numbers)

    def test_stop(self) -> None:
        """It closes all, also those that it never accepted from; an order that comes late does nothing."""
        self.inherited.cover([0])
        for port in self.ports:
            self.successResultOf(port.stopListening())
        self.inherited.cover([0, 2])
        self.assertEqual(self.reactor.accepting, {})
        for of_place in self.sockets:
            for each in of_place:
                number = each.getsockname()[1]
                each.close()
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", number))

    def test_tls(self) -> None:
        """The worker adds TLS to accepted connections."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        inherited = InheritedSockets(cast(IReactorSocket, self.reactor), [[os.dup(listening.fileno())]], 0)
        port = inherited.listenSSL(443, self.factories[0], CertificateOptions())
        factory = self.reactor.accepting[os.fstat(listening.fileno()).st_ino]
        self.assertIsInstance(factory, TLSMemoryBIOFactory)
        self.assertIs(factory.wrappedFactory, self.factories[0])
        self.successResultOf(port.stopListening())
