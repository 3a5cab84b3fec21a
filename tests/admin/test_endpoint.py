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

    def test_tls_on_loopback(self) -> None:
        check_admin_endpoint("ssl:8443:privateKey=key.pem:interface=127.0.0.1", has_token=False)

    def refusal(self, description: str, *, has_token: bool) -> str:
        """Return the one line that says what is wrong."""
        error = str(self.assertRaises(ConfigurationError, check_admin_endpoint, description, has_token=has_token))
        self.assertIn(f"--admin {description}: ", error)
        self.assertEqual(len(error.splitlines()), 1)
        return error

    def test_not_for_everybody(self) -> None:
        for description in (
            "tcp:8081",
            "tcp:8081:interface=0.0.0.0",
            "tcp6:8081",
            "ssl:8443:privateKey=key.pem",
        ):
            self.assertIn("loopback", self.refusal(description, has_token=False))
            check_admin_endpoint(description, has_token=True)

    def test_other_kinds(self) -> None:
        for description in (
            "systemd:domain=UNIX:index=0",
            "haproxy:tcp:8081:interface=127.0.0.1",
            "tls:/certificates:8443:interface=127.0.0.1",
        ):
            for has_token in (True, False):
                self.assertIn("tcp:, tcp6:, ssl: and unix:", self.refusal(description, has_token=has_token))

    def test_no_endpoint(self) -> None:
        """That is said first, and how to do without the page."""
        for description in ("8081", "", "None", "tcp:x", "ssl:8443:interface=127.0.0.1"):
            for has_token in (True, False):
                said = self.refusal(description, has_token=has_token)
                self.assertNotIn("loopback", said)
                self.assertIn("none turns", said)


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
