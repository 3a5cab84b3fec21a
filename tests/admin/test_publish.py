"""``POST /publish/…``."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred, fail
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from airyd.errors import PayloadFault, PayloadRefused, SourceUnavailable, UnknownDestination
from tests.admin.browser import JSON, LIMIT, AdminCase

TARGET = "/publish/queue/message"
CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}


def chunked_head(target: str = TARGET) -> bytes:
    """Return the head of a request without a length."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()


class PublishTests(AdminCase):
    """Requests that publish, and requests that are refused."""

    def test_published_byte_for_byte(self) -> None:
        body = b'{"a": "\xc3\xa9",\n "b" : 1}'
        answer = self.ask("POST", TARGET, JSON, body)
        self.assertEqual((answer.status, answer.json()), (200, {"id": "0c1d2e3f-7-1"}))
        self.assertEqual(self.published, [("/queue/message", body)])

    def test_content_type_with_parameters(self) -> None:
        for value in "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/json ;x=y":
            self.assertEqual(self.ask("POST", TARGET, {"Content-Type": value}, b"{}").status, 200, value)

    def test_other_content_types(self) -> None:
        refused = ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json", "", "text/\xff"]
        for value in [*refused, "multipart/form-data; boundary=x", "text/plain; application/json"]:
            answer = self.ask("POST", TARGET, {"Content-Type": value}, b"{}")
            self.assertEqual(answer.status, 415, value)
            self.assertIn("application/json", answer.json()["error"])
        self.assertEqual(self.ask("POST", TARGET, {}, b"{}").status, 415)
        self.assertEqual(self.published, [])

    def test_destination_is_percent_decoded_once(self) -> None:
        for target, destination in (
            ("/publish/queue%2Fmessage", "/queue/message"),
            ("/publish/a%2541", "/a%41"),
            ("/publish/a+b?c=d", "/a+b"),
            ("/publish/%C3%A9", "/é"),
            ("/publish//x", "//x"),
            ("/publish/", "/"),
        ):
            self.ask("POST", target, JSON, b"{}")
            self.assertEqual(self.published.pop(), (destination, b"{}"))

    def test_destination_in_broken_utf8(self) -> None:
        self.assertEqual(self.ask("POST", "/publish/%FF", JSON, b"{}").status, 404)
        self.assertEqual(self.published, [])

    def test_refused_payload(self) -> None:
        self.outcome = fail(PayloadRefused(PayloadFault.NOT_UTF8, "the body is not UTF-8: invalid byte at offset 0"))
        answer = self.ask("POST", TARGET, JSON, b"\xff")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json(), {"error": "the body is not UTF-8: invalid byte at offset 0"})

    def test_payload_that_the_publisher_finds_too_big(self) -> None:
        self.outcome = fail(PayloadRefused(PayloadFault.TOO_BIG, "the body has 3 bytes; the limit is 2"))
        self.assertEqual(self.ask("POST", TARGET, JSON, b"{ }").status, 413)

    def test_unknown_destination(self) -> None:
        self.outcome = fail(UnknownDestination("/queue/x is not served here"))
        answer = self.ask("POST", "/publish/queue/x", JSON, b"{}")
        self.assertEqual((answer.status, answer.json()), (404, {"error": "/queue/x is not served here"}))

    def test_source_unavailable(self) -> None:
        self.outcome = fail(SourceUnavailable("connection refused"))
        answer = self.ask("POST", TARGET, JSON, b"{}")
        self.assertEqual((answer.status, answer.json()), (503, {"error": "connection refused"}))

    def test_unforeseen_error_is_logged_and_says_nothing(self) -> None:
        self.outcome = fail(ZeroDivisionError("secret"))
        answer = self.ask("POST", TARGET, JSON, b"{}")
        self.assertEqual((answer.status, answer.json()), (500, {"error": "internal error"}))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_methods(self) -> None:
        for method in "GET", "HEAD", "PUT", "OPTIONS":
            answer = self.ask(method, TARGET)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"), method)
        self.assertEqual(self.published, [])

    def test_answer_comes_when_the_source_has_taken_the_event(self) -> None:
        outcome = self.outcome = Deferred[str]()
        connection = self.connect()
        connection.ask("POST", TARGET, JSON, b"{}")
        self.assertTrue(connection.silent)
        outcome.callback("id")
        self.assertEqual(connection.read().json(), {"id": "id"})
        connection.ask("GET", "/healthz")
        self.assertEqual(connection.read().status, 200)

    def test_client_that_leaves_meanwhile(self) -> None:
        for end in (lambda d: d.callback("id")), (lambda d: d.errback(SourceUnavailable("gone"))):
            outcome = self.outcome = Deferred[str]()
            connection = self.connect()
            connection.ask("POST", TARGET, JSON, b"{}")
            connection.transport.loseConnection()
            end(outcome)
            self.assertTrue(connection.silent)
        self.assertEqual(len(self.published), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BodyLimitTests(AdminCase):
    """A body over the limit is refused before it is read."""

    def refusals(self) -> int:
        """Return how many payloads were counted as too big."""
        return self.metrics.payloads_refused["admin", "too_big"]

    def test_up_to_the_limit(self) -> None:
        self.assertEqual(self.ask("POST", TARGET, JSON, b"x" * LIMIT).status, 200)
        self.assertEqual(self.published, [("/queue/message", b"x" * LIMIT)])
        self.assertEqual(self.refusals(), 0)

    def test_content_length_over_the_limit(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": str(LIMIT + 1)})
        answer = connection.read()
        self.assertEqual((answer.status, answer.headers["connection"]), (413, "close"))
        self.assertIn(str(LIMIT), answer.json()["error"])
        self.assertEqual(self.refusals(), 1)
        self.assertTrue(connection.transport.connected, "closed before the client could read why")
        connection.send(b"x" * (LIMIT + 1))
        self.assertFalse(connection.transport.connected)
        self.assertTrue(connection.silent)
        self.assertEqual(self.published, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_body_that_never_ends(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": "100000000000"})
        self.assertEqual(connection.read().status, 413)
        for _ in range(4):
            connection.send(b"x" * 10000)
            self.clock.advance(1)
        self.assertTrue(connection.transport.connected)
        self.clock.advance(1)
        self.assertFalse(connection.transport.connected)
        self.assertTrue(connection.silent)
        self.assertEqual((self.published, self.refusals()), ([], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_leaves_after_the_refusal(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": "2000"})
        connection.transport.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_asks_before_it_sends(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": "2000", "Expect": "100-continue"})
        self.assertEqual(connection.read().status, 413)
        self.assertTrue(connection.silent)

    def test_client_that_asks_before_it_sends_little(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": "2", "Expect": "100-continue"})
        self.assertEqual(connection.transport.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.transport.clear()
        connection.send(b"{}")
        self.assertEqual(connection.read().status, 200)

    def test_chunks_within_the_limit(self) -> None:
        connection = self.connect()
        connection.send(chunked_head() + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
        self.assertEqual(connection.read().status, 200)
        self.assertEqual(self.published, [("/queue/message", b"{}")])

    def test_chunks_over_the_limit(self) -> None:
        connection = self.connect()
        chunk = b"190\r\n" + b"x" * 400 + b"\r\n"
        connection.send(chunked_head() + chunk + chunk)
        self.assertTrue(connection.silent)
        connection.send(chunk)
        answer = connection.read()
        self.assertEqual((answer.status, answer.headers["connection"]), (413, "close"))
        connection.send(chunk + b"0\r\n\r\n")
        self.assertFalse(connection.transport.connected)
        self.assertTrue(connection.silent)
        self.assertEqual((self.published, self.refusals()), ([], 1))

    def test_next_request_after_a_refusal_is_not_read(self) -> None:
        connection = self.connect()
        connection.ask("POST", TARGET, {**JSON, "Content-Length": "2000"})
        connection.read()
        connection.send(b"x" * 2000 + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(connection.silent)


class LogTests(AdminCase):
    """What the log says."""

    def test_neither_bodies_nor_queries_are_logged(self) -> None:
        """A published event leaves a line with its destination, at most once a minute."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        events.clear()
        self.ask("POST", TARGET + "?token=abc", JSON, b'{"secret": 1}')
        (event,) = events
        self.assertEqual(formatEvent(event), "admin page: publish by loopback: destination /queue/message")
        self.assertIn("once_a_minute", event)
        self.assertNotIn("secret", repr(event["what"]))
        events.clear()
        self.ask("POST", TARGET, JSON, b"secret" * LIMIT)
        (event,) = events
        self.assertEqual(event["origin"], "admin")
        self.assertNotIn("secret", repr(event))
