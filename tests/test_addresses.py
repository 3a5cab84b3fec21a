"""What counts as loopback."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.addresses import host_of, is_loopback, is_loopback_host, split_endpoint


class EndpointTests(SynchronousTestCase):
    """Endpoint strings."""

    def test_words_and_names(self) -> None:
        self.assertEqual(
            split_endpoint(r"tcp6:80:interface=\:\:1:a=b=c:d\=e:"),
            (["tcp6", "80", "d=e", ""], {"interface": "::1", "a": "b=c"}),
        )
        self.assertRaises(ValueError, split_endpoint, "tcp:80\\")

    def test_loopback(self) -> None:
        for description in (
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:interface=127.9.9.9",
            "tcp:port=8080:interface=localhost:backlog=5",
            "tcp:8080:127.0.0.1",
            r"tcp:8080:interface=\:\:1",
            r"tcp6:8080:interface=\:\:1",
            r"tcp6:8080:50:\:\:1",
            "ssl:8443:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1",
            "unix:/run/airyd.sock",
            "unix:/run/airyd.sock:mode=660",
            "systemd:domain=UNIX:index=0",
            "systemd:UNIX:name=airyd",
        ):
            self.assertTrue(is_loopback(description), description)

    def test_not_loopback(self) -> None:
        for description in (
            "tcp:8080",
            "tcp:8080:interface=",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=192.0.2.1",
            "tcp:8080:interface=127.0.0.1:interface=0.0.0.0",
            "tcp:8080:127.0.0.1:interface=0.0.0.0",
            "tcp:8080:interface=127.0.0.1.example.org",
            r"tcp:8080:interface\=127.0.0.1",
            "tcp6:8080",
            "tcp6:8080:127.0.0.1",
            r"tcp6:8080:interface=\:\:",
            "ssl:8443",
            "ssl:8443:127.0.0.1",
            "systemd:domain=INET:index=0",
            "systemd:domain=INET6:index=0",
            "systemd:index=0",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "fd:3",
            "kafka:x:interface=127.0.0.1",
            "tcp:8080:interface=127.0.0.1\\",
            "8080",
            "",
        ):
            self.assertFalse(is_loopback(description), description)


class HostTests(SynchronousTestCase):
    """Names and ``Host`` headers."""

    def test_loopback(self) -> None:
        for host in "localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1":
            self.assertTrue(is_loopback_host(host), host)
        for host in "", "example.org", "127.1", "0.0.0.0", "::", "128.0.0.1", "[::1]":  # noqa: S104  # refused
            self.assertFalse(is_loopback_host(host), host)

    def test_host_of(self) -> None:
        for authority, host in (
            ("Example.org", "example.org"),
            ("example.org:8080", "example.org"),
            ("127.0.0.1:", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
        ):
            self.assertEqual(host_of(authority), host)

    def test_what_is_no_authority(self) -> None:
        for text in "", ":80", "a:b", "a:123456", "::1", "[::1", "[x]", "a/b", "a@b", "a b", "http://a", "a\n":
            self.assertRaises(ValueError, host_of, text)
