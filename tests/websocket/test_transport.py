"""Twisted's transports with a count of queued bytes, over real sockets with small buffers."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import SSL4ClientEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, DefaultOpenSSLContextFactory
from twisted.internet.testing import StringTransport
from twisted.internet.unix import Port as UnixPort
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from airyd.websocket.accepting import make_direct
from airyd.websocket.transport import READ_BYTES, DirectServer, DirectUnixServer, direct_of
from tests.loop import Loop, Peer
from tests.patience import TIMEOUT

HOST = "127.0.0.1"
#: More than any kernel takes at once when the other side does not read.
MUCH = bytes(range(256)) * 8 * 1024


class Tells:
    """An observer of a transport that makes given calls."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.progress = 0

    def emptied(self) -> None:
        """See ``airyd.websocket.transport.BufferObserver``."""
        self._call()

    def progressed(self) -> None:
        """See ``airyd.websocket.transport.BufferObserver``."""
        self.progress += 1

    def closing(self, count: Callable[[], tuple[int, int] | None]) -> None:
        """See ``airyd.websocket.transport.BufferObserver``."""


class Served(Protocol):
    """The server's side of a connection.

    :ivar below: the transport at the bottom
    :ivar emptied: how often it said that nothing is queued
    :ivar most: bytes of the longest read
    """

    transport: ITCPTransport

    def __init__(self, accepted: Deferred[None]) -> None:
        self._accepted = accepted
        self.below: DirectServer | DirectUnixServer | None = None
        self.emptied = 0
        self.at_empty: list[Deferred[None]] = []
        self.lost: Deferred[None] = Deferred()
        self.got = b""
        self.most = 0

    def connectionMade(self) -> None:
        self.below = direct_of(self.transport)
        if self.below is not None:
            self.below.observer = Tells(self._emptied)
            self.below.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self._accepted.callback(None)

    def _emptied(self) -> None:
        self.emptied += 1
        waiting, self.at_empty = self.at_empty, []
        for each in waiting:
            each.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Return a Deferred that fires when the transport reports that all was sent."""
        waiting: Deferred[None] = Deferred()
        self.at_empty.append(waiting)
        return waiting

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        self.most = max(self.most, len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Reader(Protocol):
    """The client's side."""

    transport: Any

    def __init__(self) -> None:
        self._got: list[bytes] = []
        self._size = 0
        self._wanted: tuple[int, Deferred[bytes]] | None = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._got.append(data)
        self._size += len(data)
        if self._wanted is not None and self._size >= self._wanted[0]:
            wanted, self._wanted = self._wanted[1], None
            wanted.callback(b"".join(self._got))

    def forget(self) -> None:
        """Forget the received bytes."""
        self._got.clear()
        self._size = 0

    def read(self, size: int) -> Deferred[bytes]:
        """Return a Deferred that fires with all received bytes when there are this many."""
        wanted: Deferred[bytes] = Deferred()
        self._wanted = size, wanted
        self.dataReceived(b"")
        return wanted

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


def write_certificate(directory: Path) -> tuple[str, str]:
    """Make a certificate for this machine; return the names of the files with its key and itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    directory.mkdir()
    (directory / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (directory / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(directory / "key.pem"), str(directory / "certificate.pem")


class SocketTestCase(TestCase):
    """A listening port, and one connection to it."""

    timeout = TIMEOUT

    def setUp(self) -> None:
        """Keep the reactor that runs the tests."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.served: Served
        self.accepted: Deferred[None] = Deferred()

    def factory(self) -> Factory:
        """Return what makes the server's side."""
        made = Factory()
        made.noisy = False

        def build(_: object) -> Served:
            self.served = Served(self.accepted)
            return self.served

        made.buildProtocol = build  # type: ignore[assignment]  # a stand-in
        return made

    def listening(self, port: IListeningPort) -> IListeningPort:
        """Make the port direct, and stop it at the end."""
        self.addCleanup(port.stopListening)
        return make_direct(port)

    @inlineCallbacks
    def connected(self, endpoint: Any) -> Any:
        """Return the client's side of a connection, which reads nothing yet; the server's is in ``served``."""
        factory: Any = Factory.forProtocol(Reader)
        factory.noisy = False
        reader = yield endpoint.connect(factory)
        reader.transport.pauseProducing()
        yield self.accepted

        def close() -> Deferred[None]:
            if reader.transport.connected:
                reader.transport.abortConnection()
            return self.served.lost

        self.addCleanup(close)
        return reader

    def fill(self, below: DirectServer | DirectUnixServer, data: bytes) -> int:
        """Send directly until the kernel takes no more; return how many bytes it took."""
        taken = 0
        while taken < len(data):
            try:
                count = below.direct(data[taken:])
            except BlockingIOError:
                return taken
            if not count:  # under TLS
                return taken
            taken += count
        raise AssertionError("the kernel takes everything")


class TCPTests(SocketTestCase):
    """TCP on the loopback interface."""

    transports: type[object] = DirectServer
    #: The most bytes that one turn of the reactor reads.
    most = READ_BYTES

    def connect(self) -> Deferred[Any]:
        """Return the client's side of a connection."""
        port: Any = self.listening(self.reactor.listenTCP(0, self.factory(), interface=HOST))
        return self.connected(TCP4ClientEndpoint(self.reactor, HOST, port.getHost().port))

    def below(self) -> DirectServer | DirectUnixServer:
        """Return the transport, which is the one that was asked for."""
        below = self.served.below
        assert isinstance(below, self.transports), below
        assert below is self.served.transport
        assert isinstance(below, DirectServer | DirectUnixServer)
        return below

    def close(self, reader: Any) -> None:
        """Let the client shut its side."""
        reader.transport.loseWriteConnection()

    @inlineCallbacks
    def test_direct_send(self) -> Any:
        """A direct send reaches the client unchanged, and nothing is queued."""
        reader = yield self.connect()
        below = self.below()
        self.assertEqual(below.direct(b"hello"), 5)
        self.assertEqual(below.buffered, 0)
        reader.transport.resumeProducing()
        got = yield reader.read(5)
        self.assertEqual(got, b"hello")

    @inlineCallbacks
    def test_no_delay(self) -> Any:
        """A small frame does not wait for the client's acknowledgement of the last one."""
        yield self.connect()
        below = self.below()
        if isinstance(below, DirectServer):
            self.assertTrue(below.getTcpNoDelay())

    @inlineCallbacks
    def test_rest_is_queued(self) -> Any:
        """Bytes that the kernel does not take follow in order; then the transport reports that once."""
        reader = yield self.connect()
        below = self.below()
        taken = self.fill(below, MUCH)
        below.write(MUCH[taken:])
        self.assertEqual(below.buffered, len(MUCH) - taken)
        below.write(b"more")
        self.assertEqual(below.buffered, len(MUCH) - taken + 4)
        self.assertEqual(self.served.emptied, 0)
        emptied = self.served.when_empty()
        reader.transport.resumeProducing()
        got = yield reader.read(len(MUCH) + 4)
        yield emptied
        self.assertEqual(got, MUCH + b"more")
        self.assertEqual((below.buffered, self.served.emptied), (0, 1))
        self.assertEqual(below.direct(b"!"), 1)
        got = yield reader.read(len(MUCH) + 5)
        self.assertEqual(got[-1:], b"!")

    @inlineCallbacks
    def test_write_from_within_emptied(self) -> Any:
        """An observer may send more from ``emptied``, directly or through the transport."""
        reader = yield self.connect()
        below = self.below()
        emptied = self.served.when_empty()
        emptied.addCallback(lambda _: (below.direct(b"b"), below.write(b"c")))
        below.write(b"a")
        self.assertEqual(below.buffered, 1)
        reader.transport.resumeProducing()
        got = yield reader.read(3)
        self.assertEqual((got, below.buffered), (b"abc", 0))

    @inlineCallbacks
    def test_writes_of_a_sequence(self) -> Any:
        reader = yield self.connect()
        below = self.below()
        below.writeSequence([b"a", b"bc", b""])
        self.assertEqual(below.buffered, 3)
        reader.transport.resumeProducing()
        got = yield reader.read(3)
        self.assertEqual(got, b"abc")

    @inlineCallbacks
    def test_lost_with_a_queue(self) -> Any:
        """After a reset by the peer the protocol is called, and ``buffered`` can still be read."""
        reader = yield self.connect()
        below = self.below()
        send = below.direct
        below.write(MUCH[self.fill(below, MUCH) :])
        reader.transport.abortConnection()
        yield self.served.lost
        self.assertEqual(self.served.emptied, 0)
        self.assertGreaterEqual(below.buffered, 0)
        below.write(b"x")
        self.assertRaises(OSError, send, b"x")

    @inlineCallbacks
    def test_close_with_a_queue(self) -> Any:
        """``loseConnection`` sends the queued bytes, and does not report the last write to the observer."""
        reader = yield self.connect()
        below = self.below()
        taken = self.fill(below, MUCH)
        below.write(MUCH[taken:])
        below.loseConnection()
        reader.transport.resumeProducing()
        got = yield reader.read(len(MUCH))
        self.assertEqual(got, MUCH)
        yield self.served.lost

    @inlineCallbacks
    def test_half_closed_by_us(self) -> Any:
        """Our side is shut after the queue is sent; bytes from the peer still arrive."""
        reader = yield self.connect()
        below = self.below()
        taken = self.fill(below, MUCH)
        below.write(MUCH[taken:])
        below.loseWriteConnection()
        reader.transport.resumeProducing()
        got = yield reader.read(len(MUCH))
        self.assertEqual(got, MUCH)
        yield self.served.lost  # the reader closes when it sees the end

    @inlineCallbacks
    def test_half_closed_by_the_peer(self) -> Any:
        """A peer that shuts its side is gone, as for any protocol that does not say otherwise."""
        reader = yield self.connect()
        reader.transport.write(b"bye")
        self.close(reader)
        yield self.served.lost
        self.assertEqual(self.served.got, b"bye")

    @inlineCallbacks
    def test_reads_little_at_a_time(self) -> Any:
        """Other clients get their turn after a few KiB of one client's bytes."""
        much = MUCH[: 50 * READ_BYTES]
        reader = yield self.connect()
        reader.transport.write(much)
        self.close(reader)
        yield self.served.lost
        self.assertEqual(self.served.got, much)
        self.assertLessEqual(self.served.most, self.most)


class UnixTests(TCPTests):
    """A unix socket."""

    transports = DirectUnixServer

    def connect(self) -> Deferred[Any]:
        """Return the client's side of a connection."""
        path = self.mktemp()
        port = self.listening(self.reactor.listenUNIX(path, self.factory()))
        self.assertIsInstance(port, UnixPort)
        return self.connected(UNIXClientEndpoint(self.reactor, path))


class TwistedTlsTests(SocketTestCase):
    """With TLS of Twisted's nothing is sent directly, but the number of queued bytes is known."""

    def connect(self) -> Deferred[Any]:
        """Return the client's side of a connection."""
        served = DefaultOpenSSLContextFactory(*write_certificate(Path(self.mktemp())))
        port: Any = self.listening(self.reactor.listenSSL(0, self.factory(), served, interface=HOST))
        return self.connected(SSL4ClientEndpoint(self.reactor, HOST, port.getHost().port, CertificateOptions()))

    @inlineCallbacks
    def test_below(self) -> Any:
        yield self.connect()
        self.assertIsInstance(self.served.below, DirectServer)
        self.assertIsNot(self.served.below, self.served.transport)

    @inlineCallbacks
    def test_back_pressure(self) -> Any:
        """``buffered`` grows while the client does not read; when it reads, the transport reports that all was sent."""
        reader = yield self.connect()
        reader.transport.resumeProducing()
        self.served.transport.write(b"hello")
        yield reader.read(5)
        reader.transport.pauseProducing()
        below = self.served.below
        assert below is not None
        self.served.transport.write(MUCH)
        yield self.turns(5)
        self.assertGreater(below.buffered, len(MUCH) // 2)
        emptied = self.served.when_empty()
        reader.transport.resumeProducing()
        got = yield reader.read(5 + len(MUCH))
        yield emptied
        self.assertEqual(got, b"hello" + MUCH)
        self.assertEqual(below.buffered, 0)

    def turns(self, count: int) -> Deferred[None]:
        """Return a Deferred that fires after some turns of the reactor."""
        done: Deferred[None] = Deferred()

        def turn(left: int) -> None:
            if left:
                self.reactor.callLater(0, turn, left - 1)
            else:
                done.callback(None)

        turn(count)
        return done


class QueueTests(SynchronousTestCase):
    """The exact number of queued bytes; the test decides what the socket takes."""

    def test_partly_sent(self) -> None:
        loop = Loop()
        served = Served(Deferred())
        peer = Peer(loop, served)
        peer.socket.room = 0
        peer.transport.write(b"x" * 100)
        self.assertEqual(peer.transport.buffered, 100)
        for left in (90, 80, 70):
            peer.socket.room = 10
            loop.turn()
            self.assertEqual((peer.transport.buffered, served.emptied), (left, 0))
        peer.transport.write(b"y" * 30)
        self.assertEqual(peer.transport.buffered, 100)
        peer.socket.room = None
        loop.turn()
        self.assertEqual((peer.transport.buffered, served.emptied), (0, 1))
        self.assertEqual(peer.got(), b"x" * 100 + b"y" * 30)

    def test_progress(self) -> None:
        """Only bytes that the kernel took are progress; ``emptied`` reports the end of the queue."""
        loop = Loop()
        served = Served(Deferred())
        peer = Peer(loop, served)
        observer = peer.transport.observer = Tells(lambda: None)
        peer.socket.room = 0
        peer.transport.write(b"x" * 100)
        for room, progress in ((0, 0), (10, 1), (0, 1), (1, 2), (None, 2)):
            peer.socket.room = room
            peer.transport.write(b"y")
            loop.turn()
            self.assertEqual(observer.progress, progress)


class DirectOfTests(SynchronousTestCase):
    """Objects that aren't such transports."""

    def test_none(self) -> None:
        self.assertIsNone(direct_of(None))
        self.assertIsNone(direct_of(StringTransport()))
        self.assertIsNone(direct_of(object()))

    def test_wrapped(self) -> None:
        class Wrapper:
            transport = StringTransport()

        self.assertIsNone(direct_of(Wrapper()))
