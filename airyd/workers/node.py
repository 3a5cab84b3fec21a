"""Answers the admin API's queries about a node: asks its workers, and merges their replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from airyd.errors import SourceUnavailable
from airyd.interfaces import Readiness
from airyd.management.cursor import read_cursor
from airyd.management.merging import merge_replies
from airyd.management.overview import ClientCounts, overview
from airyd.management.processes import ProcessFigures
from airyd.management.queries import (
    ConnectionsQuery,
    DrainCommand,
    EventsQuery,
    ManagementQuery,
    ManagementReply,
    OverviewQuery,
    OverviewReply,
    ProcessesReply,
)
from airyd.metrics import Metrics
from airyd.workers.messages import process_name
from airyd.workers.process import NoAnswer, Spawner, WorkerEnded, WorkerProcess
from airyd.workers.supervisor import Supervisor

#: The name of the parent in replies.
PARENT: Final = "parent"


class NodeManager:
    """Answers queries about the parent and its workers.

    :param figures: those of the parent
    :param metrics: the parent's own
    :param readiness: returns whether the node is ready
    """

    def __init__(
        self,
        figures: ProcessFigures,
        metrics: Metrics,
        supervisor: Supervisor,
        spawner: Spawner,
        readiness: Callable[[], Deferred[Readiness]],
        wall: Callable[[], float],
    ) -> None:
        self._figures = figures
        self._metrics = metrics
        self._supervisor = supervisor
        self._spawner = spawner
        self._readiness = readiness
        self._wall = wall

    def answer(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Answer a query, within bounded time; errors: subclasses of ``Refusal``, and ``WorkerFault``."""
        return Deferred.fromCoroutine(self._answer(query))

    async def _answer(self, query: ManagementQuery) -> ManagementReply:
        match query:
            case EventsQuery():
                return await self._ask_one(query)
            case DrainCommand():
                self._spawner.is_draining = query.is_on  # for workers that start later
                told = self._supervisor.processes_now()
                silent = self._supervisor.silent_now()  # they do it when they answer again; nobody waits for that
                DeferredList([worker.ask(query) for number, worker in told if number in silent], consumeErrors=True)
                return await self._ask_all(query, told)
            case ConnectionsQuery(cursor=None):
                query = replace(query, cursor=str(read_cursor(None)))
        reply = await self._ask_all(query, self._supervisor.answering_now())
        match reply:
            case ProcessesReply():
                row = self._figures.row(await self._readiness(), None, self._spawner.is_draining)
                return replace(reply, processes=[row, *reply.processes])
            case OverviewReply():
                found = await self._readiness()
                warnings = [*found.reasons, *found.warnings]
                return replace(reply, ready=not found.reasons, warnings=warnings)
        return reply

    async def _ask_one(self, query: ManagementQuery) -> ManagementReply:
        """Ask one worker, always the same while it serves: all of them have the same history."""
        serving = self._supervisor.serving_now()
        if not serving:
            raise SourceUnavailable("No worker is running to read it; try again.")
        number, worker = serving[0]
        try:
            return await worker.ask(query)
        except NoAnswer as error:
            raise SourceUnavailable(f"Worker {number + 1}: {error}; try again.") from None

    async def _ask_all(self, query: ManagementQuery, asked: list[tuple[int, WorkerProcess]]) -> ManagementReply:
        missing = [process_name(number) for number in self._supervisor.silent_now()]
        asked = [each for each in asked if process_name(each[0]) not in missing]
        replies: dict[str, ManagementReply] = {}
        if isinstance(query, OverviewQuery):  # also if no worker answers
            replies[PARENT] = overview(self._metrics, Readiness(), self._wall(), ClientCounts())
        results = await DeferredList([worker.ask(query) for _, worker in asked], consumeErrors=True)
        for (number, _), (_, result) in zip(asked, results, strict=True):
            if not isinstance(result, Failure):
                replies[process_name(number)] = result
            elif not result.check(NoAnswer):
                result.raiseException()
            elif not result.check(WorkerEnded):
                missing.append(process_name(number))
        return merge_replies(query, replies, tuple(sorted(missing)))
