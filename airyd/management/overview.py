"""The figures of one process for the console's front page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from airyd.histogram import Histogram
from airyd.interfaces import Readiness
from airyd.management.queries import OverviewReply
from airyd.metrics import Metrics

#: Stands for infinity, which JSON does not have, as the upper bound of a histogram's last bucket.
UNBOUNDED: Final = 1e9


def overview(metrics: Metrics, readiness: Readiness, now: float) -> OverviewReply:
    """Return the figures.

    :param metrics: those of a process that serves clients
    :param now: the wall-clock time in seconds since 1970
    """
    lags = {} if metrics.lag_seconds is None else metrics.lag_seconds()
    return OverviewReply(
        time=now,
        ready=not readiness.reasons,
        connections=metrics.connections,
        sessions=metrics.sessions,
        opened=metrics.connections_opened,
        closed=sum(metrics.connections_closed.values()),
        events=sum(metrics.events_in.values()),
        deliveries=sum(metrics.deliveries.values()),
        sent=metrics.bytes_out,
        slow=0 if metrics.slow_clients is None else metrics.slow_clients(),
        catching_up=0 if metrics.catching_up_clients is None else metrics.catching_up_clients(),
        buffered=0 if metrics.buffered_bytes is None else metrics.buffered_bytes(),
        lag_seconds=max(lags.values(), default=None),
        delivery=_buckets(metrics.fanout),
        round_trip=_buckets(metrics.redis_round_trip),
        warnings=[*readiness.reasons, *readiness.warnings],
    )


def _buckets(histogram: Histogram) -> Sequence[tuple[float, int]]:
    return [(min(float(bound), UNBOUNDED), count) for bound, count in histogram.buckets()]
