"""Where the admin page may listen, and which requests it refuses."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.access import check_admin_endpoint, read_admin_token
from airyd.errors import ConfigurationError
from tests.admin.browser import JSON, AdminCase

TARGET = "/publish/queue/message"


class HostTests(AdminCase):
    """The ``Host`` header refuses pages whose names resolve to this machine (DNS rebinding)."""

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
        """Bytes that are not UTF-8 are refused like any other wrong value, not with 500."""
        self.assertEqual(self.ask("GET", "/metrics", {"Host": "local\xff"}).status, 400)
        strange = {"Origin": "http://\xff"}
        self.assertEqual(self.ask("POST", TARGET, {**JSON, **strange}, b"{}").status, 403)

    def test_none_and_two(self) -> None:
        for lines in b"", b"Host: localhost\r\nHost: localhost\r\n":
            connection = self.connect()
            connection.send(b"GET /metrics HTTP/1.1\r\n" + lines + b"\r\n")
            self.assertEqual(connection.read().status, 400)

    def test_health_paths_take_any_host(self) -> None:
        """Load balancers send no ``Host``, the service's, or whatever they are configured with."""
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


class TlsTests(AdminCase):
    """A port without TLS."""

    def test_client_that_begins_with_tls(self) -> None:
        """It is answered at once, whatever its random bytes are: it would wait for its time-out otherwise."""
        for more in (b"", b"\r\n\r\n"):
            connection = self.connect()
            connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + more)
            self.assertEqual(connection.read().status, 400)
            self.assertFalse(connection.transport.connected)

    def test_later_bytes(self) -> None:
        """Only the first bytes can be a handshake: a body may begin with anything."""
        connection = self.connect()
        head = b"POST /publish/queue/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.send(head + b"Content-Length: 2\r\n\r\n")
        connection.send(b"\x16\x03")
        self.assertEqual([event[1] for event in self.published], [b"\x16\x03"])


class HeaderTests(AdminCase):
    """A request that a proxy could read in another way is refused."""

    token = "0123456789abcdef"
    shown = b"Authorization: Bearer 0123456789abcdef\r\n"

    def asked(self, lines: bytes) -> bytes:
        """Publish with these header lines; return the status of the answer."""
        connection = self.connect()
        first = b"POST /publish/queue/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        connection.send(first + lines + b"\r\n{}")
        return bytes(connection.transport.value().split(b" ")[1])

    def test_good(self) -> None:
        for value in (b"", b"\xc3\x85", b"a\tb", b"\x80\x85\xa0\xff", b"~!"):
            self.assertEqual(self.asked(b"X: " + value + b"\r\n" + self.shown), b"200", value)
        self.assertEqual(len(self.published), 5)

    def test_nothing_but_cr_lf_begins_a_header(self) -> None:
        for byte in (*range(0x20), *range(0x7F, 0x100)):
            if byte != 0x09:
                status = self.asked(b"X: \xc3" + bytes([byte]) + self.shown)
                self.assertEqual(status, b"401" if byte >= 0x80 else b"400", hex(byte))
        self.assertEqual(self.published, [])

    def test_controls_in_values(self) -> None:
        for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F):
            for where in (b"X: a%bb\r\n" + self.shown, b"Authorization: Bearer %b0123456789abcdef\r\n"):
                self.assertEqual(self.asked(where.replace(b"%b", bytes([byte]))), b"400", (where, byte))
        self.assertEqual(self.published, [])

    def test_only_http_space_is_dropped(self) -> None:
        for byte in b"\x85\xa0":
            self.assertEqual(self.asked(self.shown.replace(b"r 0", b"r " + bytes([byte]) + b"0")), b"401")
        self.assertEqual(self.published, [])

    def test_two_of_one(self) -> None:
        for line in (b"Authorization: Bearer x", b"Host: b", b"Content-Type: application/json"):
            self.assertEqual(self.asked(self.shown + line + b"\r\n"), b"400", line)
            self.assertEqual(self.asked(line + b"\r\n" + self.shown), b"400", line)
        origin = b"Origin: http://a\r\n"
        self.assertEqual(self.asked(self.shown + origin + origin), b"400")
        self.assertEqual(self.published, [])

    def test_two_lengths(self) -> None:
        for coding in (b"chunked", b"identity", b"Identity", b"gzip"):
            self.assertEqual(self.asked(self.shown + b"Transfer-Encoding: " + coding + b"\r\n"), b"400")
        self.assertEqual(self.published, [])

    def test_bad_lines(self) -> None:
        """twisted.web refuses these itself, and acts on nothing that follows."""
        for line in (b"X Y: 1", b"X : 1", b"XY", b": 1", b"\xc3: 1", b"Content-Length: 2", b"Content-Length: +2"):
            self.assertEqual(self.asked(line + b"\r\n" + self.shown), b"400", line)
        self.assertEqual(self.published, [])


class HealthHeaderTests(AdminCase):
    """A health path ignores repeated headers, but the end of its request must be unambiguous."""

    def asked(self, lines: bytes) -> list[bytes]:
        """Ask for health with these header lines; return the status of each answer."""
        connection = self.connect()
        connection.send(b"POST /healthz HTTP/1.1\r\n" + lines + b"\r\n")
        return [part[:3] for part in connection.transport.value().split(b"HTTP/1.1 ")[1:]]

    def test_two_of_one(self) -> None:
        for line in (b"Authorization: Bearer x\r\n", b"Host: b\r\n", b"Origin: http://a\r\n"):
            self.assertEqual(self.asked(line + line), [b"405"], line)

    def test_two_readings(self) -> None:
        for line in (b"Transfer-Encoding: identity\r\n", b"Host: a\x0bb\r\n", b"X: a\x00b\r\n", b"X: a\x7f\r\n"):
            self.assertEqual(self.asked(line), [b"400"], line)


class OriginTests(AdminCase):
    """The ``Origin`` header refuses pages of other origins."""

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


class FetchSiteTests(AdminCase):
    """The ``Sec-Fetch-Site`` header, which no page can forge."""

    def test_reading(self) -> None:
        """A page elsewhere can't even begin a trace; links to the console work."""
        for site, status in (("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403)):
            self.assertEqual(self.ask("GET", "/metrics", {"Sec-Fetch-Site": site}).status, status, site)
        self.assertEqual(self.ask("GET", "/api/v1/trace?connection=a", {"Sec-Fetch-Site": "cross-site"}).status, 403)
        self.assertEqual(self.traces, [])
        for path in ("/", "/healthz"):
            self.assertEqual(self.ask("GET", path, {"Sec-Fetch-Site": "cross-site"}).status, 200, path)

    def test_changing(self) -> None:
        """Behind a proxy with TLS, the scheme of the origin is another one than airyd sees."""
        proxied = {**JSON, "Host": "localhost", "Origin": "https://localhost"}
        for site, status in (("same-origin", 200), ("none", 403), ("same-site", 403), ("cross-site", 403)):
            self.assertEqual(self.ask("POST", TARGET, {**proxied, "Sec-Fetch-Site": site}, b"{}").status, status, site)
        self.assertEqual(self.ask("POST", TARGET, {**JSON, "Sec-Fetch-Site": "cross-site"}, b"{}").status, 403)
        self.assertEqual(len(self.published), 1)


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
    """With a token, requests from everywhere need it, except for health paths."""

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
        """Nothing is done, and the response does not even list the pages."""
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
                ("GET", "/api/v1/overview"),
            ):
                self.assertEqual(self.status(method, target, authorization), 401, authorization)
        self.assertEqual(self.published, [])

    def test_answer(self) -> None:
        answer = self.ask("GET", "/metrics")
        self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"))
        self.assertIn("Authorization: Bearer", answer.json()["error"])
        self.assertNotIn(self.token, str(answer.json()))

    def test_answer_says_whether_the_token_is_missing_or_wrong(self) -> None:
        missing = self.ask("GET", "/metrics").json()["error"]
        wrong = self.ask("GET", "/metrics", {"Authorization": f"Bearer {self.token}x"}).json()["error"]
        self.assertIn("is missing", missing)
        self.assertIn("not a token of airyd", wrong)
        self.assertNotIn(self.token, wrong)

    def test_health(self) -> None:
        for target in ("/healthz", "/readyz", "/healthz?x=1"):
            self.assertEqual(self.status("GET", target), 200)
        for target in ("/healthz/../metrics", "//healthz", "/readyz/", "/%68ealthz"):
            self.assertEqual(self.status("GET", target), 401)

    def test_other_pages_may_not_publish(self) -> None:
        """The check of the origin applies beside the token."""
        status = self.status("POST", "/publish/queue/x", f"Bearer {self.token}", Origin="https://evil.example")
        self.assertEqual((status, self.published), (403, []))


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

    def test_long(self) -> None:
        """The longest token that is allowed fits in a request."""
        self.assertEqual(read_admin_token(self.file(b"t" * 8192)), "t" * 8192)

    def test_none(self) -> None:
        self.assertIsNone(read_admin_token(None))

    def test_wrong(self) -> None:
        """The error names the file, and never quotes its content."""
        for content in (
            b"",
            b"hunter2",
            b"hunter2hunter2hunter2 x",
            b"hunter2hunter2\nhunter2",
            b"hunter2hunter2\xff--",
            b"hunter2" * 1200,
        ):
            path = self.file(content)
            error = self.assertRaises(ConfigurationError, read_admin_token, path)
            self.assertIn(f"--admin-token-file {path}", str(error))
            self.assertNotIn("hunter2", str(error))
        self.assertIn("no such file", str(self.assertRaises(ConfigurationError, read_admin_token, "/no/such")))
