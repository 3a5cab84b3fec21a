"""Rates over the last ten seconds: events and deliveries of each destination, and the load of the process."""

from __future__ import annotations

import resource
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.metrics import Metrics

#: Seconds between two samples, and how many are kept: the rates are those between the oldest and the newest.
SAMPLE_EVERY: Final = 5.0
_KEPT: Final = 3


class RateSample(NamedTuple):
    """The counters at one moment.

    :ivar at: seconds of the reactor
    :ivar cpu: seconds of CPU that the process has used
    """

    at: float
    cpu: float
    events: Counter[str]
    deliveries: Counter[str]


def cpu_seconds() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Rates:
    """Samples the counters every five seconds.

    :param cpu: returns the seconds of CPU that the process has used
    """

    def __init__(self, clock: IReactorTime, metrics: Metrics, cpu: Callable[[], float] = cpu_seconds) -> None:
        self._clock = clock
        self._metrics = metrics
        self._cpu = cpu
        self._samples: deque[RateSample] = deque(maxlen=_KEPT)
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Take the first sample, and then one every five seconds."""
        metrics = self._metrics
        self._samples.append(
            RateSample(self._clock.seconds(), self._cpu(), Counter(metrics.events_in), Counter(metrics.deliveries))
        )
        self._timer = self._clock.callLater(SAMPLE_EVERY, self.start)

    def stop(self) -> None:
        """Stop sampling."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def events(self, destination: str) -> float:
        """Return the events of a destination per second."""
        return self._rate(lambda sample: sample.events[destination]) or 0.0

    def deliveries(self, destination: str) -> float:
        """Return the MESSAGEs of a destination that were handed to clients, per second."""
        return self._rate(lambda sample: sample.deliveries[destination]) or 0.0

    @property
    def load(self) -> float | None:
        """The seconds of CPU in each second; None before the second sample."""
        return self._rate(lambda sample: sample.cpu)

    def _rate(self, value: Callable[[RateSample], float]) -> float | None:
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        return (value(last) - value(first)) / seconds if seconds > 0 else None
