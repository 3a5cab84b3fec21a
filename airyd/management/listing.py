"""A list of connections by pages.

A listing looks at all connections, in pieces. Its order is total: the largest sort key first, then by process and
number. A page begins after a row, not at an index, so connections that come or go between two pages move no other one
to another page. Keys that change, such as the number of events, are kept from the first page on, for the next ones.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from ipaddress import ip_address
from math import inf
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from airyd.errors import QueryRefused
from airyd.events import user_destination
from airyd.hub.subscription import Subscription
from airyd.management.connections import Connections, lag_of, state_of
from airyd.management.cursor import PageCursor, RowRank, read_cursor
from airyd.management.queries import LARGEST_PAGE, ConnectionsQuery, ConnectionsReply, SortKey
from airyd.management.turns import run_in_turns
from airyd.websocket.protocol import StompWebSocket, StompWebSocketFactory

#: Rankings that are kept for the next pages, and seconds since the first page.
_KEPT: Final = 4
_KEPT_SECONDS: Final = 300.0
#: Entries of a ranking that are looked at together, and units of work of each row.
_AT_ONCE: Final = 1000
_ROW_UNITS: Final = 20
#: Units of work after which a ranking checks whether its turn is over.
_SOME_UNITS: Final = 100


class Ranking(NamedTuple):
    """The connections that match a query, in no particular order.

    :ivar made: when, in seconds of the reactor
    :ivar keys: the negated sort keys
    :ivar numbers: the numbers of the connections
    """

    made: float
    keys: array[float]
    numbers: array[int]


class Listing:
    """Lists the connections of one process."""

    def __init__(self, connections: Connections, factory: StompWebSocketFactory, clock: IReactorTime) -> None:
        self._connections = connections
        self._factory = factory
        self._clock = clock
        self._rankings: OrderedDict[tuple[str, ConnectionsQuery], Ranking] = OrderedDict()
        self._forgets = False

    def answer(self, query: ConnectionsQuery) -> Deferred[ConnectionsReply]:
        """Report a page; errors: ``QueryRefused``."""
        return run_in_turns(self._clock, self._steps(query))

    def _steps(self, query: ConnectionsQuery) -> Generator[int, None, ConnectionsReply]:
        if not 1 <= query.limit <= LARGEST_PAGE:
            raise QueryRefused(f"the limit must be from 1 to {LARGEST_PAGE}")
        cursor = read_cursor(query.cursor)
        name = cursor.listing, msgspec.structs.replace(query, cursor=None, limit=1)
        self._forget_old(_KEPT - 1)
        ranking = self._rankings.get(name)
        if ranking is None:
            ranking = yield from self._rank(query)
            # Of a worker, rows may be left for the next page although all of them fit on this one.
            if query.sort is not SortKey.AGE and (query.cursor is not None or len(ranking.keys) > query.limit):
                self._keep(name, ranking)
        ranks = yield from self._pick(ranking, cursor.after, query.limit + 1)
        rows, keys, last = [], [], None
        for rank in ranks[: query.limit]:
            channel = self._factory.channels.get(rank[2])
            if channel is not None:
                rows.append(self._connections.row(channel))
                keys.append(-rank[0])
                yield _ROW_UNITS + len(channel.client.subscribed)
            last = rank
        is_last = len(ranks) <= query.limit
        after = None if is_last else str(PageCursor(cursor.listing, last))
        return ConnectionsReply(connections=rows, total=len(ranking.keys), next=after, keys=keys)

    def _rank(self, query: ConnectionsQuery) -> Generator[int, None, Ranking]:
        """Return all connections that match, with their keys."""
        conditions, key_of = list(_conditions(query)), _KEYS[query.sort]
        ranking = Ranking(self._clock.seconds(), array("d"), array("q"))
        channels, units = self._factory.channels, 0
        for number in tuple(channels):
            channel = channels.get(number)
            if channel is None:
                continue
            for condition in conditions:
                if not condition(channel):
                    break
            else:
                ranking.keys.append(-key_of(channel))
                ranking.numbers.append(number)
            units += 1 + len(channel.client.subscribed)
            if units >= _SOME_UNITS:  # a piece takes less time than many small ones
                yield units
                units = 0
        return ranking

    def _pick(self, ranking: Ranking, after: RowRank | None, count: int) -> Generator[int, None, list[RowRank]]:
        """Return the ranks of the first ``count`` connections after a row, in order."""
        best: list[tuple[float, int]] = []
        process, channels = self._connections.process, self._factory.channels
        last = -inf, 0.0
        if after is not None:  # of those with the same key, an earlier process has none left
            last = after[0], -inf if process > after[1] else inf if process < after[1] else after[2]
        for start in range(0, len(ranking.keys), _AT_ONCE):
            piece = slice(start, start + _AT_ONCE)
            ranks = zip(ranking.keys[piece], ranking.numbers[piece], strict=True)
            best += [rank for rank in ranks if rank > last and rank[1] in channels]
            best.sort()
            del best[count:]
            yield _AT_ONCE
        return [(key, process, number) for key, number in best]

    def _keep(self, name: tuple[str, ConnectionsQuery], ranking: Ranking) -> None:
        self._rankings[name] = ranking
        if not self._forgets:
            self._forgets = True
            self._clock.callLater(_KEPT_SECONDS, self._forget_later)

    def _forget_later(self) -> None:
        """Forget old rankings also if nobody lists connections any more."""
        self._forget_old(_KEPT)
        self._forgets = bool(self._rankings)
        if self._forgets:
            self._clock.callLater(_KEPT_SECONDS, self._forget_later)

    def _forget_old(self, most: int) -> None:
        """Forget rankings whose time is over, and the oldest of more than ``most``."""
        oldest = self._clock.seconds() - _KEPT_SECONDS
        while self._rankings:
            first = next(iter(self._rankings))
            if len(self._rankings) <= most and self._rankings[first].made > oldest:
                break
            del self._rankings[first]


def _conditions(query: ConnectionsQuery) -> Iterator[Callable[[StompWebSocket], bool]]:
    """Yield the conditions that a connection must meet."""
    if query.subject is not None:
        yield lambda channel: (user := channel.principal) is not None and user.name == query.subject
    if query.address is not None:
        host = _host(query.address)
        yield lambda channel: _host(channel.address[0]) == host
    if query.destination is not None:
        names = query.destination, user_destination(query.destination)
        yield lambda channel: _subscribes_to(channel, names)
    if query.state is not None:
        yield lambda channel: state_of(channel) is query.state


def _host(text: str) -> str:
    """Return an address in the one way to write it; what is none stays as it is."""
    if "." in text and ":" not in text:
        return text
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)


def _subscribes_to(channel: StompWebSocket, names: Collection[str]) -> bool:
    for each in channel.client.subscribed.values():  # faster than any()
        if isinstance(each, Subscription) and each.destination in names:
            return True
    return False


def _lag_key(channel: StompWebSocket) -> float:
    lag = lag_of(channel.client)
    return inf if lag is None else lag


#: An unknown lag counts as the largest.
_KEYS: Final[Mapping[SortKey, Callable[[StompWebSocket], float]]] = MappingProxyType(
    {
        SortKey.AGE: lambda channel: -channel.client.opened_at,
        SortKey.BUFFERED: lambda channel: channel.buffered,
        SortKey.LAG: _lag_key,
        SortKey.DELIVERIES: lambda channel: channel.client.events,
    }
)
