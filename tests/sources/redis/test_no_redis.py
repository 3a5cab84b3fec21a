"""Where something else answers than a Redis, or TLS does not come about: the log says so in words, once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet import reactor as installed
from twisted.internet import ssl
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from airyd.events import MESSAGE
from airyd.hostnames import why_not_connected
from airyd.interfaces import SourceContext
from airyd.sources import make_source
from airyd.sources.redis.trouble import why_lost, why_no_redis, why_silent
from tests.doubles import record_log
from tests.sources.redis.case import has_tried, until
from tests.sources.redis.certificates import Certificates
from tests.sources.support import START, RecordingSink

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class _Server(Protocol):
    """Says this to the first that it gets, or at once; or hangs up."""

    greeting: bytes | None = None
    answer: bytes | None = None

    def connectionMade(self) -> None:
        if self.greeting is not None:
            cast(Any, self.transport).write(self.greeting)
        elif self.answer is None:
            cast(Any, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.answer is not None:
            cast(Any, self.transport).write(self.answer)


class ServersTests(TestCase):
    """Servers of several kinds."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = cast(Any, installed)
        self.events = record_log(self)
        directory = Path(self.mktemp())
        directory.mkdir()
        self.files = Certificates(directory)

    def serve(
        self,
        is_tls: bool = False,
        greeting: bytes | None = None,
        answer: bytes | None = None,
        interface: str = "127.0.0.1",
    ) -> int:
        """Return the port of a new server."""

        class Server(_Server):
            pass

        Server.greeting, Server.answer = greeting, answer
        factory = Factory.forProtocol(Server)
        if is_tls:
            pem = Path(self.files.server).read_bytes() + Path(self.files.server_key).read_bytes()
            options = ssl.PrivateCertificate.loadPEM(pem).options()
            port = self.reactor.listenSSL(0, factory, options, interface=interface)
        else:
            port = self.reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def said(self, url: str) -> str:
        """Return the log line for an unreachable source, and assert that it is not repeated."""
        source = make_source(url, SourceContext(self.reactor, lambda: START, (MESSAGE,), environ={}))
        starting = source.start(RecordingSink()).addErrback(lambda _: None)
        try:
            await until(self.reactor, lambda: has_tried(source))
        finally:
            await source.stop()
            await starting
        self.assertEqual(self.flushLoggedErrors(), [])
        warnings = [each for each in self.events if each["log_format"].startswith("not connected to {redis}")]
        self.assertEqual(len(warnings), len({each["purpose"] for each in warnings}))
        (trouble,) = {each["trouble"] for each in warnings}
        self.assertEqual(len(trouble.splitlines()), 1)
        self.events.clear()
        return str(trouble)

    async def test_web_servers(self) -> None:
        trusted = f"ca-file={self.files.ca}"
        for answer in (HTTP, b"<!DOCTYPE html>"):
            for url in (
                f"redis://localhost:{self.serve(answer=answer)}",
                f"rediss://localhost:{self.serve(is_tls=True, answer=answer)}?{trusted}",
            ):
                self.assertIn("a web server, not a Redis", await self.said(url))

    async def test_other_servers(self) -> None:
        for greeting in (b"SSH-2.0-x\r\n", b"220 mail\r\n", b"\x00\x01\x02\r\n"):
            self.assertIn("not a Redis", await self.said(f"redis://localhost:{self.serve(greeting=greeting)}"))
        # This one's words are replies of Redis', too.
        port = self.serve(answer=b"+OK hello\r\n")
        self.assertIn("not a Redis", await self.said(f"redis://localhost:{port}"))

    async def test_hang_up(self) -> None:
        self.assertIn("without an answer; if", await self.said(f"redis://localhost:{self.serve()}"))
        self.assertIn("write redis:", await self.said(f"rediss://localhost:{self.serve()}"))

    async def test_tls_here_and_not_there(self) -> None:
        self.assertIn("write rediss:", await self.said(f"redis://localhost:{self.serve(is_tls=True, answer=HTTP)}"))
        self.assertIn("write redis:", await self.said(f"rediss://localhost:{self.serve(greeting=b'+OK' * 9)}"))

    async def test_certificates(self) -> None:
        port = self.serve(is_tls=True, answer=HTTP)
        self.assertIn("is not trusted: ca-file", await self.said(f"rediss://localhost:{port}"))
        port = self.serve(is_tls=True, answer=HTTP, interface="127.0.0.2")
        self.assertIn("for another name", await self.said(f"rediss://127.0.0.2:{port}?ca-file={self.files.ca}"))


class WordsTests(SynchronousTestCase):
    """Each fault has a text that doesn't depend on the library's."""

    def test_lost(self) -> None:
        for error, scheme, is_secure, has_answered, words in (
            (ConnectionDone(), "redis", False, True, "the connection was lost"),
            (ConnectionLost(), "redis", False, True, "the connection was lost: "),
            (ConnectionDone(), "redis", False, False, "without an answer; if the server speaks TLS"),
            (ConnectionLost(), "redis", False, False, "without an answer; if the server speaks TLS"),
            (ConnectionDone(), "redis+unix", False, False, "without an answer"),
            (ConnectionLost(), "rediss", False, False, "instead of agreeing on TLS"),
            (ConnectionLost(), "rediss", True, False, "without an answer"),
            (VerificationError(errors=[]), "rediss", False, False, "for another name"),
            (TlsError([("a", "b", "certificate verify failed")]), "rediss", False, False, "ca-file"),
            (TlsError([("a", "b", "tlsv13 alert certificate required")]), "rediss", True, False, "cert-file"),
            (TlsError([("a", "b", "tlsv1 alert unknown ca")]), "rediss", True, False, "cert-file"),
            (TlsError([("a", "b", "wrong version number")]), "rediss", False, False, "does not speak TLS"),
            (TlsError([("a", "b", "something new")]), "rediss", False, False, "TLS failed: something new"),
            (TlsError(), "rediss", False, False, "TLS failed"),
        ):
            said = why_lost(error, scheme, is_secure, has_answered)
            self.assertIn(words, said)
            self.assertNotIn("(", said.partition("(")[2])

    def test_silent(self) -> None:
        self.assertEqual(why_silent(5.0, "redis", False), "no reply within 5 seconds")
        self.assertEqual(why_silent(5.0, "rediss", True), "no reply within 5 seconds")
        self.assertIn("write redis:", why_silent(5.0, "rediss", False))

    def test_something_else(self) -> None:
        self.assertIn("write rediss:", why_no_redis(b"\x15\x03\x01\x00\x02", "redis"))
        self.assertIn("not a Redis", why_no_redis(b"\x15\x03\x01\x00\x02", "redis+unix"))

    def test_not_connected(self) -> None:
        for error in (ConnectError(2), ConnectError(OSError(2, os.strerror(errno.ENOENT)))):
            self.assertEqual(why_not_connected(error, "h"), os.strerror(errno.ENOENT))
        self.assertEqual(why_not_connected(ValueError("a\n b"), "h"), "a b")
