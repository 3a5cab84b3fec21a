"""The replies of workers become one reply of the node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from airyd.management.merging import merge_replies
from airyd.management.queries import (
    ConnectionDetails,
    ConnectionQuery,
    ConnectionReply,
    ConnectionRow,
    ConnectionsQuery,
    ConnectionsReply,
    ConnectionState,
    DeliveryOutcome,
    DestinationRow,
    DestinationsQuery,
    DestinationsReply,
    DrainCommand,
    DrainReply,
    ExplainQuery,
    ExplainReply,
    KickCommand,
    KickReply,
    ManagementQuery,
    ManagementReply,
    OverviewQuery,
    OverviewReply,
)


def row(process: str, number: int) -> ConnectionRow:
    """Return the row of a connection."""
    return ConnectionRow(
        id=f"0123abcd-{number}",
        process=process,
        state=ConnectionState.LIVE,
        subject=None,
        address="192.0.2.1:5000",
        agent=None,
        version=None,
        since=0.0,
        subscriptions=0,
        events=0,
        buffered=0,
        lag=0.0,
    )


def destination(name: str, **changed: Any) -> DestinationRow:
    """Return the row of a destination without events."""
    figures: dict[str, Any] = {
        "subscriptions": 0,
        "catching_up": 0,
        "groups": 0,
        "filters": 0,
        "position": None,
        "events": 0,
        "deliveries": 0,
        "events_per_second": 0.0,
        "deliveries_per_second": 0.0,
        "silence": None,
        "lag_entries": None,
        "lag_seconds": None,
        "history": None,
    }
    return DestinationRow(name=name, **{**figures, **changed})


def overview(**changed: Any) -> OverviewReply:
    """Return the overview of a process without clients."""
    figures: dict[str, Any] = dict.fromkeys(
        ("connections", "sessions", "opened", "closed", "events", "deliveries", "sent", "slow", "catching_up"), 0
    )
    figures |= {"time": 0.0, "ready": True, "buffered": 0, "lag_seconds": None, "warnings": ()}
    return OverviewReply(**{**figures, "delivery": [(1.0, 0)], "round_trip": [(1.0, 0)], **changed})


class MergeTests(SynchronousTestCase):
    """Two workers answer; another one may be missing."""

    def merged(self, query: ManagementQuery, *replies: ManagementReply, missing: tuple[str, ...] = ()) -> Any:
        """Return the node's reply."""
        by_worker: Mapping[str, ManagementReply] = {f"worker-{n}": each for n, each in enumerate(replies, 1)}
        return merge_replies(query, by_worker, missing)

    def test_pages(self) -> None:
        """By key; rows with equal keys by process and number."""
        one = ConnectionsReply(connections=[row("worker-1", 3), row("worker-1", 1)], total=2, keys=[9.0, 5.0])
        two = ConnectionsReply(connections=[row("worker-2", 1), row("worker-2", 2)], total=2, keys=[7.0, 5.0])
        page = self.merged(ConnectionsQuery(cursor="01234567"), one, two, missing=("worker-3",))
        self.assertEqual(
            [(each.process, each.id[-1]) for each in page.connections],
            [("worker-1", "3"), ("worker-2", "1"), ("worker-1", "1"), ("worker-2", "2")],
        )
        self.assertEqual((page.total, page.next, page.missing), (4, None, ("worker-3",)))

    def test_page_is_full(self) -> None:
        one = ConnectionsReply(connections=[row("worker-1", 1)], total=1, keys=[1.0])
        two = ConnectionsReply(connections=[row("worker-2", 1)], total=1, keys=[1.0])
        page = self.merged(ConnectionsQuery(cursor="01234567", limit=1), one, two)
        self.assertEqual([each.process for each in page.connections], ["worker-1"])
        self.assertEqual(page.next, "01234567_-1.0_worker-1_1")

    def test_nothing_behind_the_end_of_a_page(self) -> None:
        """A worker whose last rows have gone has others there, which the next page must have."""
        next_page = "01234567_-4.0_worker-1_2"
        one = ConnectionsReply(connections=[row("worker-1", 1)], total=9, keys=[5.0], next=next_page)
        two = ConnectionsReply(connections=[row("worker-2", 1), row("worker-2", 2)], total=2, keys=[4.5, 1.0])
        page = self.merged(ConnectionsQuery(cursor="01234567", limit=5), one, two)
        self.assertEqual(list(page.keys), [5.0, 4.5])
        self.assertEqual(page.next, next_page)

    def test_page_without_workers(self) -> None:
        page = self.merged(ConnectionsQuery(cursor="01234567"), missing=("worker-1",))
        self.assertEqual((page.connections, page.total, page.next, page.missing), ([], 0, None, ("worker-1",)))

    def test_connection(self) -> None:
        details = ConnectionDetails(
            connection=row("worker-2", 1),
            heart_beat=(0.0, 0.0),
            heard=0.0,
            token_end=None,
            sent=None,
            received=None,
            limit=1,
            subscriptions=(),
        )
        query = ConnectionQuery(id="0123abcd-1")
        found = self.merged(query, ConnectionReply(details=None), ConnectionReply(details=details))
        self.assertEqual(found.details, details)
        self.assertIsNone(self.merged(query, ConnectionReply(details=None)).details)

    def test_kicks_and_drains(self) -> None:
        kicked = self.merged(KickCommand(subject="a"), KickReply(disconnected=1), KickReply(disconnected=2))
        self.assertEqual(kicked, KickReply(disconnected=3))
        one, two = (DrainReply(draining=True, connections=count) for count in (3, 4))
        drained = self.merged(DrainCommand(is_on=True), one, two, missing=("worker-3",))
        self.assertEqual(drained, DrainReply(draining=True, connections=7, missing=("worker-3",)))

    def test_destinations(self) -> None:
        """Subscriptions and deliveries are added; the feed's events are not, since each worker reads all of them."""
        one = destination("/a", subscriptions=1, events=5, deliveries=5, position="p-1", silence=9.0, lag_seconds=1.0)
        two = destination("/a", subscriptions=2, events=4, deliveries=8, position="p-2", silence=3.0)
        other = destination("/b", events_per_second=2.0, deliveries_per_second=3.0, lag_entries=4)
        a, b = self.merged(
            DestinationsQuery(),
            DestinationsReply(destinations=[one, other]),
            DestinationsReply(destinations=[two, other]),
        ).destinations
        wanted = {"subscriptions": 3, "events": 5, "deliveries": 13, "position": "p-2", "silence": 3.0}
        self.assertEqual(a, destination("/a", lag_seconds=1.0, **wanted))
        self.assertEqual((b.events_per_second, b.deliveries_per_second, b.lag_entries), (2.0, 6.0, 4))

    def test_overviews(self) -> None:
        one = overview(connections=3, events=5, delivery=[(1.0, 1), (2.0, 3)], lag_seconds=0.5, time=7.0)
        two = overview(connections=4, events=5, delivery=[(1.0, 2), (2.0, 2)], ready=False, warnings=["no keys"])
        found = self.merged(OverviewQuery(), one, two, missing=("worker-3",))
        self.assertEqual((found.connections, found.events, found.lag_seconds, found.time), (7, 5, 0.5, 7.0))
        self.assertEqual(found.delivery, [(1.0, 3), (2.0, 5)])
        self.assertEqual((found.ready, found.warnings), (False, ["worker-2: no keys", "worker-3 does not answer"]))

    def test_explanations(self) -> None:
        """The worker that has the connection knows."""
        query = ExplainQuery(event="x", connection="y")
        nothing = ExplainReply(outcome=DeliveryOutcome.NO_CONNECTION, text="There is none.")
        sent = ExplainReply(outcome=DeliveryOutcome.SENT, text="It was sent.")
        self.assertEqual(self.merged(query, nothing, sent), sent)
        missing = self.merged(query, nothing, nothing, missing=("worker-3",))
        self.assertEqual(missing.outcome, DeliveryOutcome.NO_CONNECTION)
        self.assertIn("worker-3", missing.text)
