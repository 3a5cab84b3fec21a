"""A worker process as its parent sees it: orders, replies and reports."""

from __future__ import annotations

import signal
from typing import Any, cast

import msgspec
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.errors import PayloadFault, PayloadRefused, SourceUnavailable, UnknownDestination
from airyd.interfaces import IServerReactor
from airyd.revocation import Revocation, RevocationKind
from airyd.workers.messages import (
    FIRST_SOCKET,
    ORDERS,
    REPORTS,
    AliveReply,
    AliveRequest,
    Cover,
    ErrorReply,
    Family,
    Leaving,
    LogLine,
    MetricsReply,
    MetricsRequest,
    PublishReply,
    PublishRequest,
    ReadinessReply,
    ReadinessRequest,
    Report,
    RevokeReply,
    RevokeRequest,
    Sample,
    Serving,
    Start,
    encode,
    read_order,
)
from airyd.workers.process import ASK_PATIENCE, PUBLISH_PATIENCE, NoAnswer, Spawner, WorkerFault, WorkerProcess
from tests.doubles import record_log

STDOUT, STDERR = 1, 2
PASSWORD = "redis://:s3cret@127.0.0.1/0"


class Pipes:
    """The process's transport.

    :ivar sent: the messages that went to the worker, without their lengths
    """

    pid = 4711

    def __init__(self) -> None:
        self.data = b""
        self.signals: list[int] = []
        self.gone = False

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """See ``IProcessTransport``."""
        assert descriptor == ORDERS
        assert not self.gone
        self.data += data

    def signalProcess(self, number: int) -> None:
        """See ``IProcessTransport``."""
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(number)

    def sent(self) -> list[bytes]:
        """Return the messages that came since the last call."""
        found = []
        while self.data:
            end = 4 + int.from_bytes(self.data[:4])
            found.append(self.data[4:end])
            self.data = self.data[end:]
        return found


class RecordingObserver:
    """Records the worker's states."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def worker_serving(self, number: int) -> None:
        """See ``airyd.workers.process.WorkerObserver``."""
        self.heard.append(("serving", number))

    def worker_leaving(self, number: int) -> None:
        """See ``airyd.workers.process.WorkerObserver``."""
        self.heard.append(("leaving", number))

    def worker_ended(self, number: int, reason: str) -> None:
        """See ``airyd.workers.process.WorkerObserver``."""
        self.heard.append((number, reason))


class Reactor(Clock):
    """Records the process to start, and starts none."""

    def spawnProcess(self, process: Any, executable: str, args: Any, env: Any, childFDs: Any) -> None:
        """See ``IReactorProcess``."""
        self.spawned = (executable, args, env, childFDs)
        self.pipes = Pipes()
        process.makeConnection(self.pipes)


class ProcessCase(SynchronousTestCase):
    """Has the third worker's process."""

    def setUp(self) -> None:
        self.events = record_log(self)
        self.reactor = Reactor()
        self.observer = RecordingObserver()
        options = Options()
        options.parseOptions(["--workers=4", f"--source={PASSWORD}", "--destination=/x"])
        self.settings = options.settings
        spawner = Spawner(
            cast(IServerReactor, self.reactor), self.settings, {"LANG": "C"}, lambda: [[7, 8], [9, 10]], []
        )
        self.process: WorkerProcess = spawner.spawn(2, self.observer)
        self.pipes = self.reactor.pipes

    def say(self, *reports: Report) -> None:
        """Let the worker say something."""
        for report in reports:
            data = encode(report)
            self.process.childDataReceived(REPORTS, len(data).to_bytes(4) + data)

    def end(self, error: Exception) -> None:
        """Let the worker end."""
        self.pipes.gone = True
        for descriptor in (ORDERS, STDOUT, STDERR, REPORTS):
            self.process.childConnectionLost(descriptor)
        self.process.processEnded(Failure(error))

    def started(self) -> None:
        """Forget the first order."""
        self.pipes.sent()

    def logged(self, level: LogLevel) -> list[str]:
        """Return what was logged at a level."""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]


class StartTests(ProcessCase):
    """The arguments, pipes and first order of a new process."""

    def test_settings(self) -> None:
        """All of them come by the pipe, as they are."""
        (data,) = self.pipes.sent()
        start = msgspec.msgpack.decode(data, type=Start)
        self.assertEqual((start.number, start.workers, start.reactor), (2, 4, __name__))
        self.assertEqual(
            start.settings._replace(listen=[], destinations=[], origins=[]),
            self.settings._replace(listen=[], destinations=[], origins=[]),
        )
        self.assertEqual(list(start.settings.destinations), list(self.settings.destinations))

    def test_nothing_in_the_process_list(self) -> None:
        """Its command line has no settings, which may hold a password."""
        _, args, env, _ = self.reactor.spawned
        self.assertEqual(args[-3:], ["-m", "airyd.workers", "3"])
        self.assertNotIn("s3cret", str((args, env)))
        self.assertEqual(env["LANG"], "C")

    def test_descriptors(self) -> None:
        *_, descriptors = self.reactor.spawned
        pipes = {number: what for number, what in descriptors.items() if number < FIRST_SOCKET}
        self.assertEqual(pipes, {ORDERS: "w", STDOUT: "r", STDERR: "r", REPORTS: "r"})
        self.assertEqual([descriptors[FIRST_SOCKET + place] for place in range(4)], [7, 8, 9, 10])

    def test_not_the_working_directory(self) -> None:
        """Modules are looked for where the parent has them, and nowhere else."""
        _, args, env, _ = self.reactor.spawned
        self.assertIn("-P", args)
        self.assertNotIn("", env["PYTHONPATH"].split(":"))


class ToldTests(ProcessCase):
    """Orders and signals."""

    def test_cover(self) -> None:
        self.started()
        self.process.cover([0, 3])
        self.assertEqual([read_order(data) for data in self.pipes.sent()], [Cover([0, 3])])

    def test_signals(self) -> None:
        self.process.terminate()
        self.process.kill()
        self.assertEqual(self.pipes.signals, [signal.SIGTERM, signal.SIGKILL])

    def test_too_late(self) -> None:
        """Nothing is wrong with orders to a process that has just ended."""
        self.started()
        self.pipes.gone = True
        self.process.childConnectionLost(ORDERS)
        self.process.cover([0])
        self.process.terminate()
        failed = self.process.readiness()
        self.end(ProcessDone(0))
        self.failureResultOf(failed, NoAnswer)


class LookTests(ProcessCase):
    """Checks for signs of life."""

    def setUp(self) -> None:
        super().setUp()
        self.started()

    def asked(self) -> list[object]:
        """Return the orders that came since the last call."""
        return [read_order(data) for data in self.pipes.sent()]

    def test_it_answers(self) -> None:
        for _ in range(5):
            self.assertEqual(self.process.check_alive(), 0)
            self.assertEqual(self.asked(), [AliveRequest()])
            self.say(AliveReply())

    def test_it_does_not(self) -> None:
        """It is asked once, and its silence is counted."""
        self.assertEqual([self.process.check_alive() for _ in range(4)], [0, 1, 2, 3])
        self.assertEqual(self.asked(), [AliveRequest()])
        self.say(AliveReply())
        self.assertEqual(self.process.check_alive(), 0)
        self.assertEqual(self.asked(), [AliveRequest()])

    def test_any_report_will_do(self) -> None:
        """A part of one, too: a large one takes its time."""
        self.process.check_alive()
        for report in (Serving(), LogLine("info", "airyd", "text")):
            self.process.check_alive()
            self.say(report)
            self.assertEqual(self.process.check_alive(), 0)
        self.process.check_alive()
        self.process.childDataReceived(REPORTS, b"\0")
        self.assertEqual(self.process.check_alive(), 0)

    def test_text_is_none(self) -> None:
        """Whatever writes that, it isn't the reactor."""
        self.process.check_alive()
        self.process.childDataReceived(STDERR, b"text\n")
        self.assertEqual(self.process.check_alive(), 1)


class AskedTests(ProcessCase):
    """Questions and their answers."""

    def setUp(self) -> None:
        super().setUp()
        self.started()

    def request_id(self, kind: type[Any]) -> int:
        """Return the id of the one request that was sent."""
        (asked,) = [read_order(data) for data in self.pipes.sent()]
        assert isinstance(asked, kind)
        return cast(int, cast(Any, asked).request_id)

    def test_unready(self) -> None:
        asked = self.process.readiness()
        self.say(ReadinessReply(self.request_id(ReadinessRequest), ["the feed is unreachable"], ["the keys are old"]))
        self.assertEqual(self.successResultOf(asked), (["the feed is unreachable"], ["the keys are old"]))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_figures(self) -> None:
        families = [Family("a", "counter", "A.", [Sample("a_total", {"x": "y"}, 2.0)])]
        asked = self.process.metrics()
        self.say(MetricsReply(self.request_id(MetricsRequest), families))
        self.assertEqual(self.successResultOf(asked), families)

    def test_published(self) -> None:
        """A body is bytes, whatever is in them."""
        body = bytes(range(256)) * 2000
        asked = self.process.publish("/x", body)
        (order,) = [read_order(data) for data in self.pipes.sent()]
        assert isinstance(order, PublishRequest)
        self.assertEqual((order.destination, order.body), ("/x", body))
        self.say(PublishReply(order.request_id, "id-1"))
        self.assertEqual(self.successResultOf(asked), "id-1")

    def test_revoked(self) -> None:
        """The revocation comes as it is; what the source says against it, too."""
        revocation = Revocation(RevocationKind.SUBJECT, "ann", 1.5, 2.5)
        for is_kept in (True, False):
            asked = self.process.revoke(revocation, is_kept)
            (order,) = [read_order(data) for data in self.pipes.sent()]
            assert isinstance(order, RevokeRequest)
            self.assertEqual((order.revocation, order.is_kept), (revocation, is_kept))
            self.say(RevokeReply(order.request_id))
            self.successResultOf(asked)
        for kind, error in (("SourceUnavailable", SourceUnavailable), ("ZeroDivisionError", WorkerFault)):
            asked = self.process.revoke(revocation, True)
            self.say(ErrorReply(self.request_id(RevokeRequest), kind, "unreachable"))
            self.failureResultOf(asked, error)

    def test_refused(self) -> None:
        """The reasons are those of the worker, kind and text."""
        for error in (
            PayloadRefused(PayloadFault.TOO_BIG, "too big"),
            UnknownDestination("no such thing"),
            SourceUnavailable("the feed is unreachable"),
        ):
            asked = self.process.publish("/x", b"")
            fault = error.fault.value if isinstance(error, PayloadRefused) else None
            self.say(ErrorReply(self.request_id(PublishRequest), type(error).__name__, str(error), fault))
            found = self.failureResultOf(asked, type(error)).value
            self.assertEqual(str(found), str(error))
            self.assertEqual(getattr(found, "fault", None), getattr(error, "fault", None))

    def test_fault_of_the_worker(self) -> None:
        asked = self.process.publish("/x", b"")
        self.say(ErrorReply(self.request_id(PublishRequest), "ZeroDivisionError", "interna"))
        self.failureResultOf(asked, WorkerFault)

    def test_order_of_answers_is_theirs(self) -> None:
        first, second = self.process.readiness(), self.process.readiness()
        one, two = [cast(ReadinessRequest, read_order(data)).request_id for data in self.pipes.sent()]
        self.say(ReadinessReply(two, ["two"]), ReadinessReply(one, ["one"]))
        self.assertEqual(self.successResultOf(first).reasons, ["one"])
        self.assertEqual(self.successResultOf(second).reasons, ["two"])

    def test_silence(self) -> None:
        """The parent waits for a limited time; a late answer is ignored."""
        asked = self.process.readiness()
        request_id = self.request_id(ReadinessRequest)
        self.reactor.advance(ASK_PATIENCE - 0.1)
        self.assertNoResult(asked)
        self.reactor.advance(0.2)
        self.assertIn("2 seconds", str(self.failureResultOf(asked, NoAnswer).value))
        self.say(ReadinessReply(request_id, []))
        publishing = self.process.publish("/x", b"")
        self.reactor.advance(ASK_PATIENCE + 1)
        self.assertNoResult(publishing)
        self.reactor.advance(PUBLISH_PATIENCE)
        self.failureResultOf(publishing, NoAnswer)

    def test_end(self) -> None:
        asked = [self.process.readiness(), self.process.publish("/x", b"")]
        self.end(ProcessTerminated(signal=signal.SIGKILL))
        for each in asked:
            self.failureResultOf(each, NoAnswer)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class SaysTests(ProcessCase):
    """Reports without a request, and the worker's end."""

    def test_owner_hears(self) -> None:
        self.say(Serving(), Leaving())
        self.end(ProcessDone(0))
        self.assertEqual(self.observer.heard, [("serving", 2), ("leaving", 2), (2, "ended with status 0")])

    def test_reasons(self) -> None:
        for error, expected in (
            (ProcessTerminated(signal=signal.SIGSEGV), "ended by SIGSEGV"),
            (ProcessTerminated(exitCode=3), "ended with status 3"),
        ):
            self.end(error)
            self.assertEqual(self.observer.heard.pop(), (2, expected))

    def test_last_words(self) -> None:
        """What it wrote at last is a part of the reason."""
        self.process.childDataReceived(STDERR, b"some warning\nairyd: cannot read ")
        self.process.childDataReceived(STDERR, b"the key")
        self.end(ProcessTerminated(exitCode=1))
        self.assertEqual(self.observer.heard, [(2, "ended with status 1: airyd: cannot read the key")])

    def test_log(self) -> None:
        """Its events keep their level and namespace, and get its number; several lines stay together."""
        self.say(LogLine("warn", "airyd.hub.hub.Hub", "one\ntwo {three}"))
        (event,) = [event for event in self.events if event["log_namespace"] == "airyd.hub.hub.Hub"]
        self.assertEqual(self.logged(LogLevel.warn), ["worker 3: one\ntwo {three}"])
        self.assertIs(event["log_level"], LogLevel.warn)

    def test_text(self) -> None:
        """Whatever it writes by other ways becomes lines, however it is cut, and those of two pipes don't mix."""
        for descriptor, data in (
            (STDOUT, b"Fatal"),
            (STDERR, b"warn"),
            (STDOUT, b" error\nnext\n"),
            (STDERR, b"ing \xff\n"),
        ):
            self.process.childDataReceived(descriptor, data)
        expected = ["worker 3 wrote: Fatal error", "worker 3 wrote: next", "worker 3 wrote: warning \ufffd"]
        self.assertEqual(self.logged(LogLevel.warn), expected)

    def test_reports_in_pieces(self) -> None:
        data = encode(Serving())
        for byte in len(data).to_bytes(4) + data:
            self.assertEqual(self.observer.heard, [])
            self.process.childDataReceived(REPORTS, bytes([byte]))
        self.assertEqual(self.observer.heard, [("serving", 2)])
