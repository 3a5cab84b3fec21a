"""Traces of a node: the parent makes its workers trace, and merges their lines.

A trace of a destination has two parts. All workers report the frames that name it; one worker reports the events, and
another takes over when it ends. Workers that start later take part in traces of users and destinations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from itertools import count

from twisted.internet.interfaces import IReactorTime

from airyd.errors import UnknownDestination
from airyd.management.queries import TraceQuery
from airyd.management.trace import OnLines, Trace
from airyd.management.trace_lines import note
from airyd.management.tracing import MOST_TRACES, NO_CONNECTION, check_query, too_many_traces
from airyd.workers.messages import StartTrace, StopTrace, TraceEnded, TraceLines, process_name
from airyd.workers.process import Spawner, WorkerProcess
from airyd.workers.supervisor import Supervisor


class _Part:
    """A part of a trace, which has the same id in all workers.

    :ivar start: the order that begins it in a worker
    :ivar is_for_one: whether only one worker has it at a time
    :ivar workers: the numbers of the workers that have it
    """

    def __init__(self, trace: Trace, start: StartTrace, is_for_one: bool) -> None:
        self.trace = trace
        self.start = start
        self.is_for_one = is_for_one
        self.workers: set[int] = set()


class NodeTracer:
    """Begins and ends the traces of a node.

    :param destinations: returns the names of all destinations
    :param wall: returns the wall-clock time in seconds since 1970
    """

    def __init__(
        self,
        supervisor: Supervisor,
        spawner: Spawner,
        destinations: Callable[[], Collection[str]],
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._supervisor = supervisor
        self._destinations = destinations
        self._clock = clock
        self._wall = wall
        self._ids = count(1)
        self._parts: dict[int, _Part] = {}
        self._running: list[Trace] = []
        spawner.on_spawn = self._spawned
        spawner.on_trace_report = self._reported

    def start(self, query: TraceQuery, on_lines: OnLines) -> Trace:
        """Begin a trace; errors: ``QueryRefused``, ``UnknownDestination``, raised."""
        if len(self._running) >= MOST_TRACES:
            raise too_many_traces()
        check_query(query)
        if query.destination is not None and query.destination not in self._destinations():
            raise UnknownDestination(f"There is no destination {query.destination[:200]!r} here.")
        trace = Trace(query.seconds, self._clock, self._wall, on_lines)
        self._running.append(trace)
        trace.when_over(partial(self._running.remove, trace))
        if not self._supervisor.answering_now():
            trace.stop("no worker is running")
            return trace
        self._begin(trace, query, has_frames=True, has_events=query.destination is None)
        if query.destination is not None:
            self._begin(trace, query, has_frames=False, has_events=True)
        return trace

    def stop_all(self, reason: str) -> None:
        """End all traces."""
        for trace in tuple(self._running):
            trace.stop(reason)

    def worker_ended(self, number: int) -> None:
        """Take note that the process of a worker has ended, and its connections with it."""
        for part in tuple(self._parts.values()):
            if number in part.workers:
                line = note(self._wall(), "worker-ended", [("worker", process_name(number))])
                part.trace.add(partial(iter, [line]))
                self._ended(part, number, "the worker has ended")

    def _begin(self, trace: Trace, query: TraceQuery, has_frames: bool, has_events: bool) -> None:
        start = StartTrace(next(self._ids), query, has_frames, has_events)
        part = self._parts[start.trace_id] = _Part(trace, start, is_for_one=not has_frames)
        trace.when_over(partial(self._stop, part))
        for number, process in self._supervisor.answering_now()[: 1 if part.is_for_one else None]:
            self._give(part, number, process)

    def _give(self, part: _Part, number: int, process: WorkerProcess) -> None:
        part.workers.add(number)
        process.order(part.start)

    def _stop(self, part: _Part) -> None:
        del self._parts[part.start.trace_id]
        for number, process in self._supervisor.processes_now():
            if number in part.workers:
                process.order(StopTrace(part.start.trace_id))

    def _spawned(self, number: int, process: WorkerProcess) -> None:
        for part in tuple(self._parts.values()):
            if part.start.query.connection is None and not (part.is_for_one and part.workers):
                self._give(part, number, process)

    def _reported(self, number: int, report: TraceLines | TraceEnded) -> None:
        part = self._parts.get(report.trace_id)
        if part is None:  # it was stopped meanwhile
            return
        if isinstance(report, TraceEnded):
            self._ended(part, number, report.reason)
        else:
            takes = part.trace.takes
            part.trace.add(lambda: (line for line in report.lines if takes()))

    def _ended(self, part: _Part, number: int, reason: str) -> None:
        part.workers.discard(number)
        query = part.start.query
        if query.connection is not None:
            if reason != NO_CONNECTION or not part.workers:
                part.trace.stop(reason)
        elif number in [each for each, _ in self._supervisor.processes_now()]:
            part.trace.stop(reason)  # for example, the event source is unavailable
        elif part.is_for_one:
            for other, process in self._supervisor.serving_now()[:1]:
                self._give(part, other, process)
