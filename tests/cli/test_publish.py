"""``airyd publish`` against a web server on loopback."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli import admin_client
from airyd.cli.admin_client import AdminClient
from airyd.cli.main import interruptible
from airyd.cli.publish import Line, Publisher, PublishFailed, publish_lines, read_lines
from tests.cli.fakes import Screen
from tests.cli.web import Answer, Web
from tests.patience import PATIENCE

UNSURE = "the event may have been published: publishing it again may publish it twice"


class LineTests(SynchronousTestCase):
    """Lines in their order, with their numbers."""

    def test_lines(self) -> None:
        """Blank lines are counted and left out; a line's end may be CR LF; the last line needs none."""
        lines = read_lines(io.BytesIO(b"one\n\n  \r\nfour\r\nfive"))
        self.assertEqual([Line(1, b"one"), Line(4, b"four"), Line(5, b"five")], list(lines))
        self.assertEqual([], list(read_lines(io.BytesIO())))

    def test_too_long(self) -> None:
        for end in (b"", b"\n"):
            lines = read_lines(io.BytesIO(b"fine\n" + b"x" * 100 + end), longest=99)
            self.assertEqual(Line(1, b"fine"), next(lines))
            error = self.assertRaises(PublishFailed, next, lines)
            self.assertIn("line 2 is longer than 99 bytes", str(error))

    def test_cannot_be_read(self) -> None:
        """Such as a terminal that has gone."""

        class Gone(io.BytesIO):
            def readline(self, size: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        error = self.assertRaises(PublishFailed, next, read_lines(Gone()))
        self.assertEqual("cannot read standard input: Input/output error", str(error))


class PublishTests(SynchronousTestCase):
    """Published lines and their ids."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.web = Web()
        self.addCleanup(self.web.close)
        self.screen = Screen("airyd publish")

    def client(self, token: str | None = None) -> AdminClient:
        client = AdminClient(self.web.url, self.clock.seconds, token)
        self.addCleanup(client.close)
        return client

    def publish_lines(self, client: AdminClient, lines: Iterable[Line], destination: str = "/queue/message") -> int:
        """Publish these lines, and return the exit status."""
        return publish_lines(Publisher(client, destination), lines, self.screen.console, self.clock.seconds)

    def publish(self, *bodies: bytes, destination: str = "/queue/message") -> int:
        """Publish these as lines of the input, and return the exit status."""
        return self.publish_lines(self.client(), (Line(n, body) for n, body in enumerate(bodies, 1)), destination)

    def ids(self) -> Sequence[object]:
        return [json.loads(line) for line in self.screen.out.text.splitlines()]

    def test_one_event(self) -> None:
        """The body of the command line: just the id."""
        self.assertEqual(0, self.publish_lines(self.client(), [Line(None, b'{"n": 1}')]))
        self.assertEqual([b'{"n": 1}'], self.web.bodies)
        self.assertEqual(["/publish/queue/message"], self.web.paths)
        self.assertEqual(["application/json"], [each["content-type"] for each in self.web.headers])
        self.assertEqual('{"id": "ab-1"}\n', self.screen.out.text)
        self.assertEqual("", self.screen.err.text)

    def test_token(self) -> None:
        for token, shown in ((None, None), ("t", "Bearer t")):
            self.publish_lines(self.client(token), [Line(None, b"{}")])
            self.assertEqual(self.web.headers.pop().get("authorization"), shown)

    def test_one_event_refused(self) -> None:
        self.web.answer = lambda body: (400, b'{"error": "not a JSON object"}')
        self.assertEqual(1, self.publish_lines(self.client(), [Line(None, b"[]")]))
        self.assertEqual("", self.screen.out.text)
        self.assertEqual("airyd publish: refused: not a JSON object\n", self.screen.err.text)

    def test_order_and_one_connection(self) -> None:
        bodies = [b'{"n":%d}' % n for n in range(50)]
        self.assertEqual(0, self.publish(*bodies))
        self.assertEqual(bodies, self.web.bodies)
        self.assertEqual(1, self.web.connections)
        self.assertEqual([{"id": f"ab-{n}"} for n in range(1, 51)], self.ids())
        self.assertEqual("airyd publish: 50 published\n", self.screen.err.text)

    def test_refused_lines(self) -> None:
        """The other lines are published, and the status is 1."""
        self.web.answer = lambda body: (400, b'{"error":"bad"}') if body == b"no" else (200, b'{"id":"x"}')
        self.assertEqual(1, self.publish(b"{}", b"no", b"{}", b"no"))
        self.assertEqual(2, len(self.ids()))
        self.assertEqual(
            "airyd publish: line 2: refused: bad\n"
            "airyd publish: line 4: refused: bad\n"
            "airyd publish: 2 published, 2 refused\n",
            self.screen.err.text,
        )

    def test_refused_for_all(self) -> None:
        """A refusal of the destination would meet every line, so publishing stops."""
        self.web.answer = lambda body: (404, b'{"error":"no such destination"}')
        self.assertEqual(1, self.publish(b"{}", b"{}", b"{}"))
        self.assertEqual(1, len(self.web.bodies))
        self.assertEqual(
            "airyd publish: line 1: no such destination\nairyd publish: 0 published\n", self.screen.err.text
        )

    def test_source_away(self) -> None:
        """It may be back for the next line."""
        answers = iter([(503, b'{"error":"event source unavailable"}'), (200, b'{"id":"x"}')])
        self.web.answer = lambda body: next(answers)
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        said = self.screen.err.text
        self.assertIn(f"line 1: not confirmed: event source unavailable; {UNSURE}\n", said)
        self.assertIn("1 published, 1 not confirmed", said)

    def test_other_servers(self) -> None:
        """Whatever answers, one line says what is wrong."""
        for status, answer, expected in [
            (200, b"hello", "line 1: the answer has no id: is this airyd's admin page?"),
            (200, b'{"id":7}', "line 1: the answer has no id: is this airyd's admin page?"),
            (405, b"<html>...", "line 1: 405 "),
            (500, b"", "line 1: not confirmed: 500 "),
            (403, b"wrong\norigin", "line 1: 403 "),
            (400, b'{"error":"\x1b[2J"}', "line 1: refused: 400 "),
            (400, rb'{"error":"\u001b[2J"}', r"line 1: refused: \x1b[2J"),
        ]:
            self.screen = Screen("airyd publish")
            given = (status, answer)
            self.web.answer = lambda body, given=given: given  # type: ignore[misc]  # mypy types no such lambda
            self.assertEqual(1, self.publish(b"{}"))
            self.assertIn(f"airyd publish: {expected}", self.screen.err.text.splitlines()[0])
            self.assertTrue(self.screen.err.text.replace("\n", "").isprintable())

    def test_server_away(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.web.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertIn(f"line 1: cannot reach {self.web.url}: connection refused\n", self.screen.err.text)
        self.assertIn("0 published", self.screen.err.text)

    def test_no_such_host(self) -> None:
        self.web.url = "http://nowhere.invalid:8081"
        self.assertEqual(1, self.publish(b"{}"))
        self.assertIn("the name nowhere.invalid cannot be resolved\n", self.screen.err.text)

    def test_connection_lost(self) -> None:
        """Whether the event was taken is not known, and it is not sent again."""
        self.web.answer = lambda body: None
        self.web.over.set()
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertEqual([b"{}"], self.web.bodies)
        self.assertIn("line 1: the connection was lost before the answer", self.screen.err.text)
        self.assertIn(UNSURE, self.screen.err.text)

    def test_no_answer(self) -> None:
        self.patch(admin_client, "_ANSWER_PATIENCE", 0.2)
        self.web.answer = lambda body: None
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertEqual([b"{}"], self.web.bodies)
        self.assertIn(f"line 1: no answer within 0 s; {UNSURE}\n", self.screen.err.text)

    def test_interrupted(self) -> None:
        """The message says that the line in flight may have been published."""

        def answer(body: bytes) -> Answer | None:
            os.kill(os.getpid(), signal.SIGTERM)
            return None

        self.web.answer = answer
        self.assertEqual(128 + signal.SIGTERM, interruptible(lambda: self.publish(b"{}", b"{}")))
        self.assertEqual([b"{}"], self.web.bodies)
        said = self.screen.err.text.splitlines()
        self.assertEqual(said[0], f"airyd publish: line 1: interrupted before the answer; {UNSURE}")
        self.assertIn("0 published", said[1])

    def test_interrupted_while_it_waits_for_input(self) -> None:
        def lines() -> Iterator[Line]:
            yield Line(1, b"{}")
            os.kill(os.getpid(), signal.SIGINT)
            yield Line(2, b"{}")

        status = interruptible(lambda: self.publish_lines(self.client(), lines()))
        self.assertEqual(128 + signal.SIGINT, status)
        self.assertEqual("airyd publish: 1 published\n", self.screen.err.text)

    def test_after_a_pause(self) -> None:
        """A connection that the server may have closed meanwhile is not reused."""

        def lines() -> Iterator[Line]:
            yield Line(1, b"{}")
            yield Line(2, b"{}")
            self.clock.advance(15)
            yield Line(3, b"{}")

        self.assertEqual(0, self.publish_lines(self.client(), lines()))
        self.assertEqual((3, 2), (len(self.web.bodies), self.web.connections))

    def test_connection_ended_while_idle(self) -> None:
        """The server ends it after an answer: nothing is lost, since nothing was under way."""
        self.web.keeps_open = False
        client = self.client()

        def lines() -> Iterator[Line]:
            yield Line(1, b"{}")
            select.select([client._connection.sock], [], [], PATIENCE)
            yield Line(2, b"{}")

        self.assertEqual(0, self.publish_lines(client, lines()))
        self.assertEqual((2, 2), (len(self.web.bodies), self.web.connections))

    def test_answer_before_the_whole_event(self) -> None:
        """A server need not read a request that it refuses."""
        self.web.refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(1, self.publish(b"x" * 10_000_000))
        self.assertIn("line 1: refused: 413 Content Too Large\n", self.screen.err.text)

    def test_destinations_are_quoted(self) -> None:
        self.publish(b"{}", destination="/app/50%*@x+y~z")
        self.assertEqual(["/publish/app/50%25%2A%40x%2By~z"], self.web.paths)

    def test_empty_input(self) -> None:
        self.assertEqual(0, self.publish())
        self.assertEqual("airyd publish: 0 published\n", self.screen.err.text)

    def test_nobody_reads_the_ids(self) -> None:
        self.screen.out.broken = BrokenPipeError()
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertEqual(1, len(self.web.bodies))
        self.assertIn("standard output was closed; stopped\n", self.screen.err.text)

    def test_on_a_terminal(self) -> None:
        """Plain ids, and progress with a rate, ten times a second at most."""
        self.screen = Screen("airyd publish", terminal=True, follows=True)

        def answer(body: bytes) -> Answer:
            self.clock.advance(0.06)
            return 200, b'{"id":"x"}'

        self.web.answer = answer
        self.assertEqual(0, self.publish(*[b"{}"] * 10))
        self.assertEqual("x\n" * 10, self.screen.out.text)
        shown = self.screen.err.text.split("\r\x1b[K")
        self.assertIn("airyd publish: 4 published, 17/s", shown)
        self.assertEqual(5, sum(1 for text in shown if text.startswith("airyd publish") and not text.endswith("\n")))
        self.assertEqual("airyd publish: 10 published, 17/s\n", shown[-1])
