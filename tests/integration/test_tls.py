"""``ssl:`` endpoints for clients and the admin page, with Chromium, curl, node, OpenSSL, and clients without TLS."""

from __future__ import annotations

import atexit
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from tests.integration import test_slow
from tests.integration.case import DaemonTestCase
from tests.integration.chromium import Chromium
from tests.integration.daemon import COMPLAINTS, Daemon, read_until, start_twistd
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import RawClient
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import own_prefix, shared_server

_SECURE: Final = re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/")
_ADMIN: Final = re.compile(r"airyd admin at https://127\.0\.0\.1:(\d+)/")
#: A fatal alert (RFC 8446, section 6) with the description no_application_protocol (RFC 7301, section 3.2).
NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"


@cache
def certificates() -> Certificates:
    """Return certificates for all tests of this file; they exist until the process ends."""
    directory = tempfile.mkdtemp(prefix="airyd-test-")
    atexit.register(shutil.rmtree, directory)
    return Certificates(Path(directory))


def endpoint() -> str:
    """Return an endpoint string with these certificates."""
    files = certificates()
    return f"ssl:0:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}"


class TlsCase(DaemonTestCase):
    """A daemon that also listens with TLS."""

    #: Additional options of the daemon.
    more: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        """Find the port for TLS."""
        self.files = certificates()
        type(self).options = (f"--listen={endpoint()}", "--origin=*", *self.more)
        super().setUp()
        self.port = int(self.daemon.wait_for_log(_SECURE)[1])
        self.url = f"wss://localhost:{self.port}/ws.communication"

    def wrapped(self, *offered: str) -> ssl.SSLSocket:
        """Return a TLS connection after its handshake; it offers these protocols by ALPN."""
        context = ssl.create_default_context(cafile=self.files.ca)
        if offered:
            context.set_alpn_protocols(offered)
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(plain.close)
        secure = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(secure.close)
        return secure

    def curl(self, url: str) -> Iterator[subprocess.CompletedProcess[str]]:
        """Request the URL with curl, which offers ``h2`` and ``http/1.1``, then the latter alone, then nothing."""
        for offer in ("--http2", "--http1.1", "--no-alpn"):
            yield subprocess.run(
                ["curl", "-sS", offer, "--cacert", self.files.ca, "-w", " %{http_code} %{http_version}", url],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )

    def check_serves(self) -> None:
        """Check that the endpoint still serves: a WebSocket can be opened."""
        secure = self.wrapped("http/1.1")
        request = RawClient(self.daemon.port)
        request.abort()
        secure.sendall(request.request.replace(str(self.daemon.port).encode(), str(self.port).encode()))
        self.assertTrue(secure.recv(100).startswith(b"HTTP/1.1 101 "))

    def refusal(self, *offered: str) -> bytes:
        """Send a ClientHello with these protocols; return the server's bytes until it closes."""
        context = ssl.create_default_context(cafile=self.files.ca)
        context.set_alpn_protocols(offered)
        out = ssl.MemoryBIO()
        client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        return self.answer(out.read())

    def answer(self, said: bytes, port: int | None = None) -> bytes:
        """Send bytes; return the server's bytes until it closes."""
        with socket.create_connection(("127.0.0.1", port or self.port), PATIENCE) as plain:
            plain.sendall(said)
            got = b""
            while more := plain.recv(1000):
                got += more
            return got


class ClientTests(TlsCase):
    """Real clients."""

    def test_chromium(self) -> None:
        """Chromium offers ``http/1.1`` for a WebSocket, and requires that it is chosen."""
        browser = Chromium(self.url, MESSAGE, certificate=self.files.server)
        self.addCleanup(browser.close)
        self.assertEqual(browser.wait("open")["protocol"], "v12.stomp")
        browser.wait("live")
        self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(browser.wait("message")["body"].encode(), body(MESSAGE, 1))

    def test_node(self) -> None:
        """The ws package, without ALPN and with various protocols."""
        for alpn in (None, ["http/1.1"], ["h2", "http/1.1"]):
            client = NodeClient(
                "airy.mjs", url=self.url, destinations=[MESSAGE], stompjs=7, ca=self.files.ca, alpn=alpn
            )
            self.addCleanup(client.close)
            client.wait("receipt")
            self.daemon.publish(MESSAGE, body(MESSAGE, 2))
            self.assertEqual(body_of(client.wait("message")), body(MESSAGE, 2))
            self.assertEqual(client.told("trouble"), [])

    def test_curl(self) -> None:
        """curl offers ``h2`` and ``http/1.1``, and gets the latter."""
        url = self.url.replace("wss:", "https:")
        for done in self.curl(url):
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.endswith(" 426 1.1"), done.stdout)

    def openssl(self, *options: str) -> subprocess.CompletedProcess[bytes]:
        """Send a request with ``openssl s_client``."""
        return subprocess.run(
            ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{self.port}", "-CAfile", self.files.ca, *options],
            input=b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def test_openssl(self) -> None:
        for options in ((), ("-alpn", "http/1.1"), ("-alpn", "h2,http/1.1"), ("-tls1_2",), ("-tls1_3",)):
            done = self.openssl("-verify_return_error", *options)
            self.assertIn(b"HTTP/1.1 ", done.stdout, done.stderr)
        done = self.openssl("-alpn", "h2")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, b"")
        self.check_serves()

    def test_alpn(self) -> None:
        """``http/1.1`` is chosen; a client that does not offer it gets an alert."""
        for offered, chosen in ((("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1"), ((), None)):
            self.assertEqual(self.wrapped(*offered).selected_alpn_protocol(), chosen)
        for _ in range(3):
            self.assertEqual(self.refusal("h2"), NO_APPLICATION_PROTOCOL)
        self.check_serves()


class WorkersTests(ClientTests):
    """The same with two workers."""

    def setUp(self) -> None:
        """Choose a source for the workers."""
        if not self.more:
            source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
            type(self).more = ("--workers=2", source)
        super().setUp()


class SlowTests(TlsCase, test_slow.SlowClientTests):
    """Clients that read slowly, over TLS."""

    more = test_slow.SlowClientTests.options

    def open(self, daemon: Daemon | None = None, **options: Any) -> RawClient:
        """Open a WebSocket over TLS."""
        client = RawClient(self.port, **options)
        self.addCleanup(client.abort)
        client.start_tls()
        client.handshake()
        return client

    def test_lost(self) -> None:
        """Clients close or reset the connection in the middle of events."""
        self.daemon.wait_for_metrics(connections=0)
        before = len(self.daemon.log)
        staying = self.connect()
        staying.subscribe(MESSAGE, "0")
        for number in range(30):
            client = self.connect()
            client.subscribe(MESSAGE, "0")
            self.daemon.publish(MESSAGE, body(MESSAGE, number, "x" * 20_000))
            (client.abort, client.reset)[number % 2]()
            self.assertEqual(number_of(staying.message("0").body), number)
        staying.disconnect()
        self.daemon.wait_for_metrics(connections=0)
        self.assertEqual(COMPLAINTS.findall(self.daemon.log[before:]), [])


class SessionTests(TlsCase):
    """What TLS does between a client and the server after the first handshake."""

    def resumed(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        """Connect with a session; return whether it was resumed, and the next one."""
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(secure.recv(100).startswith(b"HTTP/1.1 "))
            return bool(secure.session_reused), secure.session

    def test_tickets(self) -> None:
        """A client that comes back resumes its session, with TLS 1.2 and 1.3."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.files.ca)
            context.maximum_version = version
            is_resumed, session = self.resumed(context, None)
            for _ in range(2):
                self.assertIsNotNone(session)
                self.assertEqual(is_resumed, False)
                is_resumed, session = self.resumed(context, session)
                self.assertTrue(is_resumed, version)
                is_resumed = False

    def test_key_update(self) -> None:
        """A client of TLS 1.3 asks for new keys (RFC 8446, section 4.6.3), and is served with them."""
        with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", self.files.ca, "-tls1_3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client:
            self.addCleanup(client.kill)
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write(b"K\n")
            client.stdin.flush()
            said = b""
            while b"KEYUPDATE" not in said:  # the command is done; input from now on goes to the server
                line = client.stdout.readline()
                self.assertTrue(line, said)
                said += line
            client.stdin.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.stdin.flush()
            self.assertIn(b"HTTP/1.1 404 ", client.stdout.read())


class NoTlsTests(TlsCase):
    """Connections without TLS, or with an unfinished handshake, are closed without a log line each."""

    def setUp(self) -> None:
        """Wait until the clients of earlier tests are gone, and note the end of the log."""
        super().setUp()
        self.daemon.wait_for_metrics(connections=0)
        self.before = len(self.daemon.log)

    def check(self) -> None:
        """Check that the connections are gone, have added no lines to the log, and that the endpoint still serves."""
        self.daemon.wait_for_metrics(connections=0)
        self.assertEqual(self.daemon.log[self.before :], "")
        self.check_serves()

    def test_http(self) -> None:
        for said in (
            b"GET /ws.communication HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\0" * 100,
            b"\x16\x03\x01\xff\xff",
        ):
            for _ in range(3):
                self.assertNotIn(b"HTTP/", self.answer(said))
        self.check()

    def test_no_common_protocol(self) -> None:
        for _ in range(3):
            self.assertEqual(self.refusal("h2"), NO_APPLICATION_PROTOCOL)
        self.check()

    def test_aborted(self) -> None:
        """Clients close or reset the connection in the middle of the handshake."""
        context = ssl.create_default_context(cafile=self.files.ca)
        out = ssl.MemoryBIO()
        client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        hello = out.read()
        for said in (b"", hello[:50], hello):
            for is_reset in (False, True):
                plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
                plain.sendall(said)
                if said == hello:
                    self.assertTrue(plain.recv(100))
                if is_reset:  # with a linger time of 0 the close is a reset
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                plain.close()
        self.check()


class TimeTests(TlsCase):
    """Clients that wait for the server."""

    more = ("--connect-timeout=2",)

    def test_silent(self) -> None:
        """``--connect-timeout`` covers the TLS handshake, too."""
        with contextlib.ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection(("127.0.0.1", self.port), PATIENCE)) for _ in range(2)
            ]
            silent[1].sendall(b"\x16\x03\x01\x00\xff")
            for plain in silent:
                with contextlib.suppress(ConnectionResetError):  # the connection is gone all the same
                    self.assertEqual(plain.recv(100), b"")
        self.daemon.wait_for_metrics(connections=0)
        self.wrapped()

    def test_tls_to_a_plain_port(self) -> None:
        """A client that begins with TLS on a port without it gets an error at once."""
        context = ssl.create_default_context(cafile=self.files.ca)
        with socket.create_connection(("127.0.0.1", self.daemon.port), PATIENCE) as plain:
            error = self.assertRaises(OSError, context.wrap_socket, plain, server_hostname="localhost")
            self.assertNotIsInstance(error, TimeoutError)
        self.wrapped()


class AdminTests(TlsCase):
    """The admin page by TLS."""

    def test_curl(self) -> None:
        with start_twistd(f"--admin={endpoint()}", "--listen=tcp:0:interface=127.0.0.1") as process:
            self.addCleanup(process.kill)
            found, log = read_until(process, _ADMIN)
            url = f"https://localhost:{found[1]}/healthz"
            for done in self.curl(url):
                self.assertEqual((done.stdout, done.stderr), ("ok 200 1.1", ""))
            process.terminate()
            log += process.communicate(timeout=PATIENCE)[0]
            self.assertEqual((process.returncode, COMPLAINTS.findall(log)), (0, []))
