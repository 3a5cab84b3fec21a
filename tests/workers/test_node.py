"""The parent answers operators for all workers."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated

from airyd.errors import QueryRefused, SourceUnavailable
from airyd.management.queries import (
    ConnectionsQuery,
    ConnectionsReply,
    DrainCommand,
    DrainReply,
    EventsQuery,
    EventsReply,
    KickCommand,
    KickReply,
    ManagementQuery,
    OverviewQuery,
    ProcessesQuery,
    ProcessesReply,
)
from airyd.workers.messages import ErrorReply, ManagementReport, ManagementRequest, Serving
from airyd.workers.process import ASK_PATIENCE, PUBLISH_PATIENCE, WorkerFault
from airyd.workers.supervisor import ALIVE_CHECK_EVERY, CHECKS_UNTIL_COVERED
from tests.workers.test_parent import ParentCase


class NodeTests(ParentCase):
    """Two workers, played by the test."""

    def setUp(self) -> None:
        super().setUp()
        self.parent = self.serving()

    def question(self, query: ManagementQuery) -> Deferred[Any]:
        """Ask the parent."""
        return self.parent.ask(query)

    def reply(self, number: int, reply: Any) -> None:
        """Let a worker answer the last query."""
        child = self.reactor.children[number]
        child.say(ManagementReport(child.managed[-1].request_id, reply))

    def unread(self, number: int) -> list[ManagementQuery]:
        """Return the queries that a worker has not read yet."""
        unread = self.reactor.children[number].unread
        return [order.query for order in unread if isinstance(order, ManagementRequest)]

    def test_all_are_asked(self) -> None:
        answer = self.question(KickCommand(subject="ann", reason="x"))
        self.reply(1, KickReply(disconnected=1))
        self.assertNoResult(answer)
        self.reply(0, KickReply(disconnected=2))
        self.assertEqual(self.successResultOf(answer), KickReply(disconnected=3))
        for child in self.reactor.children:
            (request,) = child.managed
            self.assertEqual(request.query, KickCommand(subject="ann", reason="x"))

    def test_listing_has_one_name(self) -> None:
        """All workers begin the same listing, so that their pages fit together."""
        self.question(ConnectionsQuery())
        queries = [cast(ConnectionsQuery, child.managed[-1].query) for child in self.reactor.children]
        cursors = {query.cursor for query in queries}
        self.assertEqual(len(cursors), 1)
        self.assertNotIn(None, cursors)

    def test_worker_that_does_not_answer(self) -> None:
        answer = self.question(ConnectionsQuery(cursor="01234567"))
        self.reply(1, ConnectionsReply(connections=[], total=5))
        self.reactor.advance(ASK_PATIENCE)
        found = self.successResultOf(answer)
        self.assertEqual((found.total, found.missing), (5, ("worker-1",)))

    def test_worker_that_is_silent(self) -> None:
        """It is not asked, but missing."""
        self.reactor.children[0].answers = False
        for _ in range(CHECKS_UNTIL_COVERED + 1):
            self.reactor.advance(ALIVE_CHECK_EVERY)
        answer = self.question(KickCommand(id="a"))
        self.assertEqual(self.unread(0), [])
        self.reply(1, KickReply(disconnected=1))
        self.assertEqual(self.successResultOf(answer), KickReply(disconnected=1, missing=("worker-1",)))

    def test_worker_that_ends(self) -> None:
        """Its connections have gone, so nothing is missing."""
        answer = self.question(KickCommand(id="a"))
        self.reactor.children[0].end(ProcessTerminated(exitCode=1))
        self.reply(1, KickReply(disconnected=1))
        self.assertEqual(self.successResultOf(answer), KickReply(disconnected=1))

    def test_errors(self) -> None:
        for kind, error in (("QueryRefused", QueryRefused), ("ZeroDivisionError", WorkerFault)):
            answer = self.question(KickCommand())
            for child in self.reactor.children:
                child.say(ErrorReply(child.managed[-1].request_id, kind, "give either"))
            self.assertIn("give either", str(self.failureResultOf(answer, error).value))

    def test_processes(self) -> None:
        """The parent comes first."""
        answer = self.question(ProcessesQuery())
        for number in range(2):
            self.reply(number, ProcessesReply(processes=[]))
        (row,) = self.successResultOf(answer).processes
        self.assertEqual((row.name, row.connections, row.ready, row.draining), ("parent", None, True, False))

    def test_overview_without_workers(self) -> None:
        for child in self.reactor.children:
            child.end(ProcessTerminated(exitCode=1))
        found = self.successResultOf(self.question(OverviewQuery()))
        self.assertEqual((found.connections, found.ready, found.time), (0, False, 1.7e9))
        self.assertIn("no worker accepts clients", found.warnings)

    def test_history(self) -> None:
        """Of one worker: all have the same."""
        query = EventsQuery(destination="/queue/message")
        answer = self.question(query)
        self.assertEqual([len(child.managed) for child in self.reactor.children], [1, 0])
        page = EventsReply(events=[], complete=True, next=None)
        self.reply(0, page)
        self.assertEqual(self.successResultOf(answer), page)
        late = self.question(query)
        self.reactor.advance(PUBLISH_PATIENCE)
        self.failureResultOf(late, SourceUnavailable)

    def test_history_without_workers(self) -> None:
        for child in self.reactor.children:
            child.end(ProcessTerminated(exitCode=1))
        self.failureResultOf(self.question(EventsQuery(destination="/queue/message")), SourceUnavailable)

    def test_drain_of_a_silent_worker(self) -> None:
        """It drains, and ends to drain, when it answers again; the reply does not wait for that."""
        self.reactor.children[0].answers = False
        for _ in range(CHECKS_UNTIL_COVERED + 1):
            self.reactor.advance(ALIVE_CHECK_EVERY)
        for is_on in (True, False):
            answer = self.question(DrainCommand(is_on=is_on))
            self.reply(1, DrainReply(draining=is_on, connections=2))
            expected = DrainReply(draining=is_on, connections=2, missing=("worker-1",))
            self.assertEqual(self.successResultOf(answer), expected)
        self.assertEqual(self.unread(0), [DrainCommand(is_on=True), DrainCommand(is_on=False)])
        self.reactor.advance(ASK_PATIENCE)

    def test_drain(self) -> None:
        """Workers that start later drain, too, until it is taken back."""
        for is_on in (True, False):
            answer = self.question(DrainCommand(is_on=is_on))
            for number in (0, -1):
                self.reply(number, DrainReply(draining=is_on, connections=2))
            self.assertEqual(self.successResultOf(answer), DrainReply(draining=is_on, connections=4))
            self.reactor.children[-1].end(ProcessTerminated(exitCode=1))
            self.reactor.advance(1)
            start = self.reactor.children[-1].start
            assert start is not None
            self.assertEqual(start.is_draining, is_on)
            self.reactor.children[-1].say(Serving())
