"""The opening handshake: which requests are upgraded, and how others are refused (RFC 6455, section 4; RFC 7692)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from tests.integration.case import DaemonTestCase
from tests.integration.raw import Ended, RawClient, Response


class OpeningHandshakeTests(DaemonTestCase):
    """With default options: only the own origin, and the path ``/ws.communication``."""

    #: Handshakes that are refused.
    refused_plainly: ClassVar[tuple[dict[str, Any], ...]] = (
        {"path": "/nothing"},
        {"headers": {"Origin": "http://evil.example"}},
        {"protocols": ["mqtt"]},
    )

    @property
    def port(self) -> int:
        """The port for clients."""
        return self.daemon.port

    def client(self, **options: Any) -> RawClient:
        """Connect a client that sends nothing yet."""
        client = RawClient(self.port, **options)
        self.addCleanup(client.abort)
        return client

    def ask(self, **options: Any) -> Response:
        """Send one opening handshake and return the answer."""
        return self.client(**options).ask()

    def test_best_subprotocol(self) -> None:
        for offered, chosen in [
            (["v10.stomp", "v11.stomp", "v12.stomp"], "v12.stomp"),
            (["v12.stomp", "v11.stomp", "v10.stomp"], "v12.stomp"),
            (["v10.stomp", "v11.stomp"], "v11.stomp"),
            (["v10.stomp"], "v10.stomp"),
            (["mqtt", "v11.stomp", "v13.stomp"], "v11.stomp"),
        ]:
            response = self.ask(protocols=offered)
            self.assertEqual((response.status, response.headers.get("sec-websocket-protocol")), (101, chosen), offered)

    def test_no_subprotocol(self) -> None:
        response = self.ask(protocols=[])
        self.assertEqual(response.status, 101)
        self.assertNotIn("sec-websocket-protocol", response.headers)

    def test_unknown_subprotocols(self) -> None:
        self.assertEqual(self.ask(protocols=["mqtt"]).status, 400)
        self.assertEqual(self.ask(protocols=["v13.stomp", "wamp.2.json"]).status, 400)

    def test_own_origin(self) -> None:
        self.assertEqual(self.ask(headers={"Origin": f"http://127.0.0.1:{self.port}"}).status, 101)

    def test_own_origin_behind_a_proxy(self) -> None:
        """A proxy's ``Host`` may have a default port or none; with another port the origin is foreign."""
        for host, status in [
            ("app.example", 101),
            ("app.example:443", 101),
            ("app.example:80", 101),
            ("app.example.", 101),
            ("app.example:8080", 403),
        ]:
            self.assertEqual(self.ask(headers={"Host": host, "Origin": "https://app.example"}).status, status, host)

    def test_foreign_origin(self) -> None:
        for origin in ["http://evil.example", "https://127.0.0.1.evil.example", "null", "http://127.0.0.1:1"]:
            self.assertEqual(self.ask(headers={"Origin": origin}).status, 403, origin)

    def test_wrong_path(self) -> None:
        for path in ["/", "/nothing", "/ws.communication2", "/x/ws.communication"]:
            self.assertEqual(self.ask(path=path).status, 404, path)

    def test_query_is_ignored(self) -> None:
        self.assertEqual(self.ask(path="/ws.communication?a=b&redirect=/x&after=5").status, 101)
        self.assertEqual(self.ask(path="/nothing?/ws.communication").status, 404)

    def test_no_upgrade(self) -> None:
        response = self.ask(headers={"Upgrade": None, "Connection": "close"})
        self.assertEqual(response.status, 426)
        self.assertEqual(response.headers["upgrade"].lower(), "websocket")

    def test_wrong_version(self) -> None:
        for version in ["0", "7", "12", "14", "255"]:
            response = self.ask(headers={"Sec-WebSocket-Version": version})
            self.assertEqual(response.status, 426, version)
            self.assertIn("13", response.headers["sec-websocket-version"])

    def test_bad_requests(self) -> None:
        requests: dict[str, dict[str, Any]] = {
            "no key": {"headers": {"Sec-WebSocket-Key": None}},
            "short key": {"headers": {"Sec-WebSocket-Key": "abc"}},
            "no host": {"headers": {"Host": None}},
            "version not a number": {"headers": {"Sec-WebSocket-Version": "thirteen"}},
            "post": {"method": "POST"},
            "no method at all": {"method": "\0\1\2"},
            "old HTTP": {"http": "HTTP/0.9"},
        }
        for name, options in requests.items():
            response = self.ask(**options)
            self.assertTrue(400 <= response.status < 506, (name, response))

    def test_head_in_single_bytes(self) -> None:
        client = self.client()
        for byte in client.request:
            client.send_bytes(bytes([byte]))
        self.assertEqual(client.response().status, 101)

    def test_head_too_large(self) -> None:
        client = self.client(headers={"X-Long": "x" * 17_000})
        self.refused(client, client.request)

    def test_endless_head(self) -> None:
        """The size limit applies while the head is still arriving."""
        client = self.client()
        self.refused(client, client.request[:-4] + b"\r\nX-Long: " + b"x" * 64_000)

    def test_too_many_headers(self) -> None:
        client = self.client(headers={f"X-{n}": "1" for n in range(200)})
        self.refused(client, client.request)

    def test_tls_on_a_port_without(self) -> None:
        """A client that begins with TLS is answered at once; otherwise it would wait for its time-out."""
        client = self.client()
        client.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512))
        self.assertEqual(client.response().status, 400)
        client.expect_end()

    def refused(self, client: RawClient, request: bytes) -> None:
        """Check that the request gets a 4xx response or none, and that the connection ends."""
        client.send_bytes(request)
        try:
            self.assertIn(client.response().status, (400, 413, 431))
        except Ended:
            return
        client.expect_end()

    def test_compression(self) -> None:
        for offer, answer in [
            ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover"),
            ("permessage-deflate; x=1", None),
            ("y", None),
        ]:
            response = self.ask(headers={"Sec-WebSocket-Extensions": offer})
            self.assertEqual((response.status, response.headers.get("sec-websocket-extensions")), (101, answer), offer)

    def test_refusals_are_plain(self) -> None:
        """Refusals contain neither a product version nor a traceback."""
        for options in self.refused_plainly:
            client = self.client(**options)
            self.assertNotIn("autobahn", str(client.ask()).lower())
            client.expect_end()


class OriginTests(DaemonTestCase):
    """With ``--origin`` only the listed origins may connect."""

    options = (
        "--origin=https://app.example/",
        "--origin=https://other.example:8443",
        "--origin=https://*.example.com",
        "--origin=file://",
    )

    def test_listed(self) -> None:
        for origin, status in [
            ("https://app.example", 101),
            ("https://other.example:8443", 101),
            ("https://other.example", 403),
            ("http://app.example", 403),
            ("https://app.example.evil.example", 403),
            ("https://a.example.com", 101),
            ("https://a.b.example.com", 101),
            ("https://example.com", 403),
            ("https://a.example.com.evil.example", 403),
            ("file://", 101),
            ("null", 403),
        ]:
            client = RawClient(self.daemon.port, headers={"Origin": origin})
            self.addCleanup(client.abort)
            self.assertEqual(client.ask().status, status, origin)
        self.open()

    def test_the_log_says_which_option_is_missing(self) -> None:
        start = len(self.daemon.log)
        client = RawClient(self.daemon.port, headers={"Origin": "https://new.example:8443"})
        self.addCleanup(client.abort)
        self.assertEqual(client.ask().status, 403)
        self.daemon.wait_for_log(re.compile(r"--origin https://new\.example:8443 would allow it"), start)
