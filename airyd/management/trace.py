"""One trace: takes lines, limits how many there are, and passes them on once in a turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.limits import MIB
from airyd.management.queries import TraceLine
from airyd.management.trace_lines import note, size_of

#: The longest trace in seconds, its most lines, and how many lines and about how many bytes of them pass in a second.
LONGEST_TRACE: Final = 600.0
MOST_LINES: Final = 10_000
LINES_PER_SECOND: Final = 200
BYTES_PER_SECOND: Final = 1 * MIB

#: Returns the lines of what was observed; called in the same turn of the reactor, or in the next one. It asks
#: ``Trace.takes`` before it makes each line.
LineMaker = Callable[[], Iterable[TraceLine]]
OnLines = Callable[[Sequence[TraceLine]], None]


class Trace:
    """A trace that has begun.

    :param seconds: after how many it ends by itself
    :param wall: returns the wall-clock time in seconds since 1970
    :param on_lines: called with the lines, from the next turn of the reactor on; it may call :meth:`stop`

    :ivar ended: fires with the reason when it ends, after its last lines
    """

    def __init__(
        self,
        seconds: float,
        clock: IReactorTime,
        wall: Callable[[], float],
        on_lines: OnLines,
    ) -> None:
        self.ended: Deferred[str] = Deferred()
        self._clock = clock
        self._wall = wall
        self._on_lines = on_lines
        self._undo: list[Callable[[], None]] = []
        self._waiting: list[LineMaker] = []
        self._passing: IDelayedCall | None = None
        self._window_ends: IDelayedCall | None = None
        self._lines = self._dropped = self._in_window = self._bytes_in_window = 0
        self._is_over = False
        self._deadline = clock.callLater(min(seconds, LONGEST_TRACE), self.stop, "its time is over")

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._is_over

    def when_over(self, undo: Callable[[], None]) -> None:
        """Call this when the trace ends, before ``ended`` fires; at once if it has ended."""
        if self._is_over:
            undo()
        else:
            self._undo.append(undo)

    def add(self, make_lines: LineMaker) -> None:
        """Add lines; ``make_lines`` is called later, so that this may be called while events are being sent."""
        if self._is_over:
            return
        self._waiting.append(make_lines)
        if self._passing is None:
            self._passing = self._clock.callLater(0, self._pass_on)

    def takes(self) -> bool:
        """Return whether one more line passes now; count it as dropped if not."""
        if self._in_window < LINES_PER_SECOND and self._bytes_in_window < BYTES_PER_SECOND:
            self._in_window += 1
            if self._window_ends is None:
                self._window_ends = self._clock.callLater(1.0, self._end_window)
            return True
        self._dropped += 1
        return False

    def stop(self, reason: str = "it was stopped") -> None:
        """End the trace, if it runs; lines that wait are passed on first."""
        if self._is_over:
            return
        self._is_over = True
        while self._undo:  # they refer to connections, which the trace must not keep
            self._undo.pop()()
        for timer in (self._passing, self._window_ends, self._deadline):
            if timer is not None and timer.active():
                timer.cancel()
        self._pass_on()
        self._report_dropped()
        self.ended.callback(reason)

    def _pass_on(self) -> None:
        self._passing = None
        waiting, self._waiting = self._waiting, []
        lines: list[TraceLine] = []
        for make_lines in waiting:
            for line in make_lines():
                self._bytes_in_window += size_of(line)
                lines.append(line)
        rest = MOST_LINES - self._lines
        self._lines += len(lines)
        if lines:
            self._on_lines(lines[:rest])
        if len(lines) >= rest:
            self.stop(f"it has {MOST_LINES} lines")

    def _end_window(self) -> None:
        self._window_ends = None
        self._in_window = self._bytes_in_window = 0
        self._report_dropped()

    def _report_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._on_lines([note(self._wall(), "dropped", [("count", str(dropped))])])
