"""Answers the admin API's queries about one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime

from airyd.interfaces import IEventSource, Readiness
from airyd.management.connections import Connections
from airyd.management.destinations import DestinationFigures
from airyd.management.draining import Drain
from airyd.management.explain import Explainer
from airyd.management.history import HistoryReader
from airyd.management.listing import Listing
from airyd.management.overview import count_clients, overview
from airyd.management.processes import ProcessFigures
from airyd.management.queries import (
    ConnectionQuery,
    ConnectionsQuery,
    DestinationsQuery,
    DrainCommand,
    DrainReply,
    EventsQuery,
    ExplainQuery,
    KickCommand,
    ManagementQuery,
    ManagementReply,
    OverviewQuery,
    OverviewReply,
    ProcessesQuery,
    ProcessesReply,
)
from airyd.management.turns import run_in_turns
from airyd.websocket.protocol import StompWebSocketFactory

#: The most connections that are reported if the system sets no limit: JavaScript's numbers hold it.
_UNLIMITED: Final = 2**31 - 1


class Manager:
    """Answers queries about the process that it runs in.

    :param figures: those of the process
    :param readiness: returns whether the process is ready
    :param source: the source of all destinations
    """

    def __init__(
        self,
        figures: ProcessFigures,
        factory: StompWebSocketFactory,
        drain: Drain,
        readiness: Callable[[], Readiness],
        source: IEventSource,
        clock: IReactorTime,
    ) -> None:
        context = factory.context
        self._figures = figures
        self._factory = factory
        self._drain = drain
        self._clock = clock
        self._readiness = readiness
        self._wall = context.wall
        self._metrics = context.metrics
        self.connections: Final = Connections(figures.name, factory, clock, context.wall)
        destinations = DestinationFigures(context.hub, context.metrics, figures.rates, clock)
        self._answers: Final[Mapping[type[ManagementQuery], Callable[[Any], Any]]] = {
            ConnectionsQuery: Listing(self.connections, factory, clock).answer,
            ConnectionQuery: self.connections.answer,
            KickCommand: self.connections.kick,
            DestinationsQuery: destinations.answer,
            ProcessesQuery: self._processes,
            EventsQuery: HistoryReader(source, context.hub, context.wall).answer,
            ExplainQuery: Explainer(source, context.hub, factory).answer,
            OverviewQuery: self._overview,
            DrainCommand: self._set_drain,
        }

    def answer(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Answer a query, within bounded time; errors: ``QueryRefused``, and other subclasses of ``Refusal``."""
        return maybeDeferred(self._answers[type(query)], query)

    def _processes(self, query: ProcessesQuery) -> ProcessesReply:
        connections = len(self._factory.channels), min(self._factory.max_connections, _UNLIMITED)
        return ProcessesReply(processes=[self._figures.row(self._readiness(), connections, self._drain.is_on)])

    def _overview(self, query: OverviewQuery) -> Deferred[OverviewReply]:
        counting = run_in_turns(self._clock, count_clients(self._factory.context.hub, self._factory))
        return counting.addCallback(lambda clients: overview(self._metrics, self._readiness(), self._wall(), clients))

    def _set_drain(self, command: DrainCommand) -> DrainReply:
        if command.is_on:
            self._drain.begin()
        else:
            self._drain.take_back()
        return DrainReply(draining=self._drain.is_on, connections=len(self._factory.channels))
