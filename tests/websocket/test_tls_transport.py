"""TLS on accepted connections: all that plain TCP does, and what is TLS' own, over real sockets with small buffers."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import SSL4ClientEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from airyd.tls import ReplaceableTls, TlsFactory, server_tls
from airyd.websocket.tls_transport import DirectTlsServer
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
        """Nothing can be sent directly before the handshake; what is written follows it."""
        taken: list[int] = []

        def write(_: None) -> None:
            taken.append(self.below().direct(b"ab"))
            self.below().write(b"ab")

        self.accepted.addCallback(write)
        got = yield self.talk(lambda secure: secure.recv(10))
        self.assertEqual((taken, got), ([0], b"ab"))
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
