"""TLS of the commands over real sockets: trusted certificates, and errors for servers without TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString, wrapClientTLS
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from airyd.cli import admin_client
from airyd.cli.admin_client import AdminClient, RequestFailed
from airyd.cli.tail import Tail
from airyd.cli.tls import Authorities
from airyd.errors import ConfigurationError
from tests.cli.fakes import Screen
from tests.sources.redis.case import until
from tests.sources.redis.certificates import Certificates

reactor: Any = installed
UNSURE = "it may have been done"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhere\n"


class Server(Protocol):
    """Reacts to the first bytes that it receives."""

    factory: Serving

    def connectionMade(self) -> None:
        self.factory.open.append(self)
        self.send(self.factory.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data
        self.factory.answer(self)

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open.remove(self)

    def send(self, data: bytes) -> None:
        if data and self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class Serving(Factory):
    """Makes servers that all react in the same way.

    :param answer: called with a server that something has come to
    :param greeting: sent to each client that connects
    """

    protocol = Server  # type: ignore[assignment]  # Twisted's type asks for an Optional factory
    noisy = False

    def __init__(self, answer: Callable[[Server], object], greeting: bytes = b"") -> None:
        self.answer = answer
        self.greeting = greeting
        self.received = b""
        self.open: list[Server] = []


def refuse(server: Server) -> None:
    """Answer with an HTTP error that says where it comes from."""
    server.send(REFUSAL)


class TlsCase(TestCase):
    """Servers on the loopback interface, and both kinds of clients."""

    timeout = 60

    def certificates(self, authority: str = "airyd's tests") -> Certificates:
        directory = Path(self.mktemp())
        directory.mkdir()
        return Certificates(directory, authority)

    async def serve(self, factory: Serving, pair: tuple[str, str] | None = None) -> int:
        """Listen, with TLS if there is a certificate; return the port."""
        kind = "tcp" if pair is None else "ssl"
        files = "" if pair is None else f":certKey={pair[0]}:privateKey={pair[1]}"
        port = await serverFromString(reactor, f"{kind}:0:interface=127.0.0.1{files}").listen(factory)
        self.addCleanup(self.close, port, factory)
        return int(port.getHost().port)

    async def close(self, port: Any, factory: Serving) -> None:
        """End everything, so that no socket outlives the test."""
        await port.stopListening()
        for server in list(factory.open):
            ITCPTransport(server.transport).abortConnection()
        await until(reactor, lambda: not factory.open)

    async def tailed(self, url: str, ca_file: str | None = None, host: str = "localhost") -> str:
        """Let ``airyd tail`` connect once; return what it said of that."""
        screen = Screen("airyd tail")
        tls = Authorities(ca_file).connections(host) if url.startswith("wss:") else None
        port = int(url.rpartition(":")[2].partition("/")[0])
        plain = HostnameEndpoint(reactor, "127.0.0.1", port)
        endpoint = plain if tls is None else wrapClientTLS(tls, plain)
        retrying: Deferred[None] = Deferred()

        def policy(failures: int) -> float:
            retrying.callback(None)
            return 3600.0

        tail = Tail(
            reactor, endpoint, url, ["/queue/message"], screen.console, lambda event: None, None, policy, tls=tls
        )
        running = Deferred.fromCoroutine(tail.run())
        running.addErrback(lambda failure: None)
        await until(reactor, lambda: running.called or retrying.called)
        running.cancel()
        (line,) = screen.err.text.splitlines()
        return line.removeprefix("airyd tail: ").removesuffix("; trying again in 3600.0 s")

    async def posted(self, url: str, ca_file: str | None = None) -> str:
        """Post something; return why that failed."""
        client = AdminClient(url, lambda: 0, None, ca_file)
        self.addCleanup(client.close)
        try:
            reply = await deferToThread(client.post, "x", b"{}", UNSURE)
        except RequestFailed as error:
            return str(error)
        return reply.reason

    async def both(self, port: int, tls: bool, ca_file: str | None = None) -> tuple[str, str]:
        """Return what both kinds of clients say of a server."""
        s = "s" if tls else ""
        return await self.tailed(f"ws{s}://localhost:{port}", ca_file), await self.posted(
            f"http{s}://localhost:{port}", ca_file
        )


class CertificateTests(TlsCase):
    """Accepted certificates, and the errors for others."""

    async def check(self, said: str, pair: tuple[str, str], ca_file: str | None) -> None:
        """Both clients refuse a certificate, and send nothing to its server."""
        factory = Serving(refuse)
        port = await self.serve(factory, pair)
        tailed, posted = await self.both(port, True, ca_file)
        self.assertEqual(tailed, f"the certificate of localhost {said}")
        self.assertEqual(posted, f"cannot reach https://localhost:{port}: the certificate of localhost {said}")
        self.assertEqual(factory.received, b"")

    async def test_good(self) -> None:
        ours = self.certificates()
        port = await self.serve(Serving(refuse), (ours.server, ours.server_key))
        for said in await self.both(port, True, ours.ca):
            self.assertIn("503 Service Unavailable: here", said)

    async def test_by_address(self) -> None:
        ours = self.certificates()
        port = await self.serve(Serving(refuse), (ours.server, ours.server_key))
        self.assertIn("503", await self.posted(f"https://127.0.0.1:{port}", ours.ca))
        other = await self.serve(Serving(refuse), ours.issue("other", "localhost"))
        said = await self.posted(f"https://127.0.0.1:{other}", ours.ca)
        self.assertIn("the certificate of 127.0.0.1 is for another name", said)

    async def test_unknown_authority(self) -> None:
        """The option that helps is named, or the file that does not."""
        ours, others, namesake = self.certificates(), self.certificates("others"), self.certificates()
        pair = (ours.server, ours.server_key)
        await self.check("is not signed by an authority that this machine trusts: name it with --ca-file", pair, None)
        await self.check("is not signed by an authority of the --ca-file", pair, others.ca)
        await self.check("is not signed by an authority of the --ca-file", pair, namesake.ca)

    async def test_another_name(self) -> None:
        ours = self.certificates()
        pair = ours.issue("other", "airy.example", "*.airy.example")
        await self.check("is for another name: use the name that it is for", pair, ours.ca)

    async def test_expired(self) -> None:
        ours = self.certificates()
        await self.check("has expired", ours.issue("old", "localhost", days=(-9, -1)), ours.ca)

    async def test_not_yet_valid(self) -> None:
        ours = self.certificates()
        said = "is broken, or not valid yet (is this machine's clock right?)"
        await self.check(said, ours.issue("new", "localhost", days=(1, 9)), ours.ca)

    async def test_connection_after_connection(self) -> None:
        """The fault of one certificate is not reported for the next."""
        ours = self.certificates()
        authorities = Authorities(ours.ca)
        tls = authorities.connections("localhost")
        for pair, is_good in [
            (ours.issue("old", "localhost", days=(-9, -1)), False),
            ((ours.server, ours.server_key), True),
        ]:
            port = await self.serve(Serving(refuse), pair)
            done: Deferred[object] = Deferred()
            await wrapClientTLS(tls, HostnameEndpoint(reactor, "127.0.0.1", port)).connect(
                Factory.forProtocol(Waiting(done))
            )
            reason: Any = await done
            self.assertEqual(tls.reason(reason, "https://localhost") is None, is_good)

    async def test_ca_file(self) -> None:
        """The file may have several authorities; a file without any is refused with its name."""
        ours, others = self.certificates(), self.certificates("others")
        path = Path(self.mktemp())
        end = b"-----BEGIN CERTIFICATE-----\ncut off\n"
        path.write_bytes("# für uns\n".encode() + Path(others.ca).read_bytes() + Path(ours.ca).read_bytes() + end)
        port = await self.serve(Serving(refuse), (ours.server, ours.server_key))
        self.assertIn("503", await self.posted(f"https://localhost:{port}", str(path)))
        for content in (b"", b"x", Path(ours.server_key).read_bytes(), Path(ours.ca).read_bytes().replace(b"M", b"?")):
            path.write_bytes(content)
            error = self.assertRaises(ConfigurationError, Authorities, str(path))
            self.assertTrue(str(error).startswith(f"--ca-file {path}: "), error)


class Waiting(Protocol):
    """Sends bytes, and reports how the connection ended."""

    def __init__(self, done: Deferred[object]) -> None:
        self._done = done

    def __call__(self) -> Waiting:
        return self

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.write(b"x")

    def dataReceived(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._done.callback(reason.value)


class OtherPortTests(TlsCase):
    """A port with another protocol is reported at once, not as a time-out."""

    async def test_tls_to_a_plain_port(self) -> None:
        """HTTP servers answer TLS with an error, or close the connection."""
        port = await self.serve(Serving(refuse))
        tailed, posted = await self.both(port, True)
        self.assertEqual(tailed, "the server does not speak TLS on this port: use ws://")
        self.assertIn("the server does not speak TLS on this port: use http://", posted)
        port = await self.serve(Serving(Server.close))
        tailed, posted = await self.both(port, True)
        self.assertEqual(tailed, "the server ends the TLS handshake; if it does not speak TLS on this port, use ws://")
        self.assertIn("if it does not speak TLS on this port, use http://", posted)
        self.assertNotIn(UNSURE, posted)

    async def test_plain_to_a_tls_port(self) -> None:
        ours = self.certificates()
        port = await self.serve(Serving(refuse), (ours.server, ours.server_key))
        tailed, posted = await self.both(port, False)
        self.assertIn("use wss://", tailed)
        self.assertIn("use https://", posted)

    async def test_other_protocols(self) -> None:
        """Such as Redis, or SSH, which greets."""
        for factory in (
            Serving(lambda server: server.send(b"-ERR unknown\r\n")),
            Serving(Server.close, b"SSH-2.0-x\r\n"),
        ):
            port = await self.serve(factory)
            tailed, posted = await self.both(port, False)
            self.assertIn("the server does not speak HTTP on this port: it says ", tailed)
            self.assertEqual(
                posted, f"cannot reach http://localhost:{port}: the server does not speak HTTP on this port"
            )
            tailed, posted = await self.both(port, True)
            self.assertEqual(tailed, "the server does not speak TLS on this port: use ws://")
            self.assertNotIn(UNSURE, posted)

    async def test_silent(self) -> None:
        """A server that never answers the TLS handshake was sent no request."""
        factory = Serving(lambda server: None)
        port = await self.serve(factory)
        self.patch(admin_client, "_CONNECT_PATIENCE", 0.2)
        said = await self.posted(f"https://localhost:{port}")
        self.assertRegex(said, "does not answer the TLS handshake; .* use http://")
        self.assertNotIn(UNSURE, said)

    async def test_lost_after_the_handshake(self) -> None:
        """The request may have arrived by then."""
        ours = self.certificates()
        port = await self.serve(Serving(Server.close), (ours.server, ours.server_key))
        said = await self.posted(f"https://localhost:{port}", ours.ca)
        self.assertEqual(said, f"the connection was lost before the answer; {UNSURE}")
