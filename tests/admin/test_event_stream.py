"""Server-sent events: a trace over HTTP, and the bounds of streams."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from airyd.admin.event_stream import BEAT_SECONDS, MOST_HELD, MOST_STREAMS
from airyd.admin.login import AdminTokens
from airyd.errors import TooManyTraces, UnknownDestination
from airyd.limits import MIB
from airyd.management.queries import TraceLine, TraceQuery
from tests.admin.browser import LIMIT, AdminCase, Connection, FakeTrace
from tests.admin.test_api import FULL, READ

TRACE: Final = "/api/v1/trace?connection=r-1"
LINE: Final = TraceLine(time=1.5, direction="in", command="SEND", connection="r-1", headers=[("a", "b")])
#: The end of a response in chunks.
LAST_CHUNK: Final = b"0\r\n\r\n"


def body_of(data: bytes) -> bytes:
    """Return the body of chunks (RFC 9112, section 7.1), which may go on."""
    body = b""
    while data and not data.startswith(LAST_CHUNK):
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + rest[:length], rest[length + 2 :]
    return body


class StreamCase(AdminCase):
    """Opens streams."""

    token = FULL
    read_token = READ

    def stream(self, target: str = TRACE, token: str = FULL, method: str = "GET") -> Connection:
        """Ask for a stream."""
        connection = self.connect()
        connection.ask(method, target, {"Authorization": f"Bearer {token}"})
        return connection

    def head(self, connection: Connection) -> bytes:
        """Take the head of the response, and the comment that comes with it."""
        sent: bytes = connection.transport.value()
        head, _, rest = sent.partition(b"\r\n\r\n")
        connection.transport.clear()
        connection.transport.write(rest)
        self.assertEqual(self.take(connection), b": airyd\n\n")
        return head

    def take(self, connection: Connection) -> bytes:
        """Take what was sent."""
        data: bytes = connection.transport.value()
        connection.transport.clear()
        return body_of(data)

    def events(self, connection: Connection) -> list[tuple[str, Any]]:
        """Take the events that were sent."""
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", self.take(connection).decode())
        return [(name, json.loads(data)) for name, data in found]

    def pause(self, connection: Connection) -> Any:
        """Let the connection have enough; return what resumes it."""
        producer: Any = connection.transport.producer
        producer.pauseProducing()
        return producer


class TraceTests(StreamCase):
    """``GET /api/v1/trace``."""

    def test_lines(self) -> None:
        connection = self.stream()
        head = self.head(connection)
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "))
        for header in (b"Content-Type: text/event-stream", b"Cache-Control: no-store", b"Transfer-Encoding: chunked"):
            self.assertIn(header, head)
        self.assertNotIn(b"Content-Length", head)
        (trace,) = self.traces
        self.assertEqual(trace.query, TraceQuery(connection="r-1"))
        trace.on_lines([LINE, LINE])
        expected = {
            "time": 1.5,
            "direction": "in",
            "command": "SEND",
            "connection": "r-1",
            "subject": None,
            "headers": [["a", "b"]],
            "size": 0,
            "body": None,
        }
        self.assertEqual(self.events(connection), [("line", expected)] * 2)

    def test_end(self) -> None:
        """When the trace ends, the reason is sent, and the connection serves the next request."""
        connection = self.stream()
        self.head(connection)
        self.traces[0].ended.callback("the connection has ended")
        self.assertTrue(connection.transport.value().endswith(LAST_CHUNK))
        self.assertEqual(self.events(connection), [("end", {"reason": "the connection has ended"})])
        self.assertEqual(self.traces[0].stopped, 1)
        connection.ask("GET", "/healthz")
        self.assertEqual(connection.read().status, 200)

    def test_client_that_leaves(self) -> None:
        connection = self.stream()
        connection.transport.loseConnection()
        self.assertEqual(self.traces[0].stopped, 1)
        self.traces[0].on_lines([LINE])
        self.traces[0].ended.callback("stopped")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time(self) -> None:
        """A trace that does not end by itself is ended."""
        connection = self.stream(f"{TRACE}&seconds=5.5")
        self.head(connection)
        self.assertEqual(self.traces[0].query.seconds, 5.5)
        self.clock.advance(7.4)
        self.assertEqual((self.events(connection), self.traces[0].stopped), ([], 0))
        self.clock.advance(0.1)
        self.assertEqual(self.events(connection), [("end", {"reason": "the time is over"})])
        self.assertEqual((self.traces[0].stopped, self.clock.getDelayedCalls()[1:]), (1, []))

    def test_trace_that_ends_at_once(self) -> None:
        stopped = self.at_once()
        connection = self.stream()
        body = body_of(connection.transport.value().partition(b"\r\n\r\n")[2]).decode()
        self.assertEqual(re.findall(r"event: (\w+)", body), ["line", "end"])
        self.assertEqual(stopped, [1])

    def at_once(self) -> list[int]:
        """Let traces send a line and end before the response has begun."""
        stopped: list[int] = []

        class EndedTrace(FakeTrace):
            def __init__(self, query: TraceQuery, on_lines: Any) -> None:
                super().__init__(query, on_lines)
                on_lines([LINE])
                self.ended.callback("there is no such connection")

            def stop(self) -> None:
                stopped.append(1)

        self.trace_class = EndedTrace
        return stopped

    def test_refused(self) -> None:
        for refusal, status in ((UnknownDestination("no"), 404), (TooManyTraces("10 traces run"), 503)):
            self.reply = refusal
            connection = self.stream()
            self.assertEqual(connection.read().status, status)
        self.assertEqual(len(self.site.services.streams), 0)

    def test_what_to_follow(self) -> None:
        for query in ("", "?connection=a&subject=b", "?destination=/x&subject=b", "?connection=a&filter=a:b"):
            self.assertEqual(self.stream(f"/api/v1/trace{query}").read().status, 400, query)
        for seconds in ("0", "601", "nan", "inf", "1e9", "1_0", "x", "-1"):
            self.assertEqual(self.stream(f"{TRACE}&seconds={seconds}").read().status, 400, seconds)
        self.assertEqual(self.traces, [])
        self.stream("/api/v1/trace?destination=/queue/x&filter=a:b&bodies=true&seconds=600")
        expected = TraceQuery(destination="/queue/x", filter={"a": ["b"]}, has_bodies=True, seconds=600.0)
        self.assertEqual(self.traces[0].query, expected)

    def test_read_token(self) -> None:
        self.assertEqual(self.stream(f"{TRACE}&bodies=true", READ).read().status, 403)
        self.head(self.stream(TRACE, READ))

    def test_head(self) -> None:
        """HEAD begins no trace that goes on."""
        connection = self.stream(method="HEAD")
        self.assertTrue(connection.transport.value().startswith(b"HTTP/1.1 200 "))
        self.assertEqual([trace.stopped for trace in self.traces], [1] * len(self.traces))
        self.assertEqual(len(self.site.services.streams), 0)

    def test_http_1_0(self) -> None:
        """A client of HTTP/1.0 gets no chunks."""
        connection = self.connect()
        connection.send(f"GET {TRACE} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {FULL}\r\n\r\n".encode())
        self.traces[0].ended.callback("over")
        self.assertTrue(connection.transport.value().endswith(b'event: end\ndata: {"reason": "over"}\n\n'))
        self.assertFalse(connection.transport.connected)


class BoundsTests(StreamCase):
    """What a stream may take."""

    def test_beats(self) -> None:
        connection = self.stream(f"{TRACE}&seconds=600")
        self.head(connection)
        for _ in range(4):  # longer than an idle connection may live
            self.clock.pump([1] * int(BEAT_SECONDS))
            self.assertEqual(self.take(connection), b": still here\n\n")
        producer = self.pause(connection)
        self.clock.pump([1] * int(BEAT_SECONDS))
        self.assertEqual(self.take(connection), b"")
        producer.resumeProducing()

    def test_slow_reader(self) -> None:
        """What does not fit is dropped and counted; what was held comes in order."""
        connection = self.stream(f"{TRACE}&bodies=true")
        self.head(connection)
        producer = self.pause(connection)
        line = TraceLine(time=0, direction="in", command="SEND", body="x" * 64 * 1024)
        for _ in range(100):
            self.traces[0].on_lines([line])
        self.assertEqual(self.take(connection), b"")
        producer.resumeProducing()
        events = self.events(connection)
        held = sum(name == "line" for name, _ in events)
        self.assertLessEqual(held * 64 * 1024, MOST_HELD)
        self.assertGreater(held, 10)
        self.assertEqual(events[held:], [("dropped", {"events": 100 - held})])
        self.traces[0].on_lines([LINE])
        self.assertEqual([name for name, _ in self.events(connection)], ["line"])

    def test_paused_while_it_writes(self) -> None:
        """The connection gets no more than it wants at a time."""
        connection = self.stream(f"{TRACE}&bodies=true")
        self.head(connection)
        producer = self.pause(connection)
        for number in range(10):
            self.traces[0].on_lines([TraceLine(time=number, direction="in", command="SEND")])
        write = connection.transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            producer.pauseProducing()

        self.patch(connection.transport, "write", write_and_pause)
        times = []
        for _ in range(10):
            producer.resumeProducing()
            times += [line["time"] for _, line in self.events(connection)]
        self.assertEqual(times, list(range(10)))

    def test_slow_reader_that_leaves(self) -> None:
        """What was held for it is freed, even if something still refers to the stream."""
        connection = self.stream(f"{TRACE}&bodies=true")
        (stream,) = self.site.services.streams._open
        self.pause(connection)
        self.traces[0].on_lines([LINE])
        connection.transport.loseConnection()
        self.assertEqual(len(stream._held), 0)

    def test_end_of_a_slow_reader(self) -> None:
        """The reason is sent, after what is held and the count, and nothing is kept."""
        connection = self.stream(f"{TRACE}&bodies=true")
        self.head(connection)
        self.pause(connection)
        line = TraceLine(time=0, direction="in", command="SEND", body="x" * MIB)
        self.traces[0].on_lines([LINE, line, LINE])
        self.traces[0].ended.callback("over")
        self.assertEqual([name for name, _ in self.events(connection)], ["line", "dropped", "end"])
        self.assertEqual(len(self.site.services.streams), 0)

    def test_most(self) -> None:
        connections = [self.stream() for _ in range(MOST_STREAMS)]
        answer = self.stream().read()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "10"))
        connections[3].transport.loseConnection()
        self.head(self.stream())

    def test_stop(self) -> None:
        """The page stops listening: open streams end, so that nothing waits for them."""
        connection = self.stream()
        self.head(connection)
        self.site.doStart()
        self.site.doStop()
        self.assertEqual(self.events(connection), [("end", {"reason": "airyd is stopping"})])
        self.assertEqual(self.traces[0].stopped, 1)

    def test_other_tokens(self) -> None:
        """Whoever has lost the right to read gets no more lines."""
        connection = self.stream()
        self.head(connection)
        self.site.change(AdminTokens(FULL, READ), LIMIT)
        self.assertEqual(self.events(connection), [])
        self.site.change(AdminTokens("another-full-token", READ), LIMIT)
        self.assertEqual(self.events(connection), [("end", {"reason": "the tokens have changed"})])
