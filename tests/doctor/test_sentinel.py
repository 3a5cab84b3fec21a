"""A Redis behind sentinels, and one on a Unix socket."""

from __future__ import annotations

import pytest

from airyd.doctor.findings import Level
from tests.doctor.case import NO_PORTS, DoctorCase, LocalCase, examine
from tests.sources.redis.cluster import Cluster
from tests.sources.redis.server import RedisServer


@pytest.mark.integration
class SentinelTests(LocalCase):
    """``redis+sentinel:``."""

    async def test_master(self) -> None:
        """The master that the sentinels name is examined, and gets the test event."""
        cluster = Cluster()
        self.addCleanup(cluster.close)
        url = f"--source=redis+sentinel://{cluster.url}"
        report = await self.examine(url, "--write")
        for check in ("connection", "version", "rights", "clock", "test-event"):
            self.all_well(report, check)
        report = await self.examine(url.replace("mymaster", "other"))
        self.has(report, Level.FAILURE, "connection", "no sentinel knows the master", "SENTINEL MASTERS")

    async def test_no_sentinel(self) -> None:
        report = await self.examine("--source=redis+sentinel://127.0.0.1:1/mymaster")
        self.has(report, Level.FAILURE, "connection", "no sentinel knows the master", "SENTINEL MASTERS")


class UnixTests(DoctorCase):
    """``redis+unix:``."""

    def make_server(self) -> RedisServer:
        return self.own_server(unix=True)

    async def test_socket(self) -> None:
        url = f"--source=redis+unix://{self.server.path}?prefix={self.prefix}"
        report = await examine(self.reactor, url, *NO_PORTS, "--write")
        for check in ("connection", "version", "rights", "test-event"):
            self.all_well(report, check)
        self.server.stop()
        report = await examine(self.reactor, url, *NO_PORTS)
        self.has(report, Level.FAILURE, "connection", "No such file or directory", "correct the URL")
