"""Which host names and addresses are loopback, and how authorities are read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.addresses import is_loopback_host, read_authority


class HostTests(SynchronousTestCase):
    """Names and ``Host`` headers."""

    def test_loopback(self) -> None:
        for host in "localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1":
            self.assertTrue(is_loopback_host(host), host)
        for host in "", "example.org", "127.1", "0.0.0.0", "::", "128.0.0.1", "[::1]":  # noqa: S104  # refused
            self.assertFalse(is_loopback_host(host), host)

    def test_authorities(self) -> None:
        for text, host, port in (
            ("Example.org", "example.org", ""),
            ("example.org:8080", "example.org", "8080"),
            ("127.0.0.1:", "127.0.0.1", ""),
            ("[::1]", "::1", ""),
            ("[2001:DB8::1]:443", "2001:db8::1", "443"),
        ):
            self.assertEqual(read_authority(text), (host, port))

    def test_malformed_authorities(self) -> None:
        for text in "", ":80", "a:b", "a:123456", "::1", "[::1", "[x]", "a/b", "a@b", "a b", "http://a", "a\n":
            self.assertRaises(ValueError, read_authority, text)
