"""The destinations of one process: their subscriptions, rates, positions and lags."""

from __future__ import annotations

from collections.abc import Generator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from airyd.events import message_id
from airyd.hub.destination import Destination
from airyd.hub.hub import Hub
from airyd.interfaces import IMeasuredSource
from airyd.management.queries import DestinationRow, DestinationsQuery, DestinationsReply
from airyd.management.rates import Rates
from airyd.management.turns import parts, run_in_turns
from airyd.metrics import Metrics


class DestinationFigures:
    """Reports the destinations of a hub, but ``/airyd/status``.

    :param metrics: those of the hub, with the lags of its source
    """

    def __init__(self, hub: Hub, metrics: Metrics, rates: Rates, clock: IReactorTime) -> None:
        self._hub = hub
        self._metrics = metrics
        self._rates = rates
        self._clock = clock

    def answer(self, query: DestinationsQuery) -> Deferred[DestinationsReply]:
        """Report all destinations, in several turns of the reactor if many clients catch up."""
        return run_in_turns(self._clock, self._steps())

    def _steps(self) -> Generator[int, None, DestinationsReply]:
        metrics, silences = self._metrics, self._hub.silences()
        source = self._hub.source
        reaches = source.reaches() if IMeasuredSource.providedBy(source) else {}
        entries = {} if metrics.lag_entries is None else metrics.lag_entries()
        seconds = {} if metrics.lag_seconds is None else metrics.lag_seconds()
        rows = []
        for each in sorted(self._hub.destinations, key=lambda destination: destination.name):
            name = each.name
            catching_up = yield from _count_catching_up(each)
            row = DestinationRow(
                name=name,
                subscriptions=metrics.subscriptions[name],
                catching_up=catching_up,
                groups=each.groups,
                filters=each.filters,
                position=None if each.position is None else message_id(name, each.position),
                events=metrics.events_in[name],
                deliveries=metrics.deliveries[name],
                events_per_second=self._rates.events(name),
                deliveries_per_second=self._rates.deliveries(name),
                silence=silences.get(name),
                lag_entries=entries.get(name),
                lag_seconds=seconds.get(name),
                history=reaches.get(name),
            )
            rows.append(row)
            yield 20
        return DestinationsReply(destinations=rows)


def _count_catching_up(destination: Destination) -> Generator[int, None, int]:
    count = 0
    for part in parts(destination.replays):
        count += sum([replay.is_behind for _, replay in part])
        yield len(part)
    return count
