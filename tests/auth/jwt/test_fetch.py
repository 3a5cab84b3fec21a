"""Documents from real HTTP servers, well-behaved and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet import reactor as installed
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from airyd.auth.jwt.fetch import PATIENCE, FetchFailed, fetch, make_agent
from airyd.auth.jwt.keys import MOST_BYTES
from tests.doubles import record_log
from tests.sources.redis.case import until
from tests.sources.redis.certificates import Certificates

reactor = IReactorTime(installed)


class Answering(Protocol):
    """A server that answers the first bytes with something, and keeps or closes the connection."""

    factory: AnsweringFactory

    def connectionMade(self) -> None:
        self.factory.open += 1

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.factory.requests.append(data)
        self.transport.write(self.factory.answer)
        if self.factory.closes:
            self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open -= 1


class AnsweringFactory(Factory):
    """The answer on all connections."""

    protocol = Answering  # type: ignore[assignment]  # Twisted's type is wider
    noisy = False

    def __init__(self, answer: bytes, closes: bool) -> None:
        self.answer = answer
        self.closes = closes
        self.requests: list[bytes] = []
        self.open = 0


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


class FetchTests(TestCase):
    """Results of a fetch."""

    async def serve(
        self, answer: bytes, closes: bool = True, description: str = "tcp:0:interface=127.0.0.1"
    ) -> tuple[AnsweringFactory, int]:
        """Listen; return the factory and the port."""
        factory = AnsweringFactory(answer, closes)
        port: IListeningPort = await serverFromString(installed, description).listen(factory)
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: Deferred.fromCoroutine(self._closed(lambda: factory.open == 0)))
        return factory, int(cast(IPv4Address, port.getHost()).port)

    async def _closed(self, condition: Callable[[], bool]) -> None:
        await until(reactor, condition)

    async def said(self, answer: bytes, closes: bool = True) -> str:
        """Return why a fetch of this answer failed."""
        _, port = await self.serve(answer, closes)
        return await self.failure(f"http://127.0.0.1:{port}/keys")

    async def fetch(self, url: str, ca_file: str | None = None, clock: IReactorTime = reactor) -> bytes:
        """Fetch a document from a server that one of these authorities, or the system, knows."""
        authorities = None if ca_file is None else Path(ca_file).read_bytes()
        return await fetch(make_agent(reactor, url, authorities), clock, url)

    async def failure(self, url: str, ca_file: str | None = None) -> str:
        """Return why a fetch failed."""
        try:
            await self.fetch(url, ca_file)
        except FetchFailed as error:
            self.assertEqual(len(str(error).splitlines()), 1)
            return str(error)
        raise AssertionError("it did not fail")

    async def test_whole(self) -> None:
        factory, port = await self.serve(http(b"keys"))
        self.assertEqual(await self.fetch(f"http://127.0.0.1:{port}/a?b=c"), b"keys")
        (request,) = factory.requests
        self.assertTrue(request.startswith(b"GET /a?b=c HTTP/1.1\r\n"), request)

    async def test_without_length(self) -> None:
        _, port = await self.serve(b"HTTP/1.1 200 OK\r\n\r\nkeys")
        self.assertEqual(await self.fetch(f"http://127.0.0.1:{port}/"), b"keys")

    async def test_other_answers(self) -> None:
        for status in ("404 Not Found", "500 Oops", "204 No Content", "301 Moved", "302 Found"):
            answer = http(b"x", status, "Location: /elsewhere")
            self.assertEqual(await self.said(answer), f"the server answers with {status[:3]}")

    async def test_too_big(self) -> None:
        """A document over the limit is aborted at the limit, whatever its Content-Length."""
        body = b"x" * (MOST_BYTES + 1)
        self.assertIn(f"more than {MOST_BYTES}", await self.said(http(body), closes=False))
        self.assertIn(f"more than {MOST_BYTES}", await self.said(b"HTTP/1.1 200 OK\r\n\r\n" + body, closes=False))

    async def test_cut(self) -> None:
        self.assertIn("connection", await self.said(http(b"keys")[:-1]))
        self.assertIn("connection", await self.said(b"HTTP/1.1 200"))
        self.assertIn("connection", await self.said(b""))

    async def test_no_http(self) -> None:
        self.assertIn("cannot be read as HTTP", await self.said(b"220 mail\r\n"))

    async def test_nobody_there(self) -> None:
        _, port = await self.serve(b"")
        self.assertIn("cannot connect", await self.failure(f"http://127.0.0.1:{port}/".replace("127.0.0.1", "[::1]")))

    async def test_silent(self) -> None:
        """One timeout covers the whole fetch and closes the connection."""
        for answer in (b"", http(b"keys")[:-1]):
            await self.give_up(answer)

    async def give_up(self, answer: bytes) -> None:
        """Fetch what stops after this, and see the end of it."""
        factory, port = await self.serve(answer, closes=False)
        clock = Clock()
        fetching = Deferred.fromCoroutine(self.fetch(f"http://127.0.0.1:{port}/", clock=clock))
        await until(reactor, lambda: factory.requests)
        clock.advance(PATIENCE - 1)
        self.assertNoResult(fetching)
        clock.advance(1)
        with self.assertRaisesRegex(FetchFailed, "10 s"):
            await fetching
        await until(reactor, lambda: factory.open == 0)

    async def test_cancelled(self) -> None:
        """Before an answer, and within one."""
        for answer in (b"", http(b"keys")[:-1]):
            await self.check_cancelled(answer)

    async def check_cancelled(self, answer: bytes) -> None:
        """Cancel a request that the server has received and answers with this."""
        factory, port = await self.serve(answer, closes=False)
        fetching = Deferred.fromCoroutine(self.fetch(f"http://127.0.0.1:{port}/"))
        await until(reactor, lambda: factory.requests)
        fetching.cancel()
        with self.assertRaises(CancelledError):
            await fetching
        await until(reactor, lambda: factory.open == 0)

    async def test_https(self) -> None:
        """Only certificates of the given authorities, or of the system's, are trusted."""
        directories = [Path(self.mktemp()) for _ in range(2)]
        for directory in directories:
            directory.mkdir()
        ours, others = map(Certificates, directories)
        description = f"ssl:0:interface=127.0.0.1:certKey={ours.server}:privateKey={ours.server_key}"
        _, port = await self.serve(http(b"keys"), description=description)
        url = f"https://localhost:{port}/keys"
        self.assertEqual(await self.fetch(url, ours.ca), b"keys")
        for ca_file in (None, others.ca):
            self.assertTrue((await self.failure(url, ca_file)).startswith("TLS: "))

    async def test_tls_troubles(self) -> None:
        """Each is said in plain words."""
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        tls = f"ssl:0:interface=127.0.0.2:certKey={files.server}:privateKey={files.server_key}"
        _, port = await self.serve(http(b"keys"), description=tls)
        self.assertIn("for another host name", await self.failure(f"https://127.0.0.2:{port}/keys", files.ca))
        _, port = await self.serve(http(b"keys"))
        self.assertIn("TLS: ", await self.failure(f"https://127.0.0.1:{port}/keys", files.ca))
        _, port = await self.serve(b"")
        self.assertIn("closed the connection", await self.failure(f"https://127.0.0.1:{port}/keys", files.ca))

    async def test_log_says_nothing(self) -> None:
        """Twisted's own messages about connections are not logged."""
        answers = (http(b"keys"), b"", b"220 mail\r\n")
        ports = [(await self.serve(answer))[1] for answer in answers]
        log = record_log(self)
        self.assertEqual(await self.fetch(f"http://127.0.0.1:{ports[0]}/keys"), b"keys")
        for port in ports[1:]:
            await self.failure(f"http://127.0.0.1:{port}/keys")
        self.assertEqual(log, [])
