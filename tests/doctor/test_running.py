"""What the doctor asks an airyd that runs."""

from __future__ import annotations

import re

import pytest

from airyd.doctor.findings import DoctorReport, Level
from airyd.doctor.running import report_lag
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
