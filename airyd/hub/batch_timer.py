"""Measures how long events take from the source to their last send, once per flush and destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from airyd.interfaces import IMeasuredSource
from airyd.metrics import Metrics


class BatchTimer:
    """Measures the time for the events that one flush of a destination sends.

    It has the methods of an ``Audience``, and stands in the hub's queue behind the audiences that get these events. So
    it is called when the events have been sent to the last client, even if that takes several turns of the reactor, and
    the audiences measure nothing themselves.

    :param source: reports the age of the event; None if it does not know ages
    :param event_id: the oldest event of the flush
    :param read_at: when the source delivered it, in seconds of the reactor
    :param seconds: returns the reactor's time

    :ivar is_in_flight: True until it has measured, so that the hub neither starts nor counts it as a batch
    """

    __slots__ = ("_destination", "_event_id", "_metrics", "_read_at", "_seconds", "_source", "is_in_flight")

    def __init__(
        self,
        source: IMeasuredSource | None,
        destination: str,
        event_id: str,
        read_at: float,
        seconds: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self.is_in_flight = True
        self._source: Final = source
        self._destination: Final = destination
        self._event_id: Final = event_id
        self._read_at: Final = read_at
        self._seconds: Final = seconds
        self._metrics: Final = metrics

    def start_batch(self) -> None:
        """Do nothing: see ``Audience``."""

    def advance(self, most: int) -> int:
        """Measure the time instead of sending; return 0 sends."""
        if not self.is_in_flight:  # an exception of the source's age() has left it in the queue
            return 0
        self.is_in_flight = False
        self._metrics.fanout.observe(self._seconds() - self._read_at)
        if self._source is not None:
            age = self._source.age(self._destination, self._event_id)
            if age is not None:
                self._metrics.event_age.observe(age)
        return 0
