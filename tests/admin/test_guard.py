"""Who may ask."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.admin.browser import JSON, AdminCase

TARGET = "/publish/queue/message"


class HostTests(AdminCase):
    """The ``Host`` header keeps out pages whose names were bent to this machine."""

    def test_loopback_names(self) -> None:
        names = ["localhost", "LOCALHOST", "localhost:8081", "127.0.0.1", "127.0.0.1:1", "127.255.0.9", "[::1]"]
        for host in [*names, "[::1]:8081"]:
            self.assertEqual(self.ask("GET", "/metrics", {"Host": host}).status, 200, host)

    def test_foreign_names(self) -> None:
        names = ["example.org", "example.org:8081", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1"]
        for host in [*names, "[::2]:8081", "0.0.0.0", "127.1", "localhost."]:  # noqa: S104  # refused, not bound
            answer = self.ask("GET", "/metrics", {"Host": host})
            self.assertEqual(answer.status, 421, host)
            self.assertIn("Host", answer.json()["error"])

    def test_malformed_names(self) -> None:
        for host in "", "localhost:x", "::1", "user@localhost", "localhost/", "local host", "[::1", "localhost:1:2":
            self.assertEqual(self.ask("GET", "/metrics", {"Host": host}).status, 400, host)

    def test_bytes_that_are_no_text(self) -> None:
        """Bytes that aren't UTF-8 are refused like any other wrong value, not found to be a bug."""
        self.assertEqual(self.ask("GET", "/metrics", {"Host": "local\xff"}).status, 400)
        strange = {"Origin": "http://\xff"}
        self.assertEqual(self.ask("POST", TARGET, {**JSON, **strange}, b"{}").status, 403)

    def test_none_and_two(self) -> None:
        for lines in b"", b"Host: localhost\r\nHost: localhost\r\n":
            connection = self.connect()
            connection.send(b"GET /metrics HTTP/1.1\r\n" + lines + b"\r\n")
            self.assertEqual(connection.read().status, 400)

    def test_health_is_for_whoever_asks(self) -> None:
        """Balancers send no ``Host``, that of the service, or what else they are set up with; HTTP/1.0 has none."""
        for path in ("/healthz", "/readyz"):
            for host in ("example.org", "10.0.0.1:8081", "", "local host", "local\xff"):
                self.assertEqual(self.ask("GET", path, {"Host": host}).status, 200, host)
            for start, lines in (
                ("HTTP/1.0", ""),
                ("HTTP/1.0", "Host: example.org\r\n"),
                ("HTTP/1.1", ""),
                ("HTTP/1.1", "Host: a\r\nHost: b\r\n"),
            ):
                connection = self.connect()
                connection.send(f"GET {path} {start}\r\n{lines}\r\n".encode())
                self.assertEqual(connection.read().status, 200, (start, lines))

    def test_address_that_was_connected_to(self) -> None:
        here = IPv4Address("TCP", "192.0.2.7", 8081)
        self.assertEqual(self.ask("GET", "/metrics", {"Host": "192.0.2.7:8081"}, local=here).status, 200)
        self.assertEqual(self.ask("GET", "/metrics", {"Host": "192.0.2.8:8081"}, local=here).status, 421)
        there = IPv6Address("TCP", "::1", 8081)
        self.assertEqual(self.ask("GET", "/metrics", {"Host": "[::1]:8081"}, local=there).status, 200)

    def test_unix_socket_takes_any(self) -> None:
        local = UNIXAddress(b"/run/airyd/admin.sock")
        for host in "example.org", "", "localhost":
            self.assertEqual(self.ask("GET", "/metrics", {"Host": host}, local=local).status, 200, host)

    def test_foreign_name_publishes_nothing(self) -> None:
        answer = self.ask("POST", TARGET, {**JSON, "Host": "example.org", "Origin": "http://example.org"}, b"{}")
        self.assertEqual((answer.status, self.published), (421, []))


class OriginTests(AdminCase):
    """The ``Origin`` header keeps out pages from elsewhere."""

    def test_own(self) -> None:
        for host in "127.0.0.1:8081", "localhost:8081", "[::1]:8081":
            answer = self.ask("POST", TARGET, {**JSON, "Host": host, "Origin": f"http://{host}"}, b"{}")
            self.assertEqual(answer.status, 200, host)

    def test_foreign(self) -> None:
        origins = ["http://example.org", "null", "http://127.0.0.1", "http://127.0.0.1:3000", "https://127.0.0.1:8081"]
        for origin in [*origins, "http://localhost:8081", "", "127.0.0.1:8081"]:
            answer = self.ask("POST", TARGET, {**JSON, "Origin": origin}, b"{}")
            self.assertEqual(answer.status, 403, origin)
            self.assertIn("error", answer.json())
        self.assertEqual(self.published, [])


class TlsOriginTests(AdminCase):
    """Behind TLS the page's own origin is the one of https."""

    by_tls = True

    def test_own_and_foreign(self) -> None:
        for origin, status in (
            ("https://127.0.0.1:8081", 200),
            ("HTTPS://127.0.0.1:8081", 200),
            ("http://127.0.0.1:8081", 403),
            ("https://127.0.0.1", 403),
            ("https://example.org", 403),
            ("null", 403),
        ):
            self.assertEqual(self.ask("POST", TARGET, {**JSON, "Origin": origin}, b"{}").status, status, origin)
        self.assertEqual(len(self.published), 2)


class TokenTests(AdminCase):
    """With a token the page is for whoever shows it, wherever they are; health is for all."""

    token = "0123456789abcdef"

    def status(self, method: str, target: str, authorization: str | None = None, **headers: str) -> int:
        """Return the status of the answer, to a ``Host`` that isn't this machine."""
        shown = {} if authorization is None else {"Authorization": authorization}
        asked = {"Host": "airyd.example:8081", "Content-Type": "application/json", **shown, **headers}
        return self.ask(method, target, asked, b"{}" if method == "POST" else b"").status

    def test_shown(self) -> None:
        for authorization in (f"Bearer {self.token}", f"bearer {self.token}", f"Bearer  {self.token}"):
            self.assertEqual(self.status("GET", "/metrics", authorization), 200)
            self.assertEqual(self.status("POST", "/publish/queue/x", authorization), 200)
        self.assertEqual(len(self.published), 3)

    def test_not_shown(self) -> None:
        """Nothing is done, and nothing told: not even which pages there are."""
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer ",
            f"Basic {self.token}",
            self.token,
            f"Bearer {self.token[:-1]}",
            f"Bearer {self.token}x",
            f"Bearer {self.token.upper()}",
            f"Bearer {self.token} {self.token}",
        ):
            for method, target in (
                ("GET", "/metrics"),
                ("POST", "/publish/queue/x"),
                ("GET", "/nothing"),
                ("GET", "/"),
            ):
                self.assertEqual(self.status(method, target, authorization), 401, authorization)
        self.assertEqual(self.published, [])

    def test_answer(self) -> None:
        answer = self.ask("GET", "/metrics")
        self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"))
        self.assertIn("Authorization: Bearer", answer.json()["error"])
        self.assertNotIn(self.token, str(answer.json()))

    def test_health(self) -> None:
        for target in ("/healthz", "/readyz", "/healthz?x=1"):
            self.assertEqual(self.status("GET", target), 200)
        for target in ("/healthz/../metrics", "//healthz", "/readyz/", "/%68ealthz"):
            self.assertEqual(self.status("GET", target), 401)

    def test_other_pages_may_not_publish(self) -> None:
        """The lock against web pages elsewhere stands beside the token."""
        status = self.status("POST", "/publish/queue/x", f"Bearer {self.token}", Origin="https://evil.example")
        self.assertEqual((status, self.published), (403, []))
