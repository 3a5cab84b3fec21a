"""Clients' addresses behind real proxies: nginx and haproxy with headers, and haproxy with the PROXY protocol."""

from __future__ import annotations

import re
import socket
from typing import Final

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon, start_twistd
from tests.integration.fronts import Front
from tests.integration.raw import RawClient
from tests.integration.test_tls import endpoint
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

_SERVES: Final = re.compile(r"airyd serves (wss?)://127\.0\.0\.1:(\d+)/")
#: The client that the tests make up.
CLIENT: Final = "198.51.100.7"
SAYS: Final = f"PROXY TCP4 {CLIENT} 192.0.2.1 4000 443\r\n".encode()
NGINX: Final = ""  # the example of docs/operating.rst does it
HAPROXY: Final = "option forwardfor"
PROXY_ENDPOINT: Final = "haproxy:tcp:0:interface=127.0.0.1"
PUBLIC: Final = "--auth=anonymous:public"


class ProxyCase(DaemonTestCase):
    """Daemons with proxies in front of them."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def ports(self, daemon: Daemon, count: int) -> list[int]:
        """Return the ports of all endpoints, in the order of listening."""
        found = daemon.wait_for_log(re.compile(f"(?:{_SERVES.pattern}.*?){{{count}}}", re.DOTALL))
        return [int(port) for _, port in _SERVES.findall(found[0])]

    def front(self, name: str, port: int, **options: str | bool) -> Front:
        """Start a proxy whose clients may say which address they have."""
        front = Front(name, port, accepts_proxy=True, **options)  # type: ignore[arg-type]  # one type for all of them
        self.addCleanup(front.stop)
        return front

    def connected(self, front: Front, forwarded_for: str | None = None, begin: bytes = SAYS) -> RawClient:
        """Connect a client through a proxy.

        :param forwarded_for: the ``X-Forwarded-For`` that it sends
        :param begin: bytes before its request
        """
        client = RawClient(front.socket, headers={"X-Forwarded-For": forwarded_for})
        self.addCleanup(client.abort)
        client.request = begin + client.request
        client.handshake()
        client.connect()
        return client

    def wait_for_peer(self, daemon: Daemon, peer: str, start: int = 0) -> None:
        """Wait until the log says that a client with this address has connected and logged in."""
        daemon.wait_for_log(re.compile(rf"{re.escape(peer)} connected$", re.MULTILINE), start)
        daemon.wait_for_log(re.compile(rf"{re.escape(peer)} logged in as ", re.MULTILINE), start)


class HeaderTests(ProxyCase):
    """``--proxy-header``."""

    def test_x_forwarded_for(self) -> None:
        """What the trusted proxy has added counts, not what the client wrote."""
        daemon = self.own_daemon("--log-connections", "--trust-proxy=127.0.0.1")
        for name, more in (("nginx", NGINX), ("haproxy", HAPROXY)):
            front = self.front(name, daemon.port, more=more)
            for written in (None, "203.0.113.9, 10.0.0.1"):
                start = len(daemon.log)
                self.connected(front, written)
                self.wait_for_peer(daemon, f"tcp4:{CLIENT}", start)
        self.assertNotIn("203.0.113.9", daemon.log)
        self.assertNotIn("tcp4:127.0.0.1", daemon.log)

    def test_forwarded(self) -> None:
        daemon = self.own_daemon("--log-connections", "--trust-proxy=127.0.0.1", "--proxy-header=forwarded")
        front = self.front("nginx", daemon.port, more='proxy_set_header Forwarded "for=$remote_addr;proto=http";')
        self.connected(front, "203.0.113.9")
        self.wait_for_peer(daemon, f"tcp4:{CLIENT}")
        self.assertNotIn("203.0.113.9", daemon.log)

    def test_refused(self) -> None:
        """A refused handshake is logged with the client's address, too."""
        daemon = self.own_daemon("--trust-proxy=127.0.0.1")
        front = self.front("nginx", daemon.port, more=NGINX)
        client = RawClient(front.socket, headers={"Origin": "https://elsewhere.example"})
        self.addCleanup(client.abort)
        client.request = SAYS + client.request
        self.assertEqual(client.ask().status, 403)
        daemon.wait_for_log(re.compile(f"tcp4:{CLIENT}: opening handshake refused with 403"))

    def test_not_trusted(self) -> None:
        """By default nobody is trusted, and a header of a client in another network is ignored."""
        for options in ((), ("--trust-proxy=10.0.0.0/8", "--trust-proxy=unix")):
            daemon = self.own_daemon("--log-connections", *options)
            client = self.connect(daemon=daemon, headers={"X-Forwarded-For": CLIENT, "Forwarded": f"for={CLIENT}"})
            client.abort()
            daemon.wait_for_log(re.compile(r"tcp4:127\.0\.0\.1:\d+ connected"))
            self.assertNotIn(CLIENT, daemon.log)

    def test_malformed(self) -> None:
        """The address is the proxy's own."""
        daemon = self.own_daemon("--log-connections", "--trust-proxy=127.0.0.1")
        for value in ("nonsense", f"{CLIENT}, nonsense", "", '"', f"{CLIENT}\x85"):
            start = len(daemon.log)
            client = self.connect(daemon=daemon, headers={"X-Forwarded-For": value})
            client.abort()
            daemon.wait_for_log(re.compile(r"tcp4:127\.0\.0\.1:\d+ disconnected: lost"), start)
        self.assertNotIn(CLIENT, daemon.log)


class ProtocolTests(ProxyCase):
    """``haproxy:`` endpoints, behind a real haproxy."""

    def check(self, daemon: Daemon, port: int, *words: str) -> None:
        """Check both versions, and a client whose address haproxy does not know."""
        for send in ("send-proxy", "send-proxy-v2"):
            server = " ".join((send, *words))
            start = len(daemon.log)
            self.connected(self.front("haproxy", port, server=server))
            self.wait_for_peer(daemon, f"tcp4:{CLIENT}:4000", start)
            unknown = Front("haproxy", port, server=server)  # its clients come from a unix socket
            self.addCleanup(unknown.stop)
            start = len(daemon.log)
            self.connected(unknown, begin=b"")
            daemon.wait_for_log(re.compile(r"tcp4:127\.0\.0\.1:\d+ logged in as anonymous"), start)

    def test_one_process(self) -> None:
        daemon = self.own_daemon(f"--listen={PROXY_ENDPOINT}", PUBLIC, "--trust-proxy=127.0.0.1", "--log-connections")
        self.check(daemon, self.ports(daemon, 2)[1])
        self.assertNotIn(" object at 0x", daemon.log)

    def test_workers(self) -> None:
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        daemon = self.own_daemon(
            f"--listen={PROXY_ENDPOINT}", PUBLIC, "--trust-proxy=127.0.0.1", "--log-connections", "--workers=2", source
        )
        self.check(daemon, self.ports(daemon, 2)[1])

    def test_tls(self) -> None:
        """haproxy sends the header before TLS."""
        daemon = self.own_daemon(
            f"--listen=haproxy:{endpoint()}", PUBLIC, "--trust-proxy=127.0.0.1", "--log-connections"
        )
        self.check(daemon, self.ports(daemon, 2)[1], "ssl", "verify", "none")

    def test_a_chain(self) -> None:
        """The PROXY protocol names another trusted proxy, whose header counts."""
        daemon = self.own_daemon(
            f"--listen={PROXY_ENDPOINT}",
            PUBLIC,
            "--trust-proxy=127.0.0.1",
            f"--trust-proxy={CLIENT}",
            "--log-connections",
        )
        front = self.front("haproxy", self.ports(daemon, 2)[1], server="send-proxy")
        self.connected(front, "203.0.113.9")
        self.wait_for_peer(daemon, "tcp4:203.0.113.9")

    def test_a_header_that_the_proxy_did_not_write(self) -> None:
        """A proxy that does not know the client forwards its bytes only: what the client wrote does not count."""
        daemon = self.own_daemon(f"--listen={PROXY_ENDPOINT}", PUBLIC, "--trust-proxy=127.0.0.1", "--log-connections")
        for begin in (b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"):
            start = len(daemon.log)
            client = RawClient(self.ports(daemon, 2)[1], headers={"X-Forwarded-For": CLIENT})
            self.addCleanup(client.abort)
            client.send_bytes(begin)
            self.assertEqual(client.ask().status, 101)
            found = daemon.wait_for_log(re.compile(r"(tcp4:\S+) connected"), start)
            self.assertRegex(found[1], r"tcp4:127\.0\.0\.1:\d+")

    def test_not_trusted(self) -> None:
        """Other peers are dropped at once, with a line that does not repeat what they say."""
        daemon = self.own_daemon(f"--listen={PROXY_ENDPOINT}", PUBLIC, "--trust-proxy=10.0.0.0/8")
        with socket.create_connection(("127.0.0.1", self.ports(daemon, 2)[1]), PATIENCE) as client:
            self.assertEqual(client.recv(1), b"")
        daemon.wait_for_log(re.compile("connection of 127.0.0.1 with the PROXY protocol dropped: it is not in --trust"))

    def test_no_header(self) -> None:
        """A trusted peer that sends no header is dropped, too."""
        daemon = self.own_daemon(f"--listen={PROXY_ENDPOINT}", PUBLIC, "--trust-proxy=127.0.0.1")
        client = RawClient(self.ports(daemon, 2)[1])
        self.addCleanup(client.abort)
        client.send_bytes(client.request)
        with self.assertRaises(AssertionError):
            client.ask()
        daemon.wait_for_log(re.compile("dropped: its header is not valid"))

    def test_without_trust(self) -> None:
        """Nobody could connect, so airyd does not start."""
        for options in ((), ("--workers=2", "--source=redis:")):
            process = start_twistd(f"--listen={PROXY_ENDPOINT}", PUBLIC, "--admin=none", *options)
            said, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 1)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn("give --trust-proxy NETWORK", said)
