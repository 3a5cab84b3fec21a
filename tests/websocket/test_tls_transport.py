"""TLS on accepted connections: all that plain TCP does, and what is TLS' own, over real sockets with small buffers."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import SSL4ClientEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.tls import ReplaceableTls, TlsFactory, server_tls
from airyd.websocket.tls_transport import DirectTlsServer
from tests.loop import Loop, Socket
from tests.patience import PATIENCE
from tests.websocket import test_transport
from tests.websocket.test_transport import HOST, MUCH, write_certificate

RECORD = 16 * 1024


class TlsCase(test_transport.SocketTestCase):
    """A listening port with TLS."""

    def listen(self) -> int:
        """Listen; return the port."""
        self.key, self.certificate = write_certificate(Path(self.mktemp()))
        self.tls: ReplaceableTls = server_tls(self.key, self.certificate)
        port: Any = self.listening(self.reactor.listenTCP(0, TlsFactory(self.tls, self.factory()), interface=HOST))
        number: int = port.getHost().port
        return number

    def below(self) -> Any:
        """Return the transport, which encrypts itself."""
        below = self.served.below
        self.assertIsInstance(below, DirectTlsServer)
        self.assertIs(below, self.served.transport)
        return below


class SameAsPlainTests(TlsCase, test_transport.TCPTests):
    """All that a plain connection does."""

    transports = DirectTlsServer
    #: A long record after short ones.
    most = 24 * 1024

    @inlineCallbacks
    def connect(self) -> Any:
        """Return the client's side of a connection whose handshake is done."""
        endpoint = SSL4ClientEndpoint(self.reactor, HOST, self.listen(), CertificateOptions())
        reader = yield self.connected(endpoint)
        reader.transport.resumeProducing()
        self.served.transport.write(b"hello")
        yield reader.read(5)
        reader.transport.pauseProducing()
        reader.forget()
        self.served.emptied = 0
        return reader

    def close(self, reader: Any) -> None:
        """Let the client send close_notify."""
        reader.transport.loseConnection()

    @inlineCallbacks
    def test_longer_than_a_record(self) -> Any:
        """Several records leave at once, if the socket has room."""
        reader = yield self.connect()
        much = MUCH[: 2 * RECORD + 1]
        self.assertEqual(self.below().direct(much), len(much))
        reader.transport.resumeProducing()
        got = yield reader.read(len(much))
        self.assertEqual(got, much)
        self.assertEqual(self.served.emptied, 0)


class OwnTests(TlsCase):
    """What is TLS' own. The client blocks in a thread."""

    def talk(self, do: Callable[[ssl.SSLSocket], Any]) -> Deferred[Any]:
        """Connect, and call ``do`` with the client's TLS; return its result."""
        port = self.listen()
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False

        def connect() -> Any:
            with (
                socket.create_connection((HOST, port), PATIENCE) as plain,
                context.wrap_socket(plain, suppress_ragged_eofs=False) as secure,
            ):
                return do(secure)

        return deferToThread(connect)

    @inlineCallbacks
    def test_written_before_the_handshake(self) -> Any:
        """What is sent before the handshake follows it, directly or through the queue."""

        def write(_: None) -> None:
            below = self.below()
            below.write(b"ab"[below.direct(b"ab") :])

        self.accepted.addCallback(write)
        got = yield self.talk(lambda secure: secure.recv(10))
        self.assertEqual(got, b"ab")
        yield self.served.lost

    @inlineCallbacks
    def test_closed_by_the_client(self) -> Any:
        """The client's close_notify is answered (RFC 8446, section 6.1)."""

        def bye(secure: ssl.SSLSocket) -> None:
            secure.sendall(b"bye")
            secure.unwrap().close()  # raises without an answer

        yield self.talk(bye)
        yield self.served.lost
        self.assertEqual(self.served.got, b"bye")

    @inlineCallbacks
    def test_closed_by_us(self) -> Any:
        """``loseConnection`` and ``loseWriteConnection`` send close_notify after what is queued."""
        for method in ("loseConnection", "loseWriteConnection"):
            self.accepted = Deferred()
            self.accepted.addCallback(lambda _: self.served.transport.write(b"bye"))
            done = self.talk(lambda secure: (secure.recv(10), secure.recv(10)))
            yield self.accepted
            below = self.below()
            yield self.served.when_empty()
            getattr(below, method)()
            got = yield done  # an end without close_notify would raise
            self.assertEqual(got, (b"bye", b""), method)
            yield self.served.lost

    @inlineCallbacks
    def test_closed_before_the_handshake(self) -> Any:
        """Then nobody could read an answer, and nothing waits for one."""
        for method in ("loseConnection", "loseWriteConnection", "abortConnection"):
            self.accepted = Deferred()
            port = self.listen()
            with socket.create_connection((HOST, port), PATIENCE):
                yield self.accepted
                self.below().write(b"x")
                getattr(self.below(), method)()
                yield self.served.lost

    @inlineCallbacks
    def test_aborted(self) -> Any:
        """Neither what is queued nor close_notify is sent."""
        self.accepted.addCallback(lambda _: self.served.transport.write(b"hello"))

        def read(secure: ssl.SSLSocket) -> bytes:
            got = secure.recv(10)
            with contextlib.suppress(OSError):
                got += secure.recv(10) or b"close_notify"
            return got

        done = self.talk(read)
        yield self.accepted
        yield self.served.when_empty()
        self.below().abortConnection()
        got = yield done
        self.assertEqual(got, b"hello")
        yield self.served.lost

    @inlineCallbacks
    def test_renegotiation(self) -> Any:
        """A client of TLS 1.2 can't renegotiate (RFC 7457, section 2.10)."""
        port = self.listen()

        def renegotiate() -> str:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            with socket.create_connection((HOST, port), PATIENCE) as plain:
                client = SSL.Connection(context, plain)
                plain.settimeout(None)
                client.set_connect_state()
                client.do_handshake()
                before = client.master_key()
                client.renegotiate()
                with contextlib.suppress(SSL.Error):
                    client.do_handshake()
                    client.send(b"x")
                return "refused" if client.master_key() == before else "accepted"

        result = yield deferToThread(renegotiate)
        self.assertEqual(result, "refused")
        yield self.served.lost

    @inlineCallbacks
    def test_paused(self) -> Any:
        """Nothing is read while the protocol has paused; then nothing is missing."""

        def say(secure: ssl.SSLSocket) -> None:
            secure.sendall(MUCH)
            secure.unwrap().close()

        done = self.talk(say)
        yield self.accepted
        below = self.below()
        below.pauseProducing()
        yield deferLater(self.reactor, 0)
        self.assertEqual(self.served.got, b"")
        below.resumeProducing()
        yield done
        yield self.served.lost
        self.assertEqual(self.served.got, MUCH)

    def test_names_of_pyopenssl(self) -> None:
        """The private names that ``send`` uses."""
        self.assertTrue(callable(SSL._lib.SSL_write))  # type: ignore[attr-defined]
        made = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None)
        self.assertTrue(hasattr(made, "_ssl"))


class Script:
    """Stands in for pyOpenSSL's connection: the test decides what OpenSSL wants.

    :ivar wants: raised by the next calls, by the method's name
    :ivar sent: the bytes that were taken, and ``bye`` for close_notify
    """

    _ssl = None

    def __init__(self) -> None:
        self.wants: dict[str, list[Exception]] = {}
        self.arrived: list[bytes] = []
        self.sent: list[bytes] = []

    def _step(self, method: str) -> None:
        if self.wants.get(method):
            raise self.wants[method].pop(0)

    def do_handshake(self) -> None:
        self._step("do_handshake")

    def recv(self, size: int) -> bytes:
        self._step("recv")
        if not self.arrived:
            raise SSL.WantReadError
        return self.arrived.pop(0)

    def send(self, data: memoryview) -> int:
        self._step("send")
        self.sent.append(bytes(data[:10]))
        return min(10, len(data))

    def shutdown(self) -> bool:
        self._step("shutdown")
        self.sent.append(b"bye")
        return False


class ScriptedTests(SynchronousTestCase):
    """What OpenSSL may want, which real clients hardly make it want."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.script = Script()
        self.socket = Socket()
        factory: Any = SimpleNamespace(tls=SimpleNamespace(accepted=lambda *_: self.script))
        self.served = test_transport.Served(Deferred())
        peer: Any = ("192.0.2.1", 5000)
        self.transport = DirectTlsServer(
            factory, cast(Any, self.socket), self.served, peer, cast(Any, None), 1, cast(Any, self.loop)
        )
        self.served.makeConnection(self.transport)

    def read(self) -> None:
        """Let the reactor find the socket readable."""
        reason = self.transport.doRead()
        if reason is not None:
            self.transport.connectionLost(Failure(reason))

    @property
    def writes(self) -> bool:
        """Whether the reactor waits for room in the socket."""
        return self.transport in self.loop.writers

    def test_handshake_wants_room(self) -> None:
        """A handshake that the socket has no room for goes on when it has."""
        self.script.wants["do_handshake"] = [SSL.WantWriteError(), SSL.WantWriteError()]
        self.script.arrived.append(b"hello")
        self.read()
        for expected in (b"", b"hello"):
            self.assertTrue(self.writes)
            self.loop.turn()
            self.assertEqual(self.served.got, expected)
        self.assertFalse(self.writes)

    def test_read_wants_room(self) -> None:
        self.read()
        self.script.wants["recv"] = [SSL.WantWriteError()]
        self.script.arrived.append(b"hello")
        self.read()
        self.assertEqual((self.served.got, self.writes), (b"", True))
        self.loop.turn()
        self.assertEqual((self.served.got, self.writes), (b"hello", False))

    def test_write_wants_to_read(self) -> None:
        """A write that waits for the client does not keep the reactor busy, and goes on after the next read."""
        self.read()
        self.script.wants["send"] = [SSL.WantReadError()]
        self.transport.write(b"0123456789abc")
        self.loop.turn()
        self.assertEqual((self.script.sent, self.writes), ([], False))
        self.read()
        self.loop.turn()
        self.assertEqual((self.script.sent, self.writes), ([b"0123456789", b"abc"], False))
        self.assertEqual((self.transport.buffered, self.served.emptied), (0, 1))

    def test_write_before_the_handshake(self) -> None:
        self.script.wants["do_handshake"] = [SSL.WantReadError()]
        self.read()
        self.transport.write(b"x")
        self.loop.turn()
        self.assertEqual((self.script.sent, self.writes), ([], False))
        self.read()
        self.loop.turn()
        self.assertEqual(self.script.sent, [b"x"])

    def test_partly_written(self) -> None:
        """What one record took is progress; the rest follows when there is room."""
        self.read()
        self.transport.write(b"0123456789abc")
        self.transport.observer = observer = test_transport.Tells(lambda: None)
        self.script.wants["send"] = [SSL.WantWriteError()]
        self.loop.turn()
        self.assertEqual((self.transport.buffered, observer.progress), (13, 0))
        self.script.wants["send"] = []
        self.loop.turn()
        self.assertEqual((self.transport.buffered, self.script.sent), (0, [b"0123456789", b"abc"]))

    def test_close_wants_room(self) -> None:
        """close_notify comes once, after what is queued, and as soon as there is room."""
        self.read()
        self.transport.write(b"x")
        self.script.wants["shutdown"] = [SSL.WantWriteError()]
        self.transport.loseConnection()
        self.transport.loseConnection()
        for _ in range(3):
            self.loop.turn()
        self.assertEqual((self.script.sent, self.writes), ([b"x", b"bye"], False))
        self.assertFalse(self.served.lost.called)
        self.script.wants["recv"] = [SSL.ZeroReturnError()]
        self.read()
        self.assertTrue(self.served.lost.called)

    def test_error(self) -> None:
        """An error of OpenSSL loses the connection; bytes that came before it are delivered."""
        self.read()
        self.script.arrived.append(b"hello")
        error = SSL.Error([])
        recv = self.script.recv

        def fail(size: int) -> bytes:
            if not self.script.arrived:
                raise error
            return recv(size)

        self.patch(self.script, "recv", fail)
        self.read()
        self.assertEqual((self.served.got, self.served.lost.called), (b"hello", True))

    def test_write_error(self) -> None:
        self.read()
        self.script.wants["send"] = [SSL.SysCallError(32, "EPIPE")]
        self.transport.write(b"x")
        self.loop.turn()
        self.assertTrue(self.served.lost.called)
        self.assertRaises(OSError, self.transport.send, b"x")
