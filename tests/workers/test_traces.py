"""Traces over several workers, whose processes the test plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import QueryRefused, UnknownDestination
from airyd.events import MESSAGE
from airyd.management.queries import TraceLine, TraceQuery
from airyd.management.trace import LINES_PER_SECOND, Trace
from airyd.management.tracing import MOST_TRACES, NO_CONNECTION, Tracer
from airyd.workers.messages import (
    Report,
    StartTrace,
    StopTrace,
    TraceEnded,
    TraceLines,
    encode,
    read_order,
    read_report,
)
from airyd.workers.traces import NodeTracer
from airyd.workers.worker_traces import WorkerTraces
from tests.loop import Peer
from tests.management.users import UserTestCase

Order = StartTrace | StopTrace


class Process:
    """A worker's process, which keeps its orders."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def order(self, order: Order) -> None:
        """See ``WorkerProcess``."""
        self.orders.append(order)

    def taken(self) -> list[Order]:
        """Return the orders since the last call."""
        orders, self.orders = self.orders, []
        return orders


class Workers:
    """The workers, in place of ``Supervisor`` and ``Spawner``."""

    def __init__(self, count: int) -> None:
        self.processes = {number: Process() for number in range(count)}
        self.on_spawn: Any = None
        self.on_trace_report: Any = None

    def answering_now(self) -> list[tuple[int, Process]]:
        """See ``Supervisor``."""
        return sorted(self.processes.items(), key=lambda each: each[0])

    processes_now = serving_now = answering_now

    def spawn(self, number: int) -> None:
        """Start a worker again."""
        self.processes[number] = Process()
        self.on_spawn(number, self.processes[number])


class NodeTracerTests(SynchronousTestCase):
    """What the parent orders, and what it makes of the reports."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers = Workers(3)
        workers = cast(Any, self.workers)
        self.tracer = NodeTracer(workers, workers, lambda: [MESSAGE], self.clock, lambda: 1000.0)
        self.lines: list[TraceLine] = []

    def keep(self, lines: Sequence[TraceLine]) -> None:
        """Take lines."""
        self.lines += lines

    def trace(self, **query: Any) -> Trace:
        """Begin a trace."""
        return self.tracer.start(TraceQuery(**query), self.keep)

    def orders(self) -> dict[int, list[Order]]:
        """Return the orders of each worker since the last call."""
        return {number: process.taken() for number, process in self.workers.processes.items()}

    def report(self, number: int, trace_id: int, *commands: str) -> None:
        """Let a worker report lines."""
        lines = [TraceLine(time=0.0, direction="out", command=command) for command in commands]
        self.workers.on_trace_report(number, TraceLines(trace_id, lines))

    def end(self, number: int, trace_id: int, reason: str) -> None:
        """Let a worker report the end of a trace."""
        self.workers.on_trace_report(number, TraceEnded(trace_id, reason))

    def lose(self, number: int) -> None:
        """Let a worker's process end."""
        del self.workers.processes[number]
        self.tracer.worker_ended(number)

    def got(self) -> list[str]:
        """Return the commands of the lines since the last call."""
        self.clock.advance(0)
        lines, self.lines = self.lines, []
        return [line.command for line in lines]

    def test_a_connection(self) -> None:
        """All workers are asked; the one that has it goes on, until the connection ends."""
        trace = self.trace(connection="x-1")
        orders = self.orders()
        start = orders[0][0]
        self.assertEqual(orders, {number: [start] for number in range(3)})
        self.end(0, start.trace_id, NO_CONNECTION)
        self.report(1, start.trace_id, "SEND")
        self.end(2, start.trace_id, NO_CONNECTION)
        self.assertEqual(self.got(), ["SEND"])
        self.workers.spawn(0)
        self.assertEqual(self.orders()[0], [])
        self.end(1, start.trace_id, "the connection has ended")
        self.assertEqual(self.successResultOf(trace.ended), "the connection has ended")
        self.assertEqual(self.orders(), {0: [], 1: [], 2: []})

    def test_an_unknown_connection(self) -> None:
        trace = self.trace(connection="x-1")
        for number in range(3):
            self.assertNoResult(trace.ended)
            self.end(number, 1, NO_CONNECTION)
        self.assertEqual(self.successResultOf(trace.ended), NO_CONNECTION)

    def test_a_connection_whose_worker_ends(self) -> None:
        trace = self.trace(connection="x-1")
        self.end(0, 1, NO_CONNECTION)
        self.end(2, 1, NO_CONNECTION)
        self.lose(1)
        self.assertIn("worker", self.successResultOf(trace.ended))
        self.assertEqual(self.got(), ["worker-ended"])

    def test_a_subject(self) -> None:
        """A worker that starts later takes part; at the end all are told."""
        trace = self.trace(subject="alice")
        start = self.orders()[2][0]
        self.lose(2)
        self.workers.spawn(2)
        self.assertEqual(self.orders()[2], [start])
        for number in range(3):
            self.report(number, start.trace_id, f"of {number}")
        self.assertEqual(self.got(), ["worker-ended", "of 0", "of 1", "of 2"])
        trace.stop()
        self.assertEqual(self.orders(), {number: [StopTrace(start.trace_id)] for number in range(3)})
        self.report(0, start.trace_id, "late")
        self.end(0, start.trace_id, "it was stopped")
        self.assertEqual(self.got(), [])

    def test_a_destination(self) -> None:
        """All report frames, one reports the events; another takes over when it ends."""
        trace = self.trace(destination=MESSAGE)
        frames, events = cast(list[StartTrace], self.orders()[0])
        self.assertEqual((frames.has_frames, frames.has_events), (True, False))
        self.assertEqual((events.has_frames, events.has_events), (False, True))
        self.lose(0)
        self.assertEqual(self.orders(), {1: [events], 2: []})
        self.workers.spawn(0)
        self.assertEqual(self.orders(), {0: [frames], 1: [], 2: []})
        self.report(2, frames.trace_id, "SUBSCRIBE")
        self.report(1, events.trace_id, "MESSAGE")
        self.assertEqual(self.got()[-2:], ["SUBSCRIBE", "MESSAGE"])
        trace.stop()
        stops = {0: [frames], 1: [frames, events], 2: [frames]}
        expected = {number: {StopTrace(start.trace_id) for start in starts} for number, starts in stops.items()}
        self.assertEqual({number: set(orders) for number, orders in self.orders().items()}, expected)

    def test_the_last_worker_ends(self) -> None:
        """The next one that starts reports the events."""
        self.workers.processes = {0: Process()}
        trace = self.trace(destination=MESSAGE)
        started = self.orders()[0]
        self.lose(0)
        self.assertNoResult(trace.ended)
        self.workers.spawn(0)
        self.assertEqual(self.orders()[0], started)

    def test_the_source_is_away(self) -> None:
        trace = self.trace(destination=MESSAGE)
        self.end(0, 2, "event source unavailable")
        self.assertEqual(self.successResultOf(trace.ended), "event source unavailable")

    def test_lines_per_second(self) -> None:
        """The limit is that of all workers together."""
        self.trace(subject="alice")
        for number in range(3):
            self.report(number, 1, *["MESSAGE"] * 100)
        self.assertEqual(len(self.got()), LINES_PER_SECOND)
        self.clock.advance(1)
        self.assertEqual([dict(line.headers) for line in self.lines], [{"count": "100"}])

    def test_what_cannot_begin(self) -> None:
        self.assertRaises(QueryRefused, self.trace)
        self.assertRaises(UnknownDestination, self.trace, destination="/queue/nothing")
        traces = [self.trace(subject="alice") for _ in range(MOST_TRACES)]
        self.assertRaises(QueryRefused, self.trace, subject="alice")
        self.tracer.stop_all("airyd is stopping")
        self.assertEqual({self.successResultOf(each.ended) for each in traces}, {"airyd is stopping"})
        self.workers.processes = {}
        self.assertIn("no worker", self.successResultOf(self.trace(subject="alice").ended))


class WorkerTracesTests(UserTestCase):
    """What a worker makes of the orders, over the messages of the pipe."""

    def setUp(self) -> None:
        super().setUp()
        self.reports: list[Report] = []
        self.is_paused = False
        tracer = Tracer(self.factory, self.context.hub, cast(Any, self.loop), self.wall)
        self.traces = WorkerTraces(
            tracer, lambda report: self.reports.append(read_report(encode(report))), lambda: self.is_paused
        )

    def order(self, trace_id: int, has_frames: bool = True, has_events: bool = True, **query: Any) -> None:
        """Order a trace."""
        start = read_order(encode(StartTrace(trace_id, TraceQuery(**query), has_frames, has_events)))
        self.traces.start(cast(StartTrace, start))

    def commands(self) -> list[str]:
        """Return the commands of the lines since the last call, which must be all that was reported."""
        self.loop.turn()
        reports, self.reports = cast(list[TraceLines], self.reports), []
        return [line.command for report in reports for line in report.lines]

    def test_lines_and_end(self) -> None:
        connection, peer = self.logged_in()
        self.order(7, connection=connection)
        self.subscribe(peer, MESSAGE)
        self.assertEqual(self.commands(), ["SUBSCRIBE"])
        self.traces.stop(7)
        self.traces.stop(7)
        self.assertEqual(self.reports, [TraceEnded(7, "it was stopped")])

    def test_refused(self) -> None:
        self.order(1, destination="/queue/nothing")
        self.order(2, connection="x-1")
        ends = cast(list[TraceEnded], self.reports)
        self.assertEqual([each.trace_id for each in ends], [1, 2])
        self.assertEqual(ends[1].reason, NO_CONNECTION)

    def test_parts_of_a_destination(self) -> None:
        self.order(1, has_events=False, destination=MESSAGE)
        self.order(2, has_frames=False, destination=MESSAGE)
        peer: Peer = self.logged_in()[1]
        self.assertEqual(self.commands(), ["subscribed"])
        self.subscribe(peer, MESSAGE)
        self.publish(MESSAGE)
        self.assertEqual(self.commands(), ["SUBSCRIBE", "MESSAGE"])

    def test_a_full_pipe(self) -> None:
        """Lines that the parent does not read are left out, and counted."""
        connection, peer = self.logged_in()
        self.order(1, connection=connection)
        self.subscribe(peer, MESSAGE)
        self.commands()
        self.is_paused = True
        for _ in range(5):
            self.publish(MESSAGE)
        self.assertEqual(self.commands(), [])
        self.is_paused = False
        self.publish(MESSAGE)
        self.assertEqual(self.commands(), ["dropped", "MESSAGE"])
