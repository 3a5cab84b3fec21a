"""Where the admin page may listen."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.endpoint import check_admin_endpoint, read_admin_token
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
            check_admin_endpoint(description, has_token=False)
            check_admin_endpoint(description, has_token=True)

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
            error = self.assertRaises(ConfigurationError, check_admin_endpoint, description, has_token=False)
            self.assertIn(f"--admin {description}: ", str(error))
            self.assertNotIn("\n", str(error))

    def test_anywhere_with_a_token(self) -> None:
        for description in ("tcp:8081", "tcp:8081:interface=0.0.0.0", "tcp6:8081", "ssl:8443:interface=192.0.2.1"):
            check_admin_endpoint(description, has_token=True)
        for description in ("systemd:domain=INET:index=0", "8081", ""):
            self.assertRaises(ConfigurationError, check_admin_endpoint, description, has_token=True)


class AdminTokenTests(SynchronousTestCase):
    """``--admin-token-file``."""

    def file(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_one_line(self) -> None:
        for content in (b"0123456789abcdef", b"0123456789abcdef\n", b"  0123456789abcdef\r\n"):
            self.assertEqual(read_admin_token(self.file(content)), "0123456789abcdef")

    def test_none(self) -> None:
        self.assertIsNone(read_admin_token(None))

    def test_wrong(self) -> None:
        """The refusal names the file, and nothing of what is in it."""
        for content in (
            b"",
            b"hunter2",
            b"hunter2hunter2hunter2 x",
            b"hunter2hunter2\nhunter2",
            b"hunter2hunter2\xff--",
        ):
            path = self.file(content)
            error = self.assertRaises(ConfigurationError, read_admin_token, path)
            self.assertIn(f"--admin-token-file {path}", str(error))
            self.assertNotIn("hunter2", str(error))
        self.assertIn("no such file", str(self.assertRaises(ConfigurationError, read_admin_token, "/no/such")))
