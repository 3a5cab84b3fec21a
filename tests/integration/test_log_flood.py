"""Strangers flood every line of the log that they can cause: the log stays short, and says how many it left out."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from airyd.runtime.log_limits import MOST
from tests.auth.case import SECRET, private_key, segment, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.raw import Ended, RawClient
from tests.integration.test_tokens import fresh
from tests.integration.wire import TEXT, websocket_frame
from tests.log_lines import pattern_of
from tests.patience import PATIENCE
from tests.sources.redis.server import RedisServer, own_prefix, shared_server

#: How often each line is caused.
FLOOD: Final = 30
#: The most characters of a line that a stranger can cause.
LONGEST: Final = 1000
#: A daemon that may open few files, and so have few connections.
FEW_FILES: Final = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120)); {TWISTD}"
_PROXY: Final = re.compile(r"airyd serves ws://127\.0\.0\.1:(\d+)/.*airyd serves ws://127\.0\.0\.1:(\d+)/", re.DOTALL)
_MORE: Final = re.compile(r"\((\d+) more of these since the last one")

#: Opening requests that are refused, each with another status or in another place of the code.
REQUESTS: Final = (
    b"NONSENSE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
    b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /ws.communication HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws.communication HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws.communication HTTP/1.0\r\nHost: x\r\n\r\n",
    b"GET /ws.communication HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000,
)
#: Frames of a client that is logged in, each of which is answered with another ERROR.
FRAMES: Final = (
    b"NONSENSE\n\n\0",
    b"SUBSCRIBE\n\n\0",
    b"SUBSCRIBE\nid:0\ndestination:/elsewhere\n\n\0",
    b"SEND\ndestination:/airyd/status\n\n{}\0",
    b"SEND\ndestination:/queue/message\n\nnonsense\0",
    b"UNSUBSCRIBE\nid:7\n\n\0",
    b"ACK\nid:7\n\n\0",
    b"COMMIT\ntransaction:7\n\n\0",
    b"CONNECT\naccept-version:1.2\n\n\0",
    b"SEND\ndestination" + b"x" * 9000 + b":y\n\n\0",
)


class FloodCase(DaemonTestCase):
    """Daemons at the level info, which log connections."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def flooded(self, *options: str, program: str = TWISTD) -> Daemon:
        """Start a daemon whose log is the subject."""
        self.began = time.monotonic()
        daemon = self.own_daemon("--log-level=info", "--log-connections", *options, program=program)
        self.addCleanup(daemon.kill)
        return daemon

    def repeat(self, call: Callable[..., object], *arguments: object) -> None:
        """Cause a line often."""
        for _ in range(FLOOD):
            call(*arguments)

    def say(self, port: int, data: bytes) -> bytes:
        """Send bytes on a new connection, and wait until the server answers or closes; return the answer."""
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(data)
            return client.recv(1000)
        return b""

    def check(self, daemon: Daemon, *lines: str, most: int = 1, total: int | None = None, processes: int = 1) -> None:
        """Stop the daemon; check that its log has these lines, at most so many a minute, and the number left out.

        :param total: how often each line was caused
        :param processes: how many processes write to the log
        """
        if daemon.running:
            self.assertEqual(daemon.stop(), 0)
        minutes = 1 + int(time.monotonic() - self.began) // 60
        log = daemon.log.splitlines()
        for line in lines:
            found = [each for each in log if pattern_of(line).search(each)]
            kinds = {re.sub(r"\d+ s,|\d+", "", _MORE.split(each)[0]) for each in found} if most == 1 else {line}
            self.assertTrue(found, line)
            # Of each kind there is the first line of each minute, and a last one with the count.
            self.assertLessEqual(len(found), len(kinds) * (most + 1) * minutes * processes, found)
            left_out = sum(int(count) for each in found for count in _MORE.findall(each))
            if total is not None:
                self.assertEqual(len(found) + left_out, total, found)
        for each in log:
            self.assertLess(len(each), LONGEST)


class FloodTests(FloodCase):
    """Each line at a time."""

    def test_handshakes(self) -> None:
        daemon = self.flooded()
        for request in REQUESTS:
            self.repeat(self.say, daemon.port, request)
        foreign = RawClient(daemon.port, headers={"Origin": f"https://{'x' * 200}.example"})
        foreign.abort()
        self.repeat(self.say, daemon.port, foreign.request)
        self.check(
            daemon,
            "{peer}: opening handshake refused with {code}: {reason}",
            total=(len(REQUESTS) + 1) * FLOOD,
        )

    def test_errors(self) -> None:
        """Violations of STOMP and of RFC 6455, events that are refused, and the lines about connections."""
        daemon = self.flooded("--auth=anonymous:send")

        def err(frame: bytes) -> None:
            client = self.connect(daemon=daemon)
            client.send_frame(TEXT, frame)
            client.error()
            client.abort()

        def violate(frame: bytes) -> None:
            client = self.open(daemon)
            client.send_bytes(frame)
            client.close_code()

        for frame in FRAMES:
            self.repeat(err, frame)
        for wrong in (websocket_frame(TEXT, b"\xff"), b"\x81\x02xx", b"\x83\x80xxxx"):
            self.repeat(violate, wrong)
        self.check(daemon, "{peer} gets ERROR {kind}", total=len(FRAMES) * FLOOD)
        self.assertIn("refused an event for /queue/message from send", daemon.log)
        self.assertLessEqual(daemon.log.count("autobahn"), 10)

    def test_connections(self) -> None:
        """Of the lines about connections, a thousand of each are written in a minute."""
        daemon = self.flooded()
        count = MOST + 200
        for _ in range(count):
            client = self.connect(daemon=daemon)
            client.abort()
        daemon.wait_for_metrics(connections_opened_total=count, connections=0)
        self.check(
            daemon,
            "{peer} connected",
            "{peer} logged in as {subject}",
            "{peer} disconnected: {reason}, after {seconds} s, {events} events",
            "{peer} disconnected: {reason}, after {seconds} s, {events} events, {sent} bytes sent, {received} received",
            most=MOST,
            total=count,
        )

    def test_a_stop(self) -> None:
        """Lines that are left out while airyd stops are counted, too."""
        daemon = self.flooded(program=f"import airyd.runtime.log_limits as limits; limits.MOST = 10; {TWISTD}")
        clients = [self.connect(daemon=daemon) for _ in range(FLOOD)]
        daemon.terminate()
        for client in clients:
            self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)
        line = (
            "{peer} disconnected: {reason}, after {seconds} s, {events} events, {sent} bytes sent, {received} received"
        )
        self.check(daemon, line, most=10, total=FLOOD)

    def test_workers(self) -> None:
        """Each worker writes its counts before it ends."""
        daemon = self.flooded(
            "--workers=2", f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        )
        self.repeat(self.say, daemon.port, REQUESTS[2])
        self.check(daemon, "{peer}: opening handshake refused with {code}: {reason}", total=FLOOD, processes=2)

    def test_logins(self) -> None:
        """Every reason for which a login is refused, and tokens of another user."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name, "secret")
        path.write_text(f"{SECRET}\n")
        daemon = self.flooded(f"--auth=jwt:secret-file={path}", "--token-max-age=60")
        now = int(time.time())
        wrong: tuple[dict[str, str], ...] = (
            {},
            {"passcode": "nonsense"},
            {"passcode": token(fresh(), "another-secret-of-32-characters-x")},
            {"passcode": token(fresh(exp=now - 5))},
            {"passcode": token(fresh(exp=None))},
            {"passcode": token(fresh(sub=None))},
            {"passcode": ".".join((segment(b'{"alg":"none"}'), segment(b"{}"), ""))},
        )

        def log_in(headers: dict[str, str]) -> None:
            client = self.open(daemon)
            client.send("CONNECT", {"accept-version": "1.2", **headers})
            client.error()
            client.abort()

        for headers in wrong:
            self.repeat(log_in, headers)

        def refresh() -> None:
            client = self.open(daemon)
            client.connect(passcode=token(fresh(sub="ann")))
            client.send("SEND", {"destination": "/airyd/token"}, token(fresh(sub="bob")).encode())
            client.error()
            client.abort()

        self.repeat(refresh)
        self.check(daemon, "login of {peer} refused, {fault}: {reason}", total=len(wrong) * FLOOD)
        self.check(daemon, "a new token of {peer} refused, subject: {reason}", total=FLOOD)
        self.check(
            daemon,
            "some tokens live longer than --token-max-age {max_age:g}: a revoked one is accepted again after that time",
            total=1,
        )

    def test_logins_without_keys(self) -> None:
        """The keys can't be fetched, whatever key ids strangers make up."""
        daemon = self.flooded("--auth=jwt:jwks=http://127.0.0.1:1/keys", "--auth=anonymous")

        def log_in(number: int) -> None:
            client = self.open(daemon)
            made = token(fresh(), private_key("ES256"), "ES256", kid=f"key-{number}")
            client.send("CONNECT", {"accept-version": "1.2", "passcode": made})
            client.error()
            client.abort()

        for number in range(FLOOD):
            log_in(number)
        self.check(daemon, "login of {peer} cannot be checked: {reason}", total=FLOOD)
        self.check(daemon, "cannot get keys for tokens from {name}: {reason}")

    def test_proxy_protocol(self) -> None:
        """Peers that are not trusted, and headers that are not valid."""
        options = ("--listen=haproxy:tcp:0:interface=127.0.0.1", "--auth=anonymous:public")
        for network, data in (("10.0.0.0/8", b""), ("127.0.0.1", b"nonsense" * 4)):
            daemon = self.flooded(*options, f"--trust-proxy={network}")
            port = int(daemon.wait_for_log(_PROXY)[2])
            self.repeat(self.say, port, data)
            self.check(daemon, "connection of {host} with the PROXY protocol dropped: {reason}", total=FLOOD)

    def test_too_many_connections(self) -> None:
        daemon = self.flooded(program=FEW_FILES)
        with self.held(daemon.port, 20):
            self.repeat(self.say, daemon.port, b"")
        self.check(daemon, "there are {count} connections, the most allowed: more are dropped")

    @contextlib.contextmanager
    def held(self, port: int, count: int) -> Iterator[None]:
        """Hold as many connections."""
        clients = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(count)]
        try:
            yield
        finally:
            for each in clients:
                each.close()

    def test_admin(self) -> None:
        """Bodies that are wrong or too big, unknown paths, and bytes that are not HTTP."""
        daemon = self.flooded("--body=1000")

        def ask(method: str, path: str, body: bytes) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                daemon.request(method, path, body, {"Content-Type": "application/json"})

        for method, path, body in (
            ("POST", "/publish/queue/message", b"nonsense"),
            ("POST", "/publish/queue/message", b"x" * 2000),
            ("POST", "/publish/elsewhere", b"{}"),
            ("GET", "/" + "x" * 500, b""),
            ("POST", "/revoke", b"nonsense"),
        ):
            self.repeat(ask, method, path, body)
        for data in (b"\x16\x03\x01", b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nX:" + b"x" * 70_000):
            self.repeat(self.say, daemon.admin_port, data)
        self.check(daemon, "refused an event for {destination} from {origin}: {reason}", total=FLOOD)
        self.assertLessEqual(len(daemon.log.splitlines()), 40, daemon.log)
        self.check(daemon, "refused a body from {origin}: {reason}", total=FLOOD)

    def test_wildcards(self) -> None:
        """Each client with a wildcard has as many subscriptions as are allowed."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "destinations")
            file.write_text("/a/1\n")
            daemon = self.flooded(f"--destinations-file={file}", "--subscriptions=2")
            clients = []
            for _ in range(FLOOD):
                clients.append(self.connect(daemon=daemon))
                clients[-1].subscribe("/a/*", "0")
            file.write_text("/a/1\n/a/2\n/a/3\n")
            os.kill(daemon.pid, signal.SIGHUP)
            daemon.wait_for_log(re.compile("destinations added"))
            for client in clients:
                client.disconnect()
            self.check(daemon, "{peer} does not get {destination}: it has as many subscriptions as are allowed")

    @pytest.mark.long
    def test_source_that_is_away(self) -> None:
        """Clients subscribe while Redis can't be reached; each waits for ten seconds."""
        redis = RedisServer()
        self.addCleanup(redis.close)
        daemon = self.flooded(f"--source=redis://127.0.0.1:{redis.port}/0")
        redis.stop()
        clients = [self.connect(daemon=daemon) for _ in range(FLOOD)]
        for client in clients:
            client.send("SUBSCRIBE", id="0", destination="/queue/message")
        for client in clients:
            with contextlib.suppress(Ended):
                client.error()
        self.check(daemon, "cannot watch {destination}: {reason}")
