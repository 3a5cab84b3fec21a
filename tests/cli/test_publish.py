"""``airyd publish`` against a site in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from airyd.cli.admin_client import AdminEndpoint, one_connection
from airyd.cli.lines import Line
from airyd.cli.publish import Publisher, publish_lines
from tests.cli.fakes import Screen

URL = "http://127.0.0.1:8081"
UNSURE = "the event may have been published: publishing it again may publish it twice"
_HERE = IPv4Address("TCP", "127.0.0.1", 8081)
_Answer = tuple[int, bytes] | None


class Recorder(Resource):
    """Answers every request with what the test wants, and remembers it.

    :ivar answer: gives the status and body for an event's body; None: no answer at all
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[bytes], _Answer] = lambda body: (200, b'{"id": "ab-%d"}' % len(self.bodies))
        self.bodies: list[bytes] = []
        self.uris: list[bytes] = []
        self.content_types: list[str | None] = []
        self.authorizations: list[str | None] = []

    def render(self, request: Request) -> bytes | int:
        assert request.content is not None
        body: bytes = request.content.read()
        self.bodies.append(body)
        self.uris.append(request.uri)
        self.content_types.append(request.getHeader("content-type"))
        self.authorizations.append(request.getHeader("authorization"))
        answer = self.answer(body)
        if answer is None:
            return NOT_DONE_YET
        request.setResponseCode(answer[0])
        return answer[1]


@implementer(IStreamClientEndpoint, IAgentEndpointFactory)
class Web:
    """A web server in memory.

    :ivar connections: how many were made
    """

    def __init__(self, clock: IReactorTime, resource: Resource) -> None:
        self._site = Site(resource, reactor=clock)
        self._clock = clock
        self.pumps: list[IOPump] = []
        self.refusal: Exception | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.refusal is not None:
            return fail(self.refusal)
        client = protocolFactory.buildProtocol(_HERE)
        server = self._site.buildProtocol(_HERE)
        assert client is not None
        self.pumps.append(
            connect(server, FakeTransport(server, isServer=True), client, FakeTransport(client, isServer=False))
        )
        return succeed(client)

    def flush(self) -> None:
        """Carry bytes until nobody has any."""
        for pump in self.pumps:
            pump.flush()


class PublishTests(SynchronousTestCase):
    """Lines in, ids out."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.resource = Recorder()
        self.web = Web(self.clock, self.resource)
        self.screen = Screen("airyd publish")
        self.pool = one_connection(self.clock)

    def start(self, *lines: Line, destination: str = "/queue/message", token: str | None = None) -> Deferred[int]:
        agent = Agent.usingEndpointFactory(self.clock, self.web, self.pool)
        publisher = Publisher(AdminEndpoint(agent, self.clock, URL, token), destination)
        rest = iter(lines)
        return Deferred.fromCoroutine(
            publish_lines(publisher, lambda: succeed(next(rest, None)), self.screen.console, self.clock)
        )

    def carry(self, running: Deferred[int]) -> None:
        """Carry bytes until the work is done or stuck."""
        for _ in range(1000):
            if running.called:
                break
            self.web.flush()

    def publish(self, *bodies: bytes, destination: str = "/queue/message") -> int:
        """Publish these as lines, and return the exit status."""
        running = self.start(*(Line(n, body) for n, body in enumerate(bodies, 1)), destination=destination)
        self.carry(running)
        return self.successResultOf(running)

    def ids(self) -> Sequence[object]:
        return [json.loads(line) for line in self.screen.out.text.splitlines()]

    def test_one_event(self) -> None:
        """The body of the command line: just the id."""
        running = self.start(Line(None, b'{"n": 1}'))
        self.carry(running)
        self.assertEqual(0, self.successResultOf(running))
        self.assertEqual([b'{"n": 1}'], self.resource.bodies)
        self.assertEqual([b"/publish/queue/message"], self.resource.uris)
        self.assertEqual(["application/json"], self.resource.content_types)
        self.assertEqual('{"id": "ab-1"}\n', self.screen.out.text)
        self.assertEqual("", self.screen.err.text)

    def test_token(self) -> None:
        for token, shown in ((None, None), ("t", "Bearer t")):
            self.carry(self.start(Line(None, b"{}"), token=token))
            self.assertEqual(self.resource.authorizations.pop(), shown)

    def test_one_event_refused(self) -> None:
        self.resource.answer = lambda body: (400, b'{"error": "not a JSON object"}')
        running = self.start(Line(None, b"[]"))
        self.carry(running)
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual("", self.screen.out.text)
        self.assertEqual("airyd publish: refused: not a JSON object\n", self.screen.err.text)

    def test_order_and_one_connection(self) -> None:
        bodies = [b'{"n":%d}' % n for n in range(50)]
        self.assertEqual(0, self.publish(*bodies))
        self.assertEqual(bodies, self.resource.bodies)
        self.assertEqual(1, len(self.web.pumps))
        self.assertEqual([{"id": f"ab-{n}"} for n in range(1, 51)], self.ids())
        self.assertEqual("airyd publish: 50 published\n", self.screen.err.text)

    def test_refused_lines(self) -> None:
        """The rest goes on, and the status tells."""
        self.resource.answer = lambda body: (400, b'{"error":"bad"}') if body == b"no" else (200, b'{"id":"x"}')
        self.assertEqual(1, self.publish(b"{}", b"no", b"{}", b"no"))
        self.assertEqual(2, len(self.ids()))
        self.assertEqual(
            "airyd publish: line 2: refused: bad\n"
            "airyd publish: line 4: refused: bad\n"
            "airyd publish: 2 published, 2 refused\n",
            self.screen.err.text,
        )

    def test_refused_for_all(self) -> None:
        """What is said of the destination would be said of every line."""
        self.resource.answer = lambda body: (404, b'{"error":"no such destination"}')
        self.assertEqual(1, self.publish(b"{}", b"{}", b"{}"))
        self.assertEqual(1, len(self.resource.bodies))
        self.assertEqual(
            "airyd publish: line 1: no such destination\nairyd publish: 0 published\n", self.screen.err.text
        )

    def test_source_away(self) -> None:
        """It may be back for the next line."""
        answers = iter([(503, b'{"error":"event source unavailable"}'), (200, b'{"id":"x"}')])
        self.resource.answer = lambda body: next(answers)
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        said = self.screen.err.text
        self.assertIn(f"line 1: not confirmed: event source unavailable; {UNSURE}\n", said)
        self.assertIn("1 published, 1 not confirmed", said)

    def test_other_servers(self) -> None:
        """Whatever answers, there is one line that says what."""
        for status, answer, expected in [
            (200, b"hello", "line 1: the answer holds no id: is this airyd's admin endpoint?"),
            (200, b'{"id":7}', "line 1: the answer holds no id: is this airyd's admin endpoint?"),
            (405, b"<html>...", "line 1: 405 "),
            (500, b"", "line 1: not confirmed: 500 "),
            (403, b"wrong\norigin", "line 1: 403 "),
            (400, b'{"error":"\x1b[2J"}', "line 1: refused: 400 "),
            (400, rb'{"error":"\u001b[2J"}', r"line 1: refused: \x1b[2J"),
        ]:
            self.screen = Screen("airyd publish")
            given = (status, answer)
            self.resource.answer = lambda body, given=given: given  # type: ignore[misc]  # mypy types no such lambda
            self.assertEqual(1, self.publish(b"{}"))
            self.assertIn(f"airyd publish: {expected}", self.screen.err.text.splitlines()[0])
            self.assertTrue(self.screen.err.text.replace("\n", "").isprintable())

    def test_server_away(self) -> None:
        self.web.refusal = ConnectionRefusedError()
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertIn(f"line 1: cannot reach {URL}: ", self.screen.err.text)
        self.assertIn("0 published", self.screen.err.text)

    def test_connection_lost(self) -> None:
        """Whether the event was taken is not known, and it is not sent again."""
        self.resource.answer = lambda body: None
        running = self.start(Line(1, b"{}"), Line(2, b"{}"))
        self.web.flush()
        (pump,) = self.web.pumps
        pump.serverIO.loseConnection()
        self.carry(running)
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual([b"{}"], self.resource.bodies)
        self.assertIn("line 1: the connection was lost before the answer", self.screen.err.text)
        self.assertIn(UNSURE, self.screen.err.text)

    def test_no_answer(self) -> None:
        self.resource.answer = lambda body: None
        running = self.start(Line(1, b"{}"))
        self.web.flush()
        self.clock.advance(31)
        self.carry(running)
        self.assertEqual(1, self.successResultOf(running))
        self.assertIn(f"line 1: no answer within 30 s; {UNSURE}\n", self.screen.err.text)

    def test_interrupted(self) -> None:
        """It is said what is not known of the line that was on its way."""
        self.resource.answer = lambda body: None
        running = self.start(Line(1, b"{}"), Line(2, b"{}"))
        self.web.flush()
        running.cancel()
        self.carry(running)
        self.assertTrue(running.called)
        said = self.screen.err.text.splitlines()
        self.assertEqual(said[0], f"airyd publish: line 1: interrupted before the answer; {UNSURE}")

    def test_destinations_are_quoted(self) -> None:
        self.publish(b"{}", destination="/app/50%*@x+y~z")
        self.assertEqual([b"/publish/app/50%25%2A%40x%2By~z"], self.resource.uris)

    def test_empty_input(self) -> None:
        self.assertEqual(0, self.publish())
        self.assertEqual("airyd publish: 0 published\n", self.screen.err.text)

    def test_nobody_reads_the_ids(self) -> None:
        self.screen.out.broken = BrokenPipeError()
        self.assertEqual(1, self.publish(b"{}", b"{}"))
        self.assertEqual(1, len(self.resource.bodies))
        self.assertIn("nobody reads the ids any more; stopped\n", self.screen.err.text)

    def test_on_a_terminal(self) -> None:
        """Plain ids, and progress with a rate, ten times a second at most."""
        self.screen = Screen("airyd publish", terminal=True, follows=True)

        def answer(body: bytes) -> _Answer:
            self.clock.advance(0.06)
            return 200, b'{"id":"x"}'

        self.resource.answer = answer
        self.assertEqual(0, self.publish(*[b"{}"] * 10))
        self.assertEqual("x\n" * 10, self.screen.out.text)
        shown = self.screen.err.text.split("\r\x1b[K")
        self.assertIn("airyd publish: 4 published, 17/s", shown)
        self.assertEqual(5, sum(1 for text in shown if text.startswith("airyd publish") and not text.endswith("\n")))
        self.assertEqual("airyd publish: 10 published, 17/s\n", shown[-1])
