"""Health, readiness, metrics, and what every answer has."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import airyd
from tests.admin.browser import AdminCase


class HealthTests(AdminCase):
    """``/healthz`` and ``/readyz``."""

    def test_alive(self) -> None:
        answer = self.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.body), (200, b"ok"))

    def test_ready(self) -> None:
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.json()), (200, {"ready": True, "reasons": []}))

    def test_not_ready_says_why(self) -> None:
        self.reasons = ["the source was not reached yet"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json(), {"ready": False, "reasons": ["the source was not reached yet"]})

    def test_warnings_are_no_reasons(self) -> None:
        self.warnings = ["the keys for tokens are 400 s old"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), {"ready": True, "reasons": [], "warnings": self.warnings})

    def test_readiness_is_asked_each_time(self) -> None:
        connection = self.connect()
        for reasons, status in (["a"], 503), ([], 200), (["b"], 503):
            self.reasons = reasons
            connection.ask("GET", "/readyz")
            self.assertEqual(connection.read().status, status)

    def test_alive_though_not_ready(self) -> None:
        self.reasons = ["draining"]
        self.assertEqual(self.ask("GET", "/healthz").status, 200)


class MetricsPageTests(AdminCase):
    """``/metrics``."""

    def test_text(self) -> None:
        self.metrics.connections = 3
        answer = self.ask("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain; "))
        values = {s.name: s.value for family in parse_text(answer.body.decode()) for s in family.samples}
        self.assertEqual(values["airyd_connections"], 3)
        self.assertIn("process_open_fds", values)
        self.assertIn("python_info", values)

    def test_openmetrics_when_asked_for(self) -> None:
        answer = self.ask(
            "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
        )
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text; "))
        self.assertIn("airyd_connections", {family.name for family in parse_openmetrics(answer.body.decode())})

    def test_query_string_is_ignored(self) -> None:
        self.assertEqual(self.ask("GET", "/metrics?a=b").status, 200)

    def test_strange_accept(self) -> None:
        openmetrics = "application/openmetrics-text; version="
        for accept in "*/*", "", f"{openmetrics}0.0.1", f"{openmetrics}x", f"{openmetrics}\xff", ";;,,=", "text/\xff":
            self.assertEqual(self.ask("GET", "/metrics", {"Accept": accept}).status, 200, accept)


class HttpTests(AdminCase):
    """HTTP's requirements for every page."""

    def test_unknown_path(self) -> None:
        for path in "/nothing", "/healthz/", "/publish", "*", "http://127.0.0.1/healthz":
            answer = self.ask("GET", path)
            self.assertEqual(answer.status, 404, path)
            self.assertIn("/healthz, /readyz, /metrics", answer.json()["error"])

    def test_wrong_method(self) -> None:
        for method in "POST", "PUT", "OPTIONS", "BREW":
            answer = self.ask(method, "/healthz")
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"), method)
            self.assertIn("error", answer.json())

    def test_head_is_get_without_the_body(self) -> None:
        self.reasons = ["x"]
        for path in "/healthz", "/readyz", "/nothing":
            connection = self.connect()
            connection.ask("HEAD", path)
            headers = connection.read(head_only=True)
            self.assertTrue(connection.silent)
            whole = self.ask("GET", path)
            self.assertEqual(headers.status, whole.status)
            self.assertEqual(headers.headers["content-length"], str(len(whole.body)))

    def test_every_answer_is_marked(self) -> None:
        big = {"Content-Type": "application/json", "Content-Length": "9999"}
        answers = [
            self.ask("GET", "/healthz"),
            self.ask("GET", "/nothing"),
            self.ask("OPTIONS", "*"),
            self.ask("GET", "/metrics", {"Host": "example.org"}),
            self.ask("POST", "/publish/queue/message", big),
        ]
        self.assertEqual([answer.status for answer in answers], [200, 404, 404, 421, 413])
        for answer in answers:
            self.assertEqual(answer.headers["server"], f"airyd/{airyd.__version__}")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertIn("GMT", answer.headers["date"])

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        connection = self.connect()
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual([connection.read().status, connection.read().status], [200, 404])

    def test_idle_connection_is_closed(self) -> None:
        connection = self.connect()
        connection.send(b"GET /healthz HTT")
        self.clock.advance(59)
        self.assertTrue(connection.transport.connected)
        self.clock.advance(1)
        self.assertFalse(connection.transport.connected)

    def test_nothing_runs_while_nobody_asks(self) -> None:
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.site.doStop()
