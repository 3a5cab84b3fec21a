"""Two nodes behind real nginx and HAProxy with the files of etc/, in which only ports, paths and names are replaced."""

from __future__ import annotations

import atexit
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from math import ceil
from os import kill
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.client.pings import LATEST
from airyd.config.command_line import Options
from tests.integration import test_handshake, test_thousand
from tests.integration.case import DaemonTestCase
from tests.integration.chromium import Chromium
from tests.integration.daemon import TREE, Daemon
from tests.integration.fronts import FILES, Node, TlsFront
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.swarm import State, Swarm, faults
from tests.integration.test_drain import Follower
from tests.patience import PATIENCE
from tests.snippets import snippets
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import own_prefix, shared_server
from tests.test_systemd import option_sets

#: The address of a client, and that of another one; the proxies are 127.0.0.1.
CLIENT: Final = "127.0.0.2"
OTHER: Final = "127.0.0.3"
TRUST: Final = "--trust-proxy=127.0.0.1"
TOKEN: Final = "admin-token-of-these-tests"
#: The header of requests that change something.
CHANGE: Final = {"X-Airyd-Request": "1"}
#: Seconds for which a client of the long test is idle: longer than the proxies' time limit.
IDLE: Final = 70
#: Seconds that no test waits for.
LONG: Final = 250
#: The lines of the files that allow each address 100 clients, with two clients instead.
FEW: Final = {
    "nginx": [("#limit_conn", "limit_conn"), ("airyd_clients 100;", "airyd_clients 2;")],
    "haproxy": [
        ("#stick-table", "stick-table"),
        ("#http-request", "http-request"),
        ("sc0_conn_cur gt 100", "sc0_conn_cur gt 2"),
    ],
}


@cache
def certificates() -> Certificates:
    """Return certificates for all tests of this file; they exist until the process ends."""
    directory = tempfile.mkdtemp(prefix="airyd-test-")
    atexit.register(shutil.rmtree, directory)
    return Certificates(Path(directory))


def as_nodes(daemons: Sequence[Daemon]) -> list[Node]:
    """Return the daemons' ports."""
    return [Node(each.port, each.admin_port) for each in daemons]


@cache
def shared_nodes() -> tuple[Daemon, Daemon]:
    """Return two nodes that no test stops."""
    return Daemon(TRUST), Daemon(TRUST)


@cache
def shared_front(name: str) -> TlsFront:
    """Return a proxy in front of the shared nodes."""
    return TlsFront(name, as_nodes(shared_nodes()), certificates())


def main_settings() -> str:
    """Return the settings of nginx that docs/installing.rst shows for many clients."""
    (found,) = [each.text for each in snippets() if each.language == "nginx"]
    return found


class NginxHandshakeTests(test_handshake.OpeningHandshakeTests):
    """The opening handshake through nginx: what holds without a proxy, holds here."""

    front: ClassVar[str] = "nginx"

    def setUp(self) -> None:
        """Watch the shared nodes."""
        for each in shared_nodes():
            self._watch(each)

    @property
    def port(self) -> int:
        """The port for clients."""
        return shared_front(self.front).port

    def client(self, **options: Any) -> RawClient:
        """Connect a client by TLS."""
        client = super().client(**options)
        client.start_tls()
        return client

    def refused(self, client: RawClient, request: bytes) -> None:
        """Check that the request is answered with a 4xx, after which the proxy may keep the connection, or ended."""
        client.send_bytes(request)
        try:
            self.assertIn(client.response().status, (400, 413, 431))
        except AssertionError:
            client.expect_end()

    def test_refusals_are_plain(self) -> None:
        """Refusals contain neither a product version nor a traceback; the proxy keeps the client's connection."""
        for options in self.refused_plainly:
            self.assertNotRegex(str(self.ask(**options)).lower(), r"autobahn|nginx/|haproxy/")

    def test_tls_on_a_port_without(self) -> None:
        """The other way round: a client without TLS is not served."""
        client = RawClient(self.port)
        self.addCleanup(client.abort)
        self.refused(client, client.request)

    def test_admin_page(self) -> None:
        """Nothing of the admin page is behind the proxy."""
        for path in ("/healthz", "/readyz", "/metrics", "/api/v1/connections", "/publish/queue/message", "//readyz"):
            response = self.ask(path=path, headers={"Upgrade": None, "Connection": "close"})
            self.assertEqual(response.status, 404, path)


class HaproxyHandshakeTests(NginxHandshakeTests):
    """The opening handshake through HAProxy."""

    front = "haproxy"


class FrontCase(DaemonTestCase):
    """Nodes of a test's own, and proxies in front of them."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def front(self, name: str, nodes: Sequence[Daemon], *changes: tuple[str, str], **options: Any) -> TlsFront:
        """Start a proxy."""
        front = TlsFront(name, as_nodes(nodes), certificates(), changes, **options)
        self.addCleanup(front.stop)
        return front

    def client(self, front: TlsFront, **options: Any) -> RawClient:
        """Connect by TLS, and send nothing yet."""
        client = RawClient(front.port, **options)
        self.addCleanup(client.abort)
        client.start_tls()
        return client

    def session(self, front: TlsFront, **options: Any) -> RawClient:
        """Connect and log in; a node that is about to close its clients may send its ERROR first."""
        while True:
            client = self.client(front, **options)
            client.handshake()
            client.send("CONNECT", {"accept-version": "1.2"})
            frame = client.receive()
            if frame.command == "CONNECTED":
                return client
            self.assertEqual(frame.headers["message"], "server restarting")
            client.abort()

    def redis_nodes(self, *options: str) -> list[Daemon]:
        """Start two nodes with the same streams."""
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        return [self.own_daemon(source, TRUST, *options) for _ in range(2)]

    def token_file(self) -> str:
        """Write the admin page's token; return the path of its file."""
        path = Path(self.mktemp())
        path.write_text(f"{TOKEN}\n")
        return str(path.resolve())

    def wait(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached`` is true."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


def connections(daemon: Daemon) -> int:
    """Return how many clients a node has."""
    return daemon.sums("connections")["connections"]


def admitted(daemon: Daemon) -> int:
    """Return how many connections a node has not refused."""
    sums = daemon.sums("connections_opened_total", "handshakes_refused_total")
    return sums["connections_opened_total"] - sums["handshakes_refused_total"]


class AddressTests(FrontCase):
    """The real address of clients."""

    def check_address(self, name: str, daemon: Daemon, front: TlsFront, port: str = "") -> None:
        """Check that the log has the address of a client, and not what it wrote into its header."""
        for forged in (None, "203.0.113.9", f"{OTHER}, 127.0.0.1"):
            start = len(daemon.log)
            self.session(front, source=CLIENT, headers={"X-Forwarded-For": forged})
            daemon.wait_for_log(re.compile(rf"tcp4:{CLIENT}{port} connected$", re.MULTILINE), start)
            daemon.wait_for_log(re.compile(rf"tcp4:{CLIENT}{port} logged in as ", re.MULTILINE), start)
        refused = self.client(front, source=OTHER, headers={"Origin": "https://elsewhere.example"})
        self.assertEqual(refused.ask().status, 403)
        daemon.wait_for_log(re.compile(f"tcp4:{OTHER}{port}: opening handshake refused with 403"))
        self.assertNotIn("203.0.113.9", daemon.log, name)

    def test_log(self) -> None:
        for name in FILES:
            daemon = self.own_daemon(TRUST, "--log-connections")
            self.check_address(name, daemon, self.front(name, [daemon, daemon]))
            self.assertNotIn("tcp4:127.0.0.1", daemon.log)

    def test_proxy_protocol(self) -> None:
        """With ``send-proxy-v2``, as docs/installing.rst says, the log has the client's port, too."""
        listen = "--listen=haproxy:tcp:0:interface=127.0.0.1"
        daemon = self.own_daemon(listen, "--auth=anonymous:public", TRUST, "--log-connections")
        found = daemon.wait_for_log(re.compile(r"(?:airyd serves ws://127\.0\.0\.1:(\d+)/.*?){2}", re.DOTALL))
        daemon.port = int(found[1])
        changes = (("8080 check", "8080 send-proxy-v2 check"), ("8080 backup", "8080 send-proxy-v2 backup"))
        self.check_address("haproxy", daemon, self.front("haproxy", [daemon, daemon], *changes), r":\d+")

    def test_limit(self) -> None:
        """The limit of the files, uncommented, counts each address alone."""
        for name in FILES:
            daemon = self.own_daemon(TRUST)
            front = self.front(name, [daemon, daemon], *FEW[name])
            first, _ = (self.session(front, source=CLIENT) for _ in range(2))
            self.assertEqual(self.client(front, source=CLIENT).ask().status, 429)
            self.session(front, source=OTHER)
            first.disconnect()
            self.wait(lambda: self.client(front, source=CLIENT).ask().status == 101)  # noqa: B023  # called at once

    def test_example(self) -> None:
        """With the options of etc/airyd.env the node believes the proxy and nobody else, and health needs no token."""
        (words,) = [each for each in option_sets((TREE / "etc/airyd.env").read_text()) if "10.0.0.11" in " ".join(each)]
        given = dict(pairwise(words))
        proxy = given["--trust-proxy"]
        options = [f"--trust-proxy={'127.0.0.1' if proxy == '10.0.0.2' else proxy}"]
        options += [each for each in words if each == "--log-connections"]
        options += [f"--admin-token-file={self.token_file()}", f"--drain-notice={given['--drain-notice']}"]
        daemon = self.own_daemon(*options)
        front = self.front("haproxy", [daemon, daemon])
        self.check_address("haproxy", daemon, front)
        self.wait(lambda: front.health("node-1") == "UP L7OK")
        self.assertEqual(daemon.request("GET", "/readyz")[0], 200)
        self.assertEqual(daemon.request("GET", "/api/v1/connections")[0], 401)
        self.assertEqual(
            (given["--listen"], given["--admin"]), tuple(f"tcp:{n}:interface=10.0.0.11" for n in (8080, 8081))
        )


class DrainTests(FrontCase):
    """Nodes that drain, or fail, while clients come and events are published."""

    def check_drain(self, name: str) -> None:
        """One node drains by the admin page and comes back, then the other one stops: nobody is refused, nothing lost.

        Every opening handshake is answered with 101, and every client that was closed gets all events by resuming.
        """
        nodes = self.redis_nodes("--auth=anonymous", "--drain-notice=3", f"--admin-token-file={self.token_file()}")
        for each in nodes:
            each.headers["Authorization"] = f"Bearer {TOKEN}"
        front = self.front(name, nodes)
        followers = [Follower(lambda: self.session(front)) for _ in range(20)]
        self.assertEqual([connections(each) for each in nodes], [10, 10])
        count = 0

        def traffic(reached: Callable[[], bool], staying: Daemon) -> None:
            nonlocal count
            deadline = time.monotonic() + PATIENCE
            while not reached():
                self.assertLess(time.monotonic(), deadline)
                staying.publish(MESSAGE, body(MESSAGE, count))
                count += 1
                self.session(front).abort()
                for each in followers:
                    each.follow()

        first, second = nodes
        self.assertEqual(first.request("POST", "/api/v1/drain", headers=CHANGE)[0], 200)
        traffic(lambda: connections(first) == 0 and sum(each.closed for each in followers) >= 10, second)
        self.assertEqual(first.request("DELETE", "/api/v1/drain", headers=CHANGE)[0], 200)
        before = admitted(first)
        traffic(lambda: admitted(first) > before, second)  # the proxy sends it clients again
        second.terminate()
        traffic(lambda: not second.running, first)
        traffic(lambda: all(len(each.numbers) == count for each in followers), first)
        for follower in followers:
            self.assertEqual(follower.numbers, list(range(count)))
            self.assertEqual(follower.recovered, ["true"] * follower.closed)
        self.assertGreaterEqual(sum(each.closed for each in followers), 30)
        self.assertEqual(second.wait(), 0)

    def test_nginx(self) -> None:
        self.check_drain("nginx")

    def test_haproxy(self) -> None:
        self.check_drain("haproxy")

    def test_readiness(self) -> None:
        """HAProxy sends no clients to a node that is not ready, and leaves it those that it has.

        If no node is ready, all of them get clients.
        """
        nodes = self.redis_nodes(f"--drain-notice={LONG}")
        front = self.front("haproxy", nodes)
        clients = [self.session(front) for _ in range(4)]
        for each in clients:
            each.subscribe(MESSAGE, "m")
        first, second = nodes
        first.terminate()
        self.wait(lambda: front.health("node-1") == "DOWN L7STS")
        clients += [self.session(front) for _ in range(4)]
        self.assertEqual([connections(each) for each in nodes], [2, 6])
        second.publish(MESSAGE, body(MESSAGE, 1))
        for each in clients[:4]:
            self.assertEqual(each.message("m").body, body(MESSAGE, 1))
        second.terminate()
        self.wait(lambda: front.health("node-2") == "DOWN L7STS")
        self.session(front)

    def test_a_node_that_hangs(self) -> None:
        """Both proxies give the opening handshake to the other node; nginx has a shorter time limit for that here."""
        nodes = self.redis_nodes()
        fronts = [
            self.front("haproxy", nodes),
            self.front("nginx", nodes, ("proxy_read_timeout 60s;", "proxy_read_timeout 3s;")),
        ]
        kill(nodes[0].pid, signal.SIGSTOP)
        self.addCleanup(kill, nodes[0].pid, signal.SIGCONT)
        for front in fronts:
            for _ in range(3):
                self.session(front)
        self.assertGreaterEqual(nodes[1].sums("connections_opened_total")["connections_opened_total"], 6)

    def test_a_node_that_is_away(self) -> None:
        """Both proxies connect clients to the other node at once."""
        daemon = self.own_daemon(TRUST)
        bound = socket.socket()  # it keeps the port, on which nobody listens
        self.addCleanup(bound.close)
        bound.bind(("127.0.0.1", 0))
        away = bound.getsockname()[1]
        for name in FILES:
            front = TlsFront(name, [Node(away, away), Node(daemon.port, daemon.admin_port)], certificates())
            self.addCleanup(front.stop)
            for _ in range(4):
                self.session(front)
        self.assertEqual(connections(daemon), 8)


class SlowTests(FrontCase):
    """Clients that only take up connections."""

    def test_half_a_head(self) -> None:
        """A client that does not end its opening handshake is disconnected; the files allow 10 seconds for it."""
        daemon = self.own_daemon(TRUST)
        for name, limit in (("nginx", "client_header_timeout"), ("haproxy", "timeout http-request")):
            client = self.client(self.front(name, [daemon, daemon], (f"{limit} 10s", f"{limit} 1s")))
            client.send_bytes(b"GET /ws.communication HTTP/1.1\r\nHost: localhost\r\n")
            client.expect_end()
        self.assertEqual(admitted(daemon), 0)

    def test_body(self) -> None:
        """nginx waits for no body of an opening handshake, which has none."""
        daemon = self.own_daemon(TRUST)
        client = self.client(self.front("nginx", [daemon, daemon]))
        client.send_bytes(b"GET /ws.communication HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        self.assertEqual(client.response().status, 413)


class ThousandTests(FrontCase):
    """A thousand clients on two nodes."""

    def check_thousand(self, name: str, main: str = "") -> None:
        """Each node has half of the clients, and all get each event once and in order."""
        nodes = self.redis_nodes()
        front = self.front(name, nodes, main=main)
        tls = ssl.create_default_context(cafile=certificates().ca)
        swarm = Swarm(front.port, MESSAGE, test_thousand.CLIENTS, tls)
        self.addCleanup(swarm.close)
        swarm.open(*swarm.members)
        swarm.until(lambda member: member.state is State.LIVE, "live")
        for each in nodes:
            self.assertAlmostEqual(connections(each), len(swarm.members) / 2, delta=len(swarm.members) / 10)
        events = 20
        for n in range(events):
            nodes[n % 2].publish(MESSAGE, body(MESSAGE, n))
            swarm.turn()
        swarm.until(lambda member: len(member.received) >= events, "complete")
        self.assertEqual([m.wrong or faults(m.received, events) for m in swarm.members], [[]] * len(swarm.members))

    def test_nginx(self) -> None:
        """With the settings of docs/installing.rst for many clients."""
        self.check_thousand("nginx", main_settings())

    def test_haproxy(self) -> None:
        self.check_thousand("haproxy")


class BrowserTests(FrontCase):
    """Real clients with TLS."""

    def test_chromium(self) -> None:
        for name in FILES:
            daemon = self.own_daemon(TRUST, "--origin=*")
            front = self.front(name, [daemon, daemon])
            url = f"wss://localhost:{front.port}/ws.communication"
            browser = Chromium(url, MESSAGE, certificate=certificates().server)
            self.addCleanup(browser.close)
            self.assertEqual(browser.wait("open")["protocol"], "v12.stomp")
            browser.wait("live")
            daemon.publish(MESSAGE, body(MESSAGE, 1))
            self.assertEqual(browser.wait("message")["body"].encode(), body(MESSAGE, 1))

    @pytest.mark.long
    def test_idle(self) -> None:
        """stompjs stays connected while nothing is published, with heart-beats and with pings alone."""
        daemon = self.own_daemon(TRUST)
        clients = []
        for name in FILES:
            url = f"wss://localhost:{self.front(name, [daemon, daemon]).port}/ws.communication"
            for heartbeat in (30_000, 0):
                client = NodeClient(
                    "airy.mjs",
                    url=url,
                    ca=certificates().ca,
                    destinations=[MESSAGE],
                    stompjs=7,
                    heartbeat=heartbeat,
                    reconnectDelay=0,
                )
                self.addCleanup(client.close)
                client.wait("receipt")
                clients.append(client)
        time.sleep(IDLE)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(body_of(client.wait("message")), body(MESSAGE, 1))
            self.assertEqual([each for each in client.seen if each["event"] in ("closed", "trouble", "error")], [])
        self.assertEqual(connections(daemon), len(clients))


class TimeTests(SynchronousTestCase):
    """The times in the files."""

    def test_longer_than_heart_beats(self) -> None:
        """The proxies' time limits are longer than airyd's silence, and the comments say how long that is."""
        options = Options()
        options.parseOptions([])
        beats, pings = str(options.settings.heart_beat), options.settings.ping_interval
        silence = ceil(max(int(beats.partition(",")[0]) / 1000, pings * LATEST))
        for name, pattern in (
            ("nginx", r"proxy_read_timeout (\d+)s;"),
            ("nginx", r"proxy_send_timeout (\d+)s;"),
            ("haproxy", r"timeout tunnel (\d+)s\n"),
        ):
            text = FILES[name].read_text()
            found = re.search(pattern, text)
            assert found is not None
            self.assertGreaterEqual(int(found[1]), 1.5 * silence)
            self.assertLess(int(found[1]), IDLE)
            self.assertIn(f"silent for more than {silence} seconds", text)
