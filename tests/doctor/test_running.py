"""What the doctor asks an airyd that runs."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airyd.doctor.findings import DoctorReport, Level
from airyd.doctor.running import AdminToken, check_running, report_lag
from airyd.listening.endpoints import read_text
from tests.doctor.case import LocalCase
from tests.integration.daemon import Daemon
from tests.sources.redis.server import shared_server


@pytest.mark.integration
class RunningTests(LocalCase):
    """A daemon on the ports that the doctor is given."""

    def daemon(self, *options: str) -> Daemon:
        """Start a daemon."""
        daemon = Daemon(*options)
        self.addCleanup(daemon.kill)
        return daemon

    async def test_ready(self) -> None:
        """Its ports are taken by airyd, which is right; it is ready."""
        daemon = self.daemon()
        listen, admin = (f"tcp:{port}:interface=127.0.0.1" for port in (daemon.port, daemon.admin_port))
        report = await self.examine(f"--listen={listen}", f"--admin={admin}")
        for option in (f"--listen {listen}", f"--admin {admin}"):
            self.has(report, Level.OK, "port", f"{option}: airyd listens there already")
        self.has(report, Level.OK, "running", "it is ready for clients")

    async def test_haproxy(self) -> None:
        """A port where clients arrive by the PROXY protocol."""
        others = ("--auth=anonymous:public", "--trust-proxy=127.0.0.1")
        daemon = self.daemon("--listen=haproxy:tcp:0:interface=127.0.0.1", *others)
        ports = re.findall(r"airyd serves ws://127\.0\.0\.1:(\d+)/", daemon.log)
        listen = f"haproxy:tcp:{ports[-1]}:interface=127.0.0.1"
        report = await self.examine(f"--listen={listen}", *others)
        self.has(report, Level.OK, "port", f"--listen {listen}: airyd listens there already")

    async def test_with_a_token(self) -> None:
        """The metrics of an admin page that asks for a token: one of the two is enough."""
        for option in ("--admin-token-file", "--admin-read-token-file"):
            token = self.file("token", "a-token-of-the-admin-page")
            daemon = self.daemon(f"{option}={token}")
            report = await self.examine(f"--admin=tcp:{daemon.admin_port}:interface=127.0.0.1", f"{option}={token}")
            self.has(report, Level.OK, "running", "it is ready for clients")

    async def test_with_another_token(self) -> None:
        """A running airyd that asks for another token than the doctor has."""
        token = self.file("token", "a-token-of-the-admin-page")
        daemon = self.daemon(f"--admin-token-file={token}")
        admin = f"--admin=tcp:{daemon.admin_port}:interface=127.0.0.1"
        for options in ((), (f"--admin-token-file={self.file('other', 'another-token-than-that')}",)):
            report = await self.examine(admin, *options)
            self.has(report, Level.OK, "running", "it is ready for clients")
            self.has(report, Level.WARNING, "lag", "it refuses the admin token", "--admin-token-file")

    async def test_not_ready(self) -> None:
        """What it says of itself, beside what the doctor sees."""
        redis = shared_server().connect()
        self.addCleanup(redis.close)
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix=doctor:"
        daemon = self.daemon(source)
        redis.call("SET", "doctor:/queue/message", "x")
        self.addCleanup(redis.call, "DEL", "doctor:/queue/message")
        await self.until_unready(daemon)
        report = await self.examine(source, f"--admin=tcp:{daemon.admin_port}:interface=127.0.0.1")
        self.has(report, Level.FAILURE, "running", "doctor:/queue/message is not a stream", "log")
        self.has(report, Level.FAILURE, "keys", "doctor:/queue/message is a string", "RENAME")

    async def until_unready(self, daemon: Daemon) -> None:
        """Wait until the daemon has noticed."""
        from twisted.internet import reactor

        from tests.sources.redis.case import until

        await until(reactor, lambda: daemon.request("GET", "/readyz")[0] == 503)

    def test_lag(self) -> None:
        """How far each destination is behind its stream, by the metrics."""
        report = DoctorReport(lambda finding: None)
        report_lag(
            report,
            "# TYPE airyd_lag_entries gauge\n"
            'airyd_lag_entries{destination="/queue/message"} 1200\n'
            'airyd_lag_entries{destination="/queue/tags"} 0\n'
            "# TYPE airyd_lag_seconds gauge\n"
            'airyd_lag_seconds{destination="/queue/message"} 12.5\n'
            'airyd_lag_seconds{destination="/queue/tags"} 0\n',
        )
        self.has(report, Level.OK, "lag", "/queue/tags: it is 0 entries and 0.0 s behind the stream")
        self.has(report, Level.WARNING, "lag", "/queue/message: it is 1200 entries and 12.5 s behind", "--workers")


class Impostor:
    """A web server that answers as airyd does, and keeps the tokens that it gets.

    :param is_closing: whether it closes each connection after its first answer
    :ivar paths: what was asked for
    :ivar tokens: the values of Authorization
    """

    def __init__(self, is_closing: bool = False) -> None:
        impostor = self
        self.paths: list[str] = []
        self.tokens: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = "airyd/9.9"

            def do_GET(self) -> None:
                impostor.paths.append(self.path)
                impostor.tokens += self.headers.get_all("Authorization", [])
                body = b'{"ready": true, "reasons": []}' if self.path == "/readyz" else b"# EOF"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                if is_closing:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def admin(self) -> str:
        """Its endpoint."""
        return f"tcp:{self._server.server_port}:interface=127.0.0.1"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class TokenTests(LocalCase):
    """Who gets the admin token: a program of another user may have taken the admin port."""

    async def report_of(self, impostor: Impostor, users: Collection[int], token: str | None) -> DoctorReport:
        """Return what is reported of an impostor if only these users may get the token."""
        self.addCleanup(impostor.close)
        report = DoctorReport(lambda finding: None)
        await check_running(report, read_text("--admin", impostor.admin), AdminToken(token, users))
        self.has(report, Level.OK, "running", "it is ready for clients")
        return report

    async def test_another_user(self) -> None:
        """A user who can't read the token's file does not get it from the doctor either."""
        impostor = Impostor()
        report = await self.report_of(impostor, {os.geteuid() + 1}, "a-token-of-the-admin-page")
        self.assertEqual((impostor.paths, impostor.tokens), (["/readyz"], []))
        owner = f"the admin port belongs to user number {os.geteuid()}"
        self.has(report, Level.WARNING, "lag", owner, "run the doctor as the user that airyd runs as")

    async def test_own_user(self) -> None:
        impostor = Impostor()
        report = await self.report_of(impostor, {os.geteuid()}, "a-token-of-the-admin-page")
        self.assertEqual(impostor.tokens, ["Bearer a-token-of-the-admin-page"])
        self.assertEqual(self.of_check(report, "lag"), [])

    async def test_no_token(self) -> None:
        """Without a token there is nothing to protect."""
        impostor = Impostor()
        await self.report_of(impostor, (), None)
        self.assertEqual((impostor.paths, impostor.tokens), (["/readyz", "/metrics"], []))

    async def test_closed(self) -> None:
        """The token goes to no second connection, whose other end may be another program."""
        impostor = Impostor(is_closing=True)
        report = await self.report_of(impostor, {os.geteuid()}, "a-token-of-the-admin-page")
        self.assertEqual((impostor.paths, impostor.tokens), (["/readyz"], []))
        self.has(report, Level.WARNING, "lag", "belongs to an unknown user", "run the doctor as")

    async def test_owner_of_the_file(self) -> None:
        """The examination trusts those who can read the file in any case: this user is one of them."""
        impostor = Impostor()
        self.addCleanup(impostor.close)
        token = self.file("token", "a-token-of-the-admin-page")
        await self.examine(f"--admin={impostor.admin}", f"--admin-token-file={token}")
        self.assertEqual(impostor.tokens, ["Bearer a-token-of-the-admin-page"])
