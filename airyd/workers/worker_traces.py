"""The traces that the parent orders, from inside the worker (``airyd.workers.traces`` is the parent's side)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airyd.errors import Refusal
from airyd.management.queries import TraceLine
from airyd.management.trace import Trace
from airyd.management.trace_lines import note
from airyd.management.tracing import Tracer
from airyd.workers.messages import Report, StartTrace, TraceEnded, TraceLines


class WorkerTraces:
    """The traces that the parent has ordered.

    :param is_paused: returns whether the parent does not read reports; then lines are left out
    """

    def __init__(self, tracer: Tracer, report: Callable[[Report], None], is_paused: Callable[[], bool]) -> None:
        self._tracer = tracer
        self._report = report
        self._is_paused = is_paused
        self._running: dict[int, Trace] = {}

    def start(self, order: StartTrace) -> None:
        """Begin a trace, and report its lines and its end."""
        trace_id, left_out = order.trace_id, 0

        def send(lines: Sequence[TraceLine]) -> None:
            nonlocal left_out
            if self._is_paused():
                left_out += len(lines)
                return
            if left_out:
                lines = [note(lines[0].time, "dropped", [("count", str(left_out))]), *lines]
                left_out = 0
            self._report(TraceLines(trace_id, lines))

        def end(reason: str) -> None:
            self._running.pop(trace_id, None)
            self._report(TraceEnded(trace_id, reason))

        try:
            trace = self._tracer.start(order.query, send, order.has_frames, order.has_events)
        except Refusal as error:
            end(str(error))
            return
        self._running[trace_id] = trace
        trace.ended.addCallback(end)

    def stop(self, trace_id: int) -> None:
        """End a trace, unless it has ended."""
        trace = self._running.get(trace_id)
        if trace is not None:
            trace.stop()
