"""Measures how late the reactor's timers are: while one is late, the process does nothing else for its clients."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.histogram import Histogram

#: Seconds between two timers: short, so that few pauses fall between them; each takes 10 µs.
EVERY: Final = 0.25


class ReactorLag:
    """Sets a timer again and again, and observes how late each is.

    :param histogram: where to observe it
    """

    def __init__(self, reactor: IReactorTime, histogram: Histogram) -> None:
        self._reactor = reactor
        self._histogram = histogram
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Start to measure."""
        self._due = self._reactor.seconds() + EVERY
        self._timer = self._reactor.callLater(EVERY, self._observe)

    def stop(self) -> None:
        """Stop."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _observe(self) -> None:
        self._histogram.observe(self._reactor.seconds() - self._due)
        self.start()
