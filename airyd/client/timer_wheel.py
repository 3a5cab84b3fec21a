"""A timer wheel: one timer of the reactor for the heart-beats and deadlines of all clients.

With 50,000 connections that send a heart-beat every 30 s, a ``callLater`` for each costs ten times as much
CPU as a wheel of buckets (docs/architecture.rst, "Time").
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: Seconds; if a tick is later than this, the process was stopped, or too busy to read from its clients.
_STALL: Final = 2.0
#: A heart-beat is sent this many ticks of the wheel before it is due, since the wheel may be two ticks late.
_MARGIN: Final = 3
#: The shortest interval between heart-beats, as a fraction of the longest.
_SHORTEST_BEAT: Final = 0.75
_GOLDEN: Final = 0.618034  # any number of its multiples, modulo 1, are spread evenly


class Timer:
    """A call that a wheel will make, unless it is cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Cancel the call; harmless after it was made. The wheel frees its entry when its time comes."""
        self.call = None


class TimerWheel:
    """Makes calls after a delay, all calls of one tick together.

    :param clock: monotonic time
    :param tick: seconds between two checks; a call is late by less than two ticks, and never early
    :ivar seconds: returns the clock's time
    :ivar woke: when the process last continued after it had been stopped, or too busy, for some seconds
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick: float) -> None:
        self.tick = tick
        self.seconds: Callable[[], float] = clock.seconds
        self._clock = clock
        self._start = self.woke = self._turn_due = clock.seconds()
        self._buckets: dict[int, list[Timer]] = {}
        self._due: list[Timer] = []
        self._turn: IDelayedCall | None = None

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Schedule a call after ``delay`` seconds; it is late by less than two ticks."""
        timer = Timer(call)
        due = ceil((self._clock.seconds() - self._start + delay) / self.tick)
        self._buckets.setdefault(due, []).append(timer)
        if self._turn is None:
            self._look_in(self.tick)
        return timer

    def next_turn(self) -> Deferred[None]:
        """Return a Deferred that fires in the next turn of the reactor, without waiting for a tick."""
        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        return turn

    def beat_interval(self, agreed: float, number: int) -> float:
        """Return the seconds between heart-beats of the connection with this number, less than ``agreed`` seconds.

        Each connection has an interval of its own, so that connections that were opened together, or were last sent
        something together, don't stay in step.
        """
        return (agreed - _MARGIN * self.tick) * (_SHORTEST_BEAT + (1 - _SHORTEST_BEAT) * (number * _GOLDEN % 1))

    def stop(self) -> None:
        """Forget all calls."""
        self._buckets.clear()
        self._due.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _look_in(self, delay: float) -> None:
        self._turn_due = self._clock.seconds() + delay
        self._turn = self._clock.callLater(delay, self._look)

    def _look(self) -> None:
        self._turn = None
        seconds = self._clock.seconds()
        if seconds - self._turn_due > _STALL:
            self.woke = seconds
            self._look_in(0)  # first read the bytes that arrived meanwhile: a deadline may be waiting for them
            return
        now = int((seconds - self._start) / self.tick + 1e-9)
        # A process that was stopped has missed several ticks; the set of buckets is small.
        for number in sorted(number for number in self._buckets if number <= now):
            self._due += self._buckets.pop(number)
        for timer in self._due:  # a call may stop the wheel, which empties the list
            if timer.call is not None:
                try:
                    timer.call()
                except Exception:  # noqa: BLE001  # one that fails must not prevent the others
                    self._log.failure("a call of the timer wheel failed")
        self._due.clear()
        if self._buckets and self._turn is None:
            self._look_in(self.tick)
