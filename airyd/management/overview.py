"""The figures of one process for the console's front page."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from airyd.histogram import Histogram
from airyd.hub.hub import Hub
from airyd.interfaces import IChannel, Readiness
from airyd.management.queries import OverviewReply
from airyd.management.turns import parts
from airyd.metrics import Metrics
from airyd.websocket.protocol import StompWebSocketFactory

#: Stands for infinity, which JSON does not have, as the upper bound of a histogram's last bucket.
UNBOUNDED: Final = 1e9


class ClientCounts(NamedTuple):
    """How clients do that do not simply get events: those of a process without clients.

    :ivar slow: see ``OverviewReply``, also for the others
    """

    slow: int = 0
    catching_up: int = 0
    buffered: int = 0


def count_clients(hub: Hub, factory: StompWebSocketFactory) -> Generator[int, None, ClientCounts]:
    """Count clients, in steps of ``run_in_turns``: all may be slow, or catch up on all destinations."""
    slow = buffered = 0
    for buffers in parts(tuple(factory.output_buffers)):
        slow += sum([each.is_slow for each in buffers])
        buffered += sum([each.waiting for each in buffers])
        yield 2 * len(buffers)
    behind: set[IChannel] = set()
    for destination in hub.destinations:
        for replays in parts(destination.replays):
            behind.update([subscription.channel for subscription, replay in replays if replay.is_behind])
            yield len(replays)
    return ClientCounts(slow, len(behind), buffered)


def overview(metrics: Metrics, readiness: Readiness, now: float, clients: ClientCounts) -> OverviewReply:
    """Return the figures.

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
        slow=clients.slow,
        catching_up=clients.catching_up,
        buffered=clients.buffered,
        lag_seconds=max(lags.values(), default=None),
        delivery=_buckets(metrics.fanout),
        round_trip=_buckets(metrics.redis_round_trip),
        warnings=[*readiness.reasons, *readiness.warnings],
    )


def _buckets(histogram: Histogram) -> Sequence[tuple[float, int]]:
    return [(min(float(bound), UNBOUNDED), count) for bound, count in histogram.buckets()]
