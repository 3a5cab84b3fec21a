"""The command ``airyd connections``: lists the connections of all nodes, or shows one in full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from airyd.cli.nodes import Node, ask_all, report_missing
from airyd.cli.tables import UNKNOWN, TableColumn, byte_size, duration, table_lines
from airyd.cli.terminal import Console, visible
from airyd.cli.urls import node_name
from airyd.management.queries import ConnectionDetails, ConnectionRow, ConnectionState, SortKey, SubscriptionInfo

_NODE: Final = TableColumn("node")
COLUMNS: Final = (
    TableColumn("id"),
    TableColumn("user", widest=30),
    TableColumn("address"),
    TableColumn("state"),
    TableColumn("lag", is_number=True),
    TableColumn("buffered", is_number=True),
    TableColumn("events", is_number=True),
    TableColumn("subscriptions", is_number=True),
    TableColumn("age", is_number=True),
    TableColumn("agent", widest=40),
)
_SUBSCRIPTION_COLUMNS: Final = (
    TableColumn("subscription", widest=20),
    TableColumn("destination"),
    TableColumn("state"),
    TableColumn("lag", is_number=True),
    TableColumn("position"),
    TableColumn("ack"),
    TableColumn("unacknowledged", is_number=True),
    TableColumn("filter"),
)
#: The colours of states on a terminal (ECMA-48, SGR).
_COLOURS: Final[Mapping[ConnectionState, int]] = {
    ConnectionState.SLOW: 31,
    ConnectionState.CATCHING_UP: 33,
    ConnectionState.OPENING: 36,
    ConnectionState.CLOSING: 35,
}
#: The order of each sort key, as the nodes have it; an unknown lag comes last.
SORT_KEYS: Final[Mapping[SortKey, Callable[[ConnectionRow], float]]] = {
    SortKey.AGE: lambda row: row.since,
    SortKey.BUFFERED: lambda row: -row.buffered,
    SortKey.LAG: lambda row: 1.0 if row.lag is None else -row.lag,
    SortKey.DELIVERIES: lambda row: -row.events,
}


def list_connections(
    nodes: Sequence[Node],
    filters: Mapping[str, str],
    sort: SortKey,
    limit: int | None,
    console: Console,
    now: float,
) -> int:
    """Print the connections of all nodes, sorted; return the exit status.

    :param limit: the most connections; None for all
    :param now: seconds since 1970

    Errors: ``OutputClosed``.
    """
    asked = ask_all(nodes, lambda node: node.connections(filters, sort, limit), console)
    is_complete = asked.is_complete
    rows: list[tuple[Node, ConnectionRow]] = []
    for node, (found, missing) in asked.answers:
        rows += [(node, row) for row in found]
        is_complete = not report_missing(node, missing, console) and is_complete
    order = SORT_KEYS[sort]
    rows.sort(key=lambda each: order(each[1]))
    del rows[len(rows) if limit is None else limit :]
    if not console.terminal:
        for node, row in rows:
            console.write(_json_line(node, row))
    elif rows:
        for line in _list_lines(rows, len(nodes) > 1, console.colour, now):
            console.show(line)
    elif is_complete:
        console.say("there are no such connections" if filters else "there are no connections")
    return 0 if is_complete else 1


def show_connection(nodes: Sequence[Node], connection_id: str, console: Console, now: float) -> int:
    """Print one connection in full; return the exit status, which is 1 if no node has it.

    Errors: ``OutputClosed``.
    """
    asked = ask_all(nodes, lambda node: node.connection(connection_id), console)
    for node, details in asked.answers:
        if details is None:
            continue
        if console.terminal:
            for line in _detail_lines(node, details, now):
                console.show(line)
        else:
            console.write(_json_line(node, details))
        return 0
    if asked.is_complete:
        console.say(f"there is no connection {connection_id} (any more)")
    return 1


def list_cells(row: ConnectionRow, now: float) -> list[str]:
    """Return the texts of a connection's row in a table."""
    return [
        row.id,
        row.subject or UNKNOWN,
        row.address,
        row.state.value,
        duration(row.lag),
        byte_size(row.buffered),
        str(row.events),
        str(row.subscriptions),
        duration(max(0.0, now - row.since)),
        row.agent or UNKNOWN,
    ]


def _list_lines(
    rows: Sequence[tuple[Node, ConnectionRow]], has_nodes: bool, has_colours: bool, now: float
) -> Iterator[str]:
    columns = (_NODE, *COLUMNS) if has_nodes else COLUMNS
    cells = [[*((node_name(node.url),) if has_nodes else ()), *list_cells(row, now)] for node, row in rows]
    head, *lines = table_lines(columns, cells)
    yield head
    for line, (_, row) in zip(lines, rows, strict=True):
        colour = _COLOURS.get(row.state) if has_colours else None
        yield line if colour is None else f"\x1b[{colour}m{line}\x1b[0m"


def _detail_lines(node: Node, details: ConnectionDetails, now: float) -> Iterator[str]:
    row = details.connection
    sends, expects = details.heart_beat
    beats = f"sends {_every(sends)}, expects {_every(expects)}; the client was heard {duration(details.heard)} ago"
    token = (
        "does not expire"
        if details.token_end is None
        else f"expires {_time(details.token_end)} (in {duration(max(0.0, details.token_end - now))})"
    )
    fields = {
        "connection": row.id,
        "node": f"{node.url}, {row.process}",
        "user": row.subject or UNKNOWN,
        "address": row.address,
        "agent": row.agent or UNKNOWN,
        "STOMP": row.version or UNKNOWN,
        "state": row.state.value,
        "lag": duration(row.lag),
        "since": f"{_time(row.since)} ({duration(max(0.0, now - row.since))} ago)",
        "events": str(row.events),
        "bytes": f"{byte_size(details.sent)} sent, {byte_size(details.received)} received",
        "buffered": f"{byte_size(row.buffered)} of at most {byte_size(details.limit)}",
        "heart-beats": beats,
        "login": token,
    }
    for name, value in fields.items():
        yield f"{name:12}{visible(value)}"
    if details.subscriptions:
        yield ""
        yield from table_lines(_SUBSCRIPTION_COLUMNS, [_subscription_cells(each) for each in details.subscriptions])


def _subscription_cells(info: SubscriptionInfo) -> list[str]:
    return [
        info.id,
        info.destination,
        info.state.value,
        duration(info.lag),
        info.position or UNKNOWN,
        info.ack,
        UNKNOWN if info.window is None else f"{info.unacknowledged} of {info.window}",
        info.filter or UNKNOWN,
    ]


def _every(seconds: float) -> str:
    return f"one every {duration(seconds)}" if seconds else "none"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"


def _json_line(node: Node, value: msgspec.Struct) -> bytes:
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return json.dumps({"node": node.url, **fields}).encode() + b"\n"
