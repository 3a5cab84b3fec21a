"""Merges the replies of workers into one reply of the node; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import merge
from types import MappingProxyType
from typing import Any, Final

from airyd.management.cursor import PageCursor, read_cursor
from airyd.management.queries import (
    ConnectionQuery,
    ConnectionReply,
    ConnectionRow,
    ConnectionsQuery,
    ConnectionsReply,
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
    ProcessesQuery,
    ProcessesReply,
)


def merge_replies(
    query: ManagementQuery, replies: Mapping[str, ManagementReply], missing: Sequence[str]
) -> ManagementReply:
    """Return the reply of the node to a query that all workers were asked.

    :param replies: the replies of those that answered, by their names
    :param missing: the names of those that did not
    """
    merged: ManagementReply = _MERGES[type(query)](query, replies, missing)
    return merged


def _merge_pages(
    query: ConnectionsQuery, replies: Mapping[str, ConnectionsReply], missing: Sequence[str]
) -> ConnectionsReply:
    """Merge pages by the ranks of their rows.

    A worker may have more rows after the end of its page, so nothing behind the first such end is on this page.
    """
    pages = [
        [((-key, row.process, _number(row)), row) for key, row in zip(each.keys, each.connections, strict=True)]
        for each in replies.values()
    ]
    ends = [after for each in replies.values() if each.next and (after := read_cursor(each.next).after) is not None]
    end = min(ends, default=None)
    ranked = [each for each in merge(*pages, key=lambda ranked: ranked[0]) if end is None or each[0] <= end]
    page = ranked[: query.limit]
    after = page[-1][0] if len(ranked) > query.limit else end
    return ConnectionsReply(
        connections=[row for _, row in page],
        total=sum(each.total for each in replies.values()),
        next=None if after is None else str(PageCursor(read_cursor(query.cursor).listing, after)),
        keys=[-rank[0] for rank, _ in page],
        missing=missing,
    )


def _number(row: ConnectionRow) -> int:
    return int(row.id.rpartition("-")[2])


def _find_connection(
    query: ConnectionQuery, replies: Mapping[str, ConnectionReply], missing: Sequence[str]
) -> ConnectionReply:
    found = [each for each in replies.values() if each.details is not None]
    return found[0] if found else ConnectionReply(details=None)


def _merge_kicks(query: KickCommand, replies: Mapping[str, KickReply], missing: Sequence[str]) -> KickReply:
    return KickReply(disconnected=sum(each.disconnected for each in replies.values()), missing=missing)


def _merge_destinations(
    query: DestinationsQuery, replies: Mapping[str, DestinationsReply], missing: Sequence[str]
) -> DestinationsReply:
    by_name: dict[str, list[DestinationRow]] = {}
    for reply in replies.values():
        for row in reply.destinations:
            by_name.setdefault(row.name, []).append(row)
    return DestinationsReply(destinations=[_merge_rows(by_name[name]) for name in sorted(by_name)], missing=missing)


def _merge_rows(rows: Sequence[DestinationRow]) -> DestinationRow:
    """Merge the rows of one destination; all workers read the same feed, so its events are not added."""
    positions = [each for each in rows if each.position is not None]
    newest = min(positions, key=lambda row: float("inf") if row.silence is None else row.silence, default=rows[0])
    return DestinationRow(
        name=rows[0].name,
        subscriptions=sum(each.subscriptions for each in rows),
        catching_up=sum(each.catching_up for each in rows),
        groups=sum(each.groups for each in rows),
        filters=sum(each.filters for each in rows),
        position=newest.position,
        events=max(each.events for each in rows),
        deliveries=sum(each.deliveries for each in rows),
        events_per_second=max(each.events_per_second for each in rows),
        deliveries_per_second=sum(each.deliveries_per_second for each in rows),
        silence=_known(min, (each.silence for each in rows)),
        lag_entries=_known(max, (each.lag_entries for each in rows)),
        lag_seconds=_known(max, (each.lag_seconds for each in rows)),
        history=_known(max, (each.history for each in rows)),
    )


def _known(choose: Callable[..., Any], values: Iterable[float | None]) -> Any:
    return choose((each for each in values if each is not None), default=None)


def _merge_processes(
    query: ProcessesQuery, replies: Mapping[str, ProcessesReply], missing: Sequence[str]
) -> ProcessesReply:
    return ProcessesReply(processes=[row for each in replies.values() for row in each.processes], missing=missing)


def _find_explanation(query: ExplainQuery, replies: Mapping[str, ExplainReply], missing: Sequence[str]) -> ExplainReply:
    found = [each for each in replies.values() if each.outcome is not DeliveryOutcome.NO_CONNECTION]
    if found:
        return found[0]
    unheard = f" These workers did not answer: {', '.join(missing)}." if missing else ""
    return ExplainReply(
        outcome=DeliveryOutcome.NO_CONNECTION,
        text=f"There is no connection with this id, or no longer.{unheard}",
        destination=query.destination,
    )


def _merge_overviews(
    query: OverviewQuery, replies: Mapping[str, OverviewReply], missing: Sequence[str]
) -> OverviewReply:
    """Merge overviews, at least one; all workers read the same feed, so its events are not added."""
    each = list(replies.values())
    warnings = [f"{name}: {text}" for name, reply in replies.items() for text in reply.warnings]
    return OverviewReply(
        time=max(reply.time for reply in each),
        ready=all(reply.ready for reply in each),
        connections=sum(reply.connections for reply in each),
        sessions=sum(reply.sessions for reply in each),
        opened=sum(reply.opened for reply in each),
        closed=sum(reply.closed for reply in each),
        events=max(reply.events for reply in each),
        deliveries=sum(reply.deliveries for reply in each),
        sent=sum(reply.sent for reply in each),
        slow=sum(reply.slow for reply in each),
        catching_up=sum(reply.catching_up for reply in each),
        buffered=sum(reply.buffered for reply in each),
        lag_seconds=_known(max, (reply.lag_seconds for reply in each)),
        delivery=_add_buckets([reply.delivery for reply in each]),
        round_trip=_add_buckets([reply.round_trip for reply in each]),
        warnings=[*warnings, *(f"{name} does not answer" for name in missing)],
    )


def _add_buckets(histograms: Sequence[Sequence[tuple[float, int]]]) -> Sequence[tuple[float, int]]:
    counts: dict[float, int] = {}
    for histogram in histograms:
        for bound, count in histogram:
            counts[bound] = counts.get(bound, 0) + count
    return sorted(counts.items())


def _merge_drains(query: DrainCommand, replies: Mapping[str, DrainReply], missing: Sequence[str]) -> DrainReply:
    connections = sum(each.connections for each in replies.values())
    return DrainReply(draining=query.is_on, connections=connections, missing=missing)


_MERGES: Final[Mapping[type[ManagementQuery], Callable[[Any, Any, Sequence[str]], Any]]] = MappingProxyType(
    {
        ConnectionsQuery: _merge_pages,
        ConnectionQuery: _find_connection,
        KickCommand: _merge_kicks,
        DestinationsQuery: _merge_destinations,
        ProcessesQuery: _merge_processes,
        ExplainQuery: _find_explanation,
        OverviewQuery: _merge_overviews,
        DrainCommand: _merge_drains,
    }
)
