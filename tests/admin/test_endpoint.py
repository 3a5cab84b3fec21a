"""Where the admin page may listen."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.endpoint import check_admin_endpoint
from airyd.errors import ConfigurationError


class AdminEndpointTests(SynchronousTestCase):
    """``--admin``."""

    def test_loopback_and_unix_sockets(self) -> None:
        for description in (
            "tcp:8081:interface=127.0.0.1",
            "tcp:0:interface=localhost",
            r"tcp6:8081:interface=\:\:1",
            "unix:/run/airyd/admin.sock",
            "unix:/run/airyd/admin.sock:mode=660",
        ):
            check_admin_endpoint(description)

    def test_anything_else_is_refused_in_one_line(self) -> None:
        for description in (
            "tcp:8081",
            "tcp:8081:interface=0.0.0.0",
            "tcp6:8081",
            "ssl:8443:interface=127.0.0.1",
            "systemd:domain=UNIX:index=0",
            "haproxy:tcp:8081:interface=127.0.0.1",
            "8081",
            "",
        ):
            error = self.assertRaises(ConfigurationError, check_admin_endpoint, description)
            self.assertIn(f"--admin {description}: ", str(error))
            self.assertNotIn("\n", str(error))
