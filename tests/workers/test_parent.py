"""The parent: its checks, its start, its admin page for all workers, and its end."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any, cast

import msgspec
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError, SourceUnavailable, UnknownDestination
from airyd.events import AIRY_DESTINATIONS, MESSAGE
from airyd.interfaces import IServerReactor
from airyd.metrics import Metrics, make_registry
from airyd.revocation import Revocation, RevocationKind, retention
from airyd.sources import routing as several
from airyd.workers.messages import (
    REPORTS,
    AliveReply,
    AliveRequest,
    ErrorReply,
    FinishReload,
    Leave,
    Leaving,
    ManagementRequest,
    MetricsReply,
    MetricsRequest,
    Order,
    PublishReply,
    PublishRequest,
    ReadinessReply,
    ReadinessRequest,
    ReloadReply,
    ReloadRequest,
    Report,
    RevokeReply,
    RevokeRequest,
    Serving,
    Start,
    encode,
    read_order,
)
from airyd.workers.metrics import families_of
from airyd.workers.parent import Parent
from airyd.workers.process import ASK_PATIENCE, PUBLISH_PATIENCE, WorkerFault
from airyd.workers.supervisor import ALIVE_CHECK_EVERY, CHECKS_UNTIL_COVERED, CHECKS_UNTIL_KILLED
from tests.admin.browser import LOCAL, PEER
from tests.doubles import record_log
from tests.loop import Loop

REDIS = "--source=redis://127.0.0.1:1/0"
ANYWHERE = "--listen=tcp:0:interface=127.0.0.1"
#: Which of two revocations each of two workers was to keep.
TURNS = [[False, True], [True, False]]


class Child:
    """A worker's process, played by the test.

    :ivar signals: those that it got
    :ivar answers: whether it reads its orders and answers
    :ivar unread: orders that it has not read
    :ivar managed: queries of operators, which the test answers
    """

    pid = 4711

    def __init__(self, process: Any, descriptors: dict[int, Any]) -> None:
        self.process = process
        self.descriptors = descriptors
        self.signals: list[int] = []
        self.answers = True
        self.unread: list[Order] = []
        self.reasons: list[str] = []
        self.warnings: list[str] = []
        self.metrics = Metrics(AIRY_DESTINATIONS, source_up=lambda: True)
        self.published: list[tuple[str, bytes]] = []
        self.reloads: list[Settings] = []
        self.finished: list[bool] = []
        self.left = 0
        self.changes: list[str] = []
        self.revoked: list[tuple[Revocation, bool]] = []
        self.refusal: ErrorReply | None = None
        self.managed: list[ManagementRequest] = []
        self.start: Start | None = None
        process.makeConnection(self)

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """See ``IProcessTransport``."""
        while data:
            end = 4 + int.from_bytes(data[:4])
            if self.start is None:
                self.start = msgspec.msgpack.decode(data[4:end], type=Start)
            elif self.answers:
                self._run_transaction(read_order(data[4:end]))
            else:
                self.unread.append(read_order(data[4:end]))
            data = data[end:]

    def _run_transaction(self, order: Order) -> None:
        match order:
            case ManagementRequest():
                self.managed.append(order)
            case ReloadRequest(request_id, settings):
                self.reloads.append(settings)
                refusal = self.refusal
                self.say(refusal_of(refusal, request_id) if refusal else ReloadReply(request_id, self.changes))
            case Leave():
                self.left += 1
            case FinishReload(request_id, is_applied):
                self.finished.append(is_applied)
                self.say(ReloadReply(request_id, ()))
            case AliveRequest():
                self.say(AliveReply())
            case ReadinessRequest(request_id):
                self.say(ReadinessReply(request_id, self.reasons, self.warnings))
            case MetricsRequest(request_id):
                self.say(MetricsReply(request_id, families_of(make_registry(self.metrics))))
            case RevokeRequest(request_id, revocation, is_kept):
                self.revoked.append((revocation, is_kept))
                refusal = self.refusal if is_kept else None
                self.say(refusal_of(refusal, request_id) if refusal else RevokeReply(request_id))
            case PublishRequest(request_id, destination, body):
                self.published.append((destination, body))
                refusal = self.refusal
                self.say(
                    refusal_of(refusal, request_id)
                    if refusal
                    else PublishReply(request_id, f"id-{len(self.published)}")
                )

    def say(self, report: Report) -> None:
        """Say something to the parent."""
        data = encode(report)
        self.process.childDataReceived(REPORTS, len(data).to_bytes(4) + data)

    def signalProcess(self, number: int) -> None:
        """See ``IProcessTransport``."""
        self.signals.append(number)

    def end(self, error: Exception) -> None:
        """End."""
        self.process.processEnded(Failure(error))


def refusal_of(refusal: ErrorReply, request_id: int) -> ErrorReply:
    """Return a refusal of this request."""
    return ErrorReply(request_id, refusal.kind, refusal.reason, refusal.fault)


class Reactor(Loop):
    """A reactor in memory whose processes the test plays.

    :ivar children: all that were started
    """

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Child] = []

    def spawnProcess(self, process: Any, executable: str, args: Any, env: Any, childFDs: Any) -> None:
        """See ``IReactorProcess``."""
        self.children.append(Child(process, childFDs))


class ParentCase(SynchronousTestCase):
    """Has a parent of two workers over a reactor in memory; its sockets are real."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.events: list[LogEvent] = record_log(self)
        self.given_up: list[str] = []

    def make(self, *arguments: str) -> Parent:
        """Return the parent of a command line."""
        options = Options()
        options.parseOptions(["--workers=2", *arguments])
        return Parent(options.settings, cast(IServerReactor, self.reactor), lambda: 1.7e9, self.given_up.append)

    def started(self, *arguments: str) -> Parent:
        """Return one that was started as twistd does, whose workers have begun."""
        made = self.make(REDIS, ANYWHERE, *arguments)
        made.privilegedStartService()
        made.startService()
        self.addCleanup(made.stopService)
        self.reactor.run()
        return made

    def serving(self, *arguments: str) -> Parent:
        """Return one whose workers all accept clients."""
        made = self.started(*arguments)
        for child in self.reactor.children:
            child.say(Serving())
        return made

    def refusal(self, *arguments: str) -> str:
        """Return the one line that says what is wrong."""
        error = self.assertRaises(ConfigurationError, self.make, *arguments)
        self.assertEqual(len(str(error).splitlines()), 1)
        return str(error)

    def ask(self, method: str, path: str, body: bytes = b"") -> StringTransportWithDisconnection:
        """Ask the admin page; return the transport that its answer is on, or will be."""
        _, factory, _, _ = cast(Any, self.reactor.tcpServers[0])
        transport = StringTransportWithDisconnection(hostAddress=LOCAL, peerAddress=PEER)
        transport.protocol = factory.buildProtocol(PEER)
        transport.protocol.makeConnection(transport)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nContent-Type: application/json\r\n"
        transport.protocol.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return transport

    def answer(self, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        """Ask the admin page; return the status and the body of its answer."""
        return self.read(self.ask(method, path, body))

    def read(self, transport: StringTransportWithDisconnection) -> tuple[int, str]:
        """Return the status and the body of an answer."""
        head, _, text = transport.value().decode().partition("\r\n\r\n")
        return int(head.split(" ")[1]), text

    def said(self) -> str:
        """Return what was logged."""
        return "\n".join(formatEvent(event) for event in self.events)


class RefusalTests(ParentCase):
    """Settings that several processes can't serve are refused before anything is opened."""

    def test_a_feed_of_its_own(self) -> None:
        for source in ("memory:", "sample:?rate=5"):
            said = self.refusal(f"--source={source}")
            self.assertIn("--workers 2", said)
            self.assertIn(source.partition("?")[0], said)
            self.assertIn("redis:", said)

    def test_the_default_is_one(self) -> None:
        self.assertIn("memory:", self.refusal())

    def test_endpoints(self) -> None:
        for listen in ("unix:/run/a", "systemd:domain=UNIX:index=0"):
            said = self.refusal(REDIS, f"--listen={listen}")
            self.assertIn(f"--listen {listen}", said)
            self.assertIn("tcp:", said)

    def test_what_one_process_would_refuse(self) -> None:
        for wrong, hint in (
            ("--listen=tcp:8080", "anonymous:public"),
            ("--listen=tcp:x:interface=127.0.0.1", "--listen"),
            ("--listen=ssl:1:interface=127.0.0.1:privateKey=/nothing/there", "/nothing/there"),
            ("--auth=nobody", "nobody"),
            ("--origin=app.example", "--origin"),
            (r"--listen=tcp:1\\", "--listen"),
        ):
            self.assertIn(hint, self.refusal(REDIS, wrong))
        self.assertIn("pigeon", self.refusal("--source=pigeon:"))

    def test_file_that_is_not_readable_any_more(self) -> None:
        """After twistd has become another user; a worker would be that user."""
        made = self.make(REDIS, ANYWHERE)
        made.privilegedStartService()
        self.addCleanup(made.stopService)

        def make_source(url: str, context: object) -> None:
            raise ConfigurationError("redis: cannot read password-file /etc/x: PermissionError")

        self.patch(several, "make_source", make_source)
        ended = self.assertRaises(SystemExit, made.startService)
        self.assertEqual(ended.code, "airyd: redis: cannot read password-file /etc/x: PermissionError")
        self.assertEqual(self.reactor.children, [])


class StartTests(ParentCase):
    """Sockets first, processes when the reactor runs."""

    def test_nothing_before_the_reactor_runs(self) -> None:
        made = self.make(REDIS, ANYWHERE)
        made.privilegedStartService()
        made.startService()
        self.addCleanup(made.stopService)
        self.assertEqual(self.reactor.children, [])
        self.reactor.run()
        numbers = [child.start.number for child in self.reactor.children if child.start is not None]
        self.assertEqual(numbers, [0, 1])

    def test_sockets_go_to_all(self) -> None:
        self.started(ANYWHERE)
        for child in self.reactor.children:
            inherited = [child.descriptors[number] for number in sorted(child.descriptors) if number >= 4]
            self.assertEqual(len(inherited), 4)
            for each in inherited:
                copy = socket.fromfd(each, socket.AF_INET, socket.SOCK_STREAM)
                self.addCleanup(copy.close)
                self.assertEqual(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)

    def test_port_in_use(self) -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        made = self.make(REDIS, f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        self.assertIn(": cannot listen there: ", str(self.assertRaises(SystemExit, made.privilegedStartService).code))

    def test_worker_that_can_not_start(self) -> None:
        self.started()
        self.reactor.children[1].end(ProcessTerminated(exitCode=1))
        self.assertEqual(self.given_up, ["worker 2 ended with status 1"])


class ReadinessTests(ParentCase):
    """``/readyz`` reports the workers that accept clients."""

    def test_rolling_restart(self) -> None:
        """A new worker that is not ready yet is a warning, since the others serve."""
        made = self.serving()
        made.restart_workers()
        first, second = self.reactor.children
        first.end(ProcessDone(0))
        new = self.reactor.children[2]
        new.reasons = ["the event source was not reached yet"]
        new.say(Serving())
        reason = "worker 1: the event source was not reached yet"
        status, body = self.answer("GET", "/readyz")
        self.assertEqual((status, json.loads(body)), (200, {"ready": True, "reasons": [], "warnings": [reason]}))
        self.assertEqual(second.left, 0)
        new.reasons = []
        self.reactor.advance(ALIVE_CHECK_EVERY)
        self.assertEqual(second.left, 1)

    def ready(self) -> tuple[int, list[str]]:
        """Return the status and the reasons."""
        status, text = self.answer("GET", "/readyz")
        return status, cast(list[str], msgspec.json.decode(text)["reasons"])

    def test_ready(self) -> None:
        self.serving()
        self.assertEqual(self.ready(), (200, []))

    def test_not_before_all_have_come_up(self) -> None:
        self.started()
        self.assertEqual(self.ready(), (503, ["not all workers have started yet", "no worker accepts clients"]))
        self.reactor.children[0].say(Serving())
        self.assertEqual(self.ready(), (503, ["not all workers have started yet"]))
        self.reactor.children[1].say(Serving())
        self.assertEqual(self.ready(), (200, []))

    def test_reasons_of_each(self) -> None:
        self.serving()
        self.reactor.children[1].reasons = ["the feed is unreachable"]
        self.assertEqual(self.ready(), (503, ["worker 2: the feed is unreachable"]))

    def test_warnings_of_each(self) -> None:
        self.serving()
        self.reactor.children[0].warnings = ["the keys for tokens are 400 s old"]
        status, text = self.answer("GET", "/readyz")
        warnings = ["worker 1: the keys for tokens are 400 s old"]
        self.assertEqual(status, 200)
        self.assertEqual(msgspec.json.decode(text), {"ready": True, "reasons": [], "warnings": warnings})

    def test_one_that_died_is_covered_for(self) -> None:
        """Other workers accept its clients; if there are none, nobody does."""
        self.serving()
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.assertEqual(self.ready(), (200, []))
        self.reactor.children[1].end(ProcessTerminated(signal=9))
        self.assertEqual(self.ready(), (503, ["no worker accepts clients"]))

    def test_silence(self) -> None:
        self.serving()
        self.reactor.children[0].answers = False
        asked = self.ask("GET", "/readyz")
        self.assertEqual(asked.value(), b"")
        self.reactor.advance(ASK_PATIENCE)
        status, text = self.read(asked)
        self.assertEqual(status, 503)
        self.assertIn("worker 1: it does not answer within 2 seconds", text)

    def test_one_that_hangs_is_covered_for(self) -> None:
        """A hung worker is a warning until it answers or is killed; airyd stays ready: others accept its clients."""
        self.serving()
        self.reactor.children[0].answers = False
        self.reactor.pump([ALIVE_CHECK_EVERY] * (CHECKS_UNTIL_COVERED + 1))
        status, text = self.answer("GET", "/readyz")
        warnings = ["worker 1 does not answer"]
        self.assertEqual(status, 200)
        self.assertEqual(msgspec.json.decode(text), {"ready": True, "reasons": [], "warnings": warnings})
        self.reactor.pump([ALIVE_CHECK_EVERY] * CHECKS_UNTIL_KILLED)
        self.assertEqual([child.signals for child in self.reactor.children], [[signal.SIGKILL], []])
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.assertEqual(msgspec.json.decode(self.answer("GET", "/readyz")[1]), {"ready": True, "reasons": []})

    def test_alive(self) -> None:
        """The parent is, whatever becomes of its workers: it looks after them."""
        self.started()
        self.assertEqual(self.answer("GET", "/healthz"), (200, "ok"))

    def test_stopping(self) -> None:
        made = self.serving()
        made.stopService()
        self.assertEqual(self.ready(), (503, ["stopping"]))


class RevokeTests(ParentCase):
    """``POST /revoke`` reaches all that have clients."""

    def revoke(self, name: str = "ann") -> tuple[int, str]:
        """Revoke the tokens of a subject."""
        return self.answer("POST", "/revoke", b'{"subject":"%s"}' % name.encode())

    def test_all_and_one_keeps_it(self) -> None:
        self.serving("--token-max-age=100")
        expected = Revocation(RevocationKind.SUBJECT, "ann", 1.7e9, 1.7e9 + retention(100))
        for _ in range(2):
            status, text = self.revoke()
            self.assertEqual((status, msgspec.json.decode(text)["until"]), (200, expected.until))
        one, other = (child.revoked for child in self.reactor.children)
        self.assertEqual({each for each, _ in one + other}, {expected})
        self.assertEqual(sorted([[is_kept for _, is_kept in one], [is_kept for _, is_kept in other]]), TURNS)

    def test_not_kept(self) -> None:
        self.serving()
        for child in self.reactor.children:
            child.refusal = ErrorReply(0, SourceUnavailable.__name__, "Redis is unreachable")
        status, text = self.revoke()
        self.assertEqual((status, msgspec.json.decode(text)), (503, {"error": "Redis is unreachable"}))
        self.assertEqual([len(child.revoked) for child in self.reactor.children], [1, 1])

    def test_a_worker_that_says_nothing(self) -> None:
        self.serving()
        self.reactor.children[1].answers = False
        asked = self.ask("POST", "/revoke", b'{"jti":"j"}')
        self.assertEqual(asked.value(), b"")
        self.reactor.advance(PUBLISH_PATIENCE)
        status, text = self.read(asked)
        self.assertEqual(status, 503)
        self.assertIn("try again", text)

    def test_a_worker_that_ends(self) -> None:
        """Its clients are gone: only the one that was to keep it has to answer."""
        self.serving()
        statuses = []
        for _ in range(2):
            asked = self.ask("POST", "/revoke", b'{"jti":"j"}')
            self.assertEqual(self.read(asked)[0], 200)
            self.reactor.children[1].answers = False
            asked = self.ask("POST", "/revoke", b'{"jti":"k"}')
            self.reactor.children[1].end(ProcessTerminated(signal=9))
            statuses.append(self.read(asked)[0])
            self.reactor.advance(1)
            self.reactor.children[1] = self.reactor.children.pop()
            self.reactor.children[1].say(Serving())
            self.revoke()  # the other's turn
        self.assertEqual(sorted(statuses), [200, 503])

    def test_a_worker_that_is_starting(self) -> None:
        """A worker that is starting gets it as well."""
        self.serving()
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.reactor.advance(1)
        self.assertEqual(self.revoke()[0], 200)
        self.assertEqual(len(self.reactor.children[-1].revoked), 1)

    def test_no_worker(self) -> None:
        self.started()
        self.assertEqual(self.revoke()[0], 503)

    def test_a_worker_that_starts_later(self) -> None:
        """It gets it with its first order, before it accepts clients."""
        self.serving()
        self.revoke()
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.reactor.advance(1)
        start = self.reactor.children[-1].start
        assert start is not None
        self.assertEqual([each.name for each in start.revocations], ["ann"])


class MetricsTests(ParentCase):
    """``/metrics`` has the sums."""

    def value(self, name: str) -> float:
        """Return a value of the page."""
        status, text = self.answer("GET", "/metrics")
        self.assertEqual(status, 200)
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    def test_sums(self) -> None:
        self.serving()
        for child, connections in zip(self.reactor.children, (3, 40), strict=True):
            child.metrics.connections = connections
        self.assertEqual(self.value("airyd_connections"), 43)
        self.assertEqual((self.value("airyd_workers"), self.value("airyd_source_up")), (2, 1))

    def test_process_of_each(self) -> None:
        self.serving()
        _, text = self.answer("GET", "/metrics")
        for process in ("parent", "worker-1", "worker-2"):
            self.assertIn(f'process_open_fds{{process="{process}"}}', text)

    def test_one_that_died(self) -> None:
        """Its counters stay in the sum, its gauges go; it is restarted, and that is counted."""
        self.serving()
        for child in self.reactor.children:
            child.metrics.connections = child.metrics.flushes = 10
        self.assertEqual(self.value("airyd_flushes_total"), 20)
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.assertEqual((self.value("airyd_flushes_total"), self.value("airyd_connections")), (20, 10))
        self.assertEqual((self.value("airyd_workers"), self.value("airyd_worker_restarts_total")), (1, 0))
        self.reactor.advance(1)
        self.assertEqual((self.value("airyd_workers"), self.value("airyd_worker_restarts_total")), (1, 1))

    def test_all_died(self) -> None:
        self.serving()
        for child in self.reactor.children:
            child.end(ProcessTerminated(signal=9))
        self.assertEqual(self.value("airyd_source_up"), 0)

    def test_stopping(self) -> None:
        """Workers that drain still reach the source, so no alert fires during a long drain."""
        made = self.serving()
        stopped = made.stopService()
        for child in self.reactor.children:
            child.say(Leaving())
        self.assertEqual((self.value("airyd_workers"), self.value("airyd_workers_draining")), (0, 2))
        self.assertEqual(self.value("airyd_source_up"), 1)
        for child in self.reactor.children:
            child.end(ProcessDone(0))
        self.successResultOf(stopped)

    def test_silence(self) -> None:
        """Its last metrics stay in the sum, with the others."""
        self.serving()
        for child in self.reactor.children:
            child.metrics.flushes = 10
        self.assertEqual(self.value("airyd_flushes_total"), 20)
        self.reactor.children[0].answers = False
        self.reactor.children[1].metrics.flushes = 11
        asked = self.ask("GET", "/metrics")
        self.reactor.advance(ASK_PATIENCE)
        status, text = self.read(asked)
        self.assertEqual(status, 200)
        self.assertIn("airyd_flushes_total 21.0", text)

    def test_body_that_is_too_big(self) -> None:
        """The parent refuses it by itself, and counts that."""
        self.serving("--body=100")
        status, _ = self.answer("POST", f"/publish{MESSAGE}", b"x" * 101)
        self.assertEqual(status, 413)
        _, text = self.answer("GET", "/metrics")
        self.assertIn('airyd_payloads_refused_total{kind="too_big",origin="admin"} 1.0', text)


class PublishTests(ParentCase):
    """``POST /publish/...`` goes to a worker."""

    def publish(self) -> tuple[int, str]:
        """Publish something."""
        return self.answer("POST", f"/publish{MESSAGE}", b"{}")

    def test_in_turn(self) -> None:
        self.serving()
        for _ in range(4):
            self.assertEqual(self.publish()[0], 200)
        self.assertEqual([child.published for child in self.reactor.children], [[(MESSAGE, b"{}")] * 2] * 2)

    def test_id(self) -> None:
        self.serving()
        self.assertEqual(self.publish(), (200, '{"id": "id-1"}\n'))

    def test_refusals_are_the_workers(self) -> None:
        self.serving()
        for error, status in ((UnknownDestination, 404), (SourceUnavailable, 503)):
            for child in self.reactor.children:
                child.refusal = ErrorReply(0, error.__name__, "so it is")
            self.assertEqual(self.publish(), (status, '{"error": "so it is"}\n'))

    def test_fault_of_a_worker(self) -> None:
        """It is logged there, and here."""
        self.serving()
        self.reactor.children[0].refusal = ErrorReply(0, "ZeroDivisionError", "interna")
        status, text = self.publish()
        self.assertEqual((status, text), (500, '{"error": "internal error"}\n'))
        self.assertEqual(len(self.flushLoggedErrors(WorkerFault)), 1)

    def test_nobody_there(self) -> None:
        self.started()
        status, text = self.publish()
        self.assertEqual(status, 503)
        self.assertIn("No worker is running", text)

    def test_one_that_dies_over_it(self) -> None:
        """It is unknown whether the event was published."""
        self.serving()
        self.reactor.children[0].answers = False
        asked = self.ask("POST", f"/publish{MESSAGE}", b"{}")
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        status, text = self.read(asked)
        self.assertEqual(status, 503)
        self.assertIn("may have", text)

    def test_silence(self) -> None:
        self.serving()
        self.reactor.children[0].answers = False
        asked = self.ask("POST", f"/publish{MESSAGE}", b"{}")
        self.reactor.advance(PUBLISH_PATIENCE)
        self.assertEqual(self.read(asked)[0], 503)


class StopTests(ParentCase):
    """A stop closes the listening ports, ends the workers, and then the admin page."""

    def test_order(self) -> None:
        made = self.serving()
        with socket.fromfd(self.reactor.children[0].descriptors[4], socket.AF_INET, socket.SOCK_STREAM) as copy:
            port = copy.getsockname()[1]
        stopped = made.stopService()
        self.assertEqual([child.signals for child in self.reactor.children], [[15], [15]])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        self.assertNoResult(stopped)
        self.assertEqual(self.answer("GET", "/healthz")[0], 200)
        for child in self.reactor.children:
            child.end(ProcessDone(0))
        self.successResultOf(stopped)
        self.assertIn("airyd has stopped", self.said())
        self.assertEqual(self.given_up, [])
