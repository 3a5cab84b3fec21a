"""How long a listing of connections keeps the reactor: ``python -m bench.listing``.

It lists connections in memory, each with four subscriptions, and measures the CPU time of each turn of the reactor.
"""

from __future__ import annotations

import argparse
import gc
import sys
from time import thread_time

from airyd.events import AIRY_DESTINATIONS
from airyd.management.listing import Listing
from airyd.management.queries import LARGEST_PAGE, ConnectionsQuery, ConnectionState, SortKey
from tests.doubles import frame
from tests.loop import Peer
from tests.management.case import ManagementTestCase
from tests.websocket.case import CONNECT, request, text

CONNECTIONS = 20_000
ROUNDS = 5


class _Node(ManagementTestCase):
    """A process with connections."""

    def runTest(self) -> None:
        """Do nothing: this is no test."""

    def connect(self, count: int) -> None:
        """Open connections."""
        hello = request(User_Agent="Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        subscribe = [text(frame("SUBSCRIBE", id=f"s{n}", destination=name)) for n, name in enumerate(AIRY_DESTINATIONS)]
        self.peers = []
        for _ in range(count):
            peer = Peer(self.loop, self.factory.buildProtocol(None))
            for data in (hello, CONNECT, *subscribe):
                peer.say(data)
            peer.got()
            self.peers.append(peer)

    def measure(self, query: ConnectionsQuery) -> list[float]:
        """Return the milliseconds of each turn that a page takes."""
        turns = []
        begun = thread_time()
        answer = Listing(self.connections, self.factory, self.turns).answer(query)
        turns.append(1000 * (thread_time() - begun))
        while not answer.called:
            begun = thread_time()
            self.turns.turn()
            turns.append(1000 * (thread_time() - begun))
        if not self.successResultOf(answer).connections and query.state is not ConnectionState.CATCHING_UP:
            raise AssertionError("nothing was listed")
        return turns


def main() -> None:
    """Print the milliseconds of each kind of listing: in all, and of its longest turn; medians of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.listing", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    count = parser.parse_args().connections
    node = _Node()
    node.setUp()
    node.connect(count)
    gc.collect()
    gc.freeze()
    queries = {
        "by age": ConnectionsQuery(),
        "by lag": ConnectionsQuery(sort=SortKey.LAG),
        "by buffered bytes": ConnectionsQuery(sort=SortKey.BUFFERED),
        "by deliveries": ConnectionsQuery(sort=SortKey.DELIVERIES),
        "by deliveries, 1000 rows": ConnectionsQuery(sort=SortKey.DELIVERIES, limit=LARGEST_PAGE),
        "of a subject": ConnectionsQuery(subject="somebody"),
        "of an address": ConnectionsQuery(address="192.0.2.1"),
        "of a destination": ConnectionsQuery(destination=AIRY_DESTINATIONS[-1]),
        "that catch up": ConnectionsQuery(state=ConnectionState.CATCHING_UP),
    }
    sys.stdout.write(f"{count} connections: ms in all, ms of the longest turn, turns\n")
    for name, query in queries.items():
        rounds = sorted((sum(turns), max(turns), len(turns)) for turns in (node.measure(query) for _ in range(ROUNDS)))
        total, longest, turns = rounds[ROUNDS // 2]
        sys.stdout.write(f"{name:<26}{total:8.1f}{longest:8.2f}{turns:6}\n")


if __name__ == "__main__":
    main()
