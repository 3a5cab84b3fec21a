"""The cost of nodes for Redis, and of events for nodes: ``python -m bench.nodes`` (docs/scaling.rst has figures).

Some airyd processes read two destinations, both from one Redis or each from its own, with a few subscribers each.
Events are added one by one at a steady rate. The CPU time of each process is measured, so two cores are enough for all
of them.

Exit status: 0, 1 (a run brought no result), 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from bench.intake import BODY
from bench.machine import cpu_seconds
from bench.scenarios import AIRYD, SUBSCRIPTIONS, Contender
from bench.servers import Running, Server, ServerFailed, running, server_for
from tests.integration.raw import RawClient
from tests.sources.redis.server import Connection, RedisServer

#: The destinations: the first two of Airy's. Two Redis have one each.
DESTINATIONS: Final = SUBSCRIPTIONS[:2]
#: Seconds within which the last event must come.
PATIENCE: Final = 120.0


class Shape(NamedTuple):
    """The numbers of Redis, nodes and subscribers per node; each subscribes to both destinations."""

    redis: int
    nodes: int
    subscribers: int


SHAPES: Final = (
    Shape(1, 0, 0),
    Shape(1, 1, 1),
    Shape(1, 2, 1),
    Shape(1, 4, 1),
    Shape(2, 2, 1),
    Shape(1, 1, 200),
    Shape(1, 2, 100),
    Shape(2, 2, 100),
)


class Costs(NamedTuple):
    """Microseconds of CPU per event, summed over all destinations.

    :ivar redis: for each Redis
    :ivar node: for a node, on average
    """

    redis: Sequence[float]
    node: float


class Subscribers:
    """Subscribers whose events a thread reads and counts."""

    def __init__(self) -> None:
        self.count = 0
        self._selector = selectors.DefaultSelector()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def add(self, target: Running) -> None:
        """Add a subscriber to both destinations."""
        client = RawClient(target.port)
        client.handshake()
        client.connect("1.2")
        for number, name in enumerate(DESTINATIONS):
            client.subscribe(name, f"sub-{number}")
        self._selector.register(client.nonblocking(), selectors.EVENT_READ, client)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def _read(self) -> None:
        while not self._ends.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                # In frames of this length, the only NUL is at the end.
                self.count += key.fileobj.recv(1 << 18).count(b"\0")

    def stop(self) -> None:
        """Stop reading, and close all connections."""
        self._ends.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.data.abort()
        self._selector.close()


def measure(shape: Shape, events: int, rate: float) -> Costs:
    """Start everything, add ``events`` events at ``rate`` per second, and return the costs.

    Raises ``ServerFailed`` if a daemon fails or an event doesn't arrive.
    """
    with ExitStack() as stack:
        servers = [RedisServer() for _ in range(shape.redis)]
        for server in servers:
            stack.callback(server.close)
        connections = [server.connect() for server in servers]
        for connection in connections:
            stack.callback(connection.close)
        pids = [int(_info(connection)["process_id"]) for connection in connections]
        if shape.redis == 1:
            sources = [f"--source=redis://127.0.0.1:{servers[0].port}/0"]
        else:
            shares = (DESTINATIONS[0], ",".join(SUBSCRIPTIONS[1:]))
            sources = [
                f"--source=redis://127.0.0.1:{server.port}/0?destinations={share}"
                for server, share in zip(servers, shares, strict=True)
            ]
        nodes = [stack.enter_context(running(_airyd(sources), 0)) for _ in range(shape.nodes)]
        subscribers = Subscribers()
        for node in nodes:
            for _ in range(shape.subscribers):
                subscribers.add(node)
        subscribers.start()
        stack.callback(subscribers.stop)
        before = [cpu_seconds(pid) for pid in (*pids, *(node.pid for node in nodes))]
        _publish(connections, events, rate)
        expected = events * shape.nodes * shape.subscribers
        deadline = time.monotonic() + PATIENCE
        while subscribers.count < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        if subscribers.count != expected:
            raise ServerFailed(f"{subscribers.count} deliveries instead of {expected}")
        after = [cpu_seconds(pid) for pid in (*pids, *(node.pid for node in nodes))]
    spent = [1e6 * (now - then) / events for now, then in zip(after, before, strict=True)]
    of_nodes = spent[len(pids) :]
    return Costs(spent[: len(pids)], sum(of_nodes) / max(len(of_nodes), 1))


def _airyd(sources: Sequence[str]) -> Server:
    server = server_for(Contender(AIRYD, AIRYD, tuple(sources)), None)
    assert server is not None  # the directory is only for references in C
    return server


def _info(connection: Connection) -> dict[str, str]:
    lines = connection.call("INFO", "server").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _publish(connections: Sequence[Connection], events: int, rate: float) -> None:
    """Add events to both destinations in turn, one by one."""
    bodies = [json.dumps(body | {"content": "x" * (BODY - len(json.dumps(body)))}) for body in _BODIES]
    begin = time.monotonic()
    for number in range(events):
        which = number % len(DESTINATIONS)
        key = f"airyd:{DESTINATIONS[which]}"
        pause = begin + number / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        connections[which % len(connections)].call("XADD", key, "MAXLEN", "~", 10_000, "*", "payload", bodies[which])


_BODIES: Final[Sequence[dict[str, object]]] = (
    {"conversation_id": "c", "message": {"id": "m"}, "content": ""},
    {"conversation_id": "c", "unread_message_count": 1, "timestamp": "t", "content": ""},
)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a line for each shape; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__)
    parser.add_argument("--events", type=int, default=4000, metavar="N", help="events per run (4000)")
    parser.add_argument("--rate", type=float, default=500, metavar="N", help="events per second (500)")
    wanted = parser.parse_args(arguments)
    sys.stdout.write("Redis  nodes  subscribers of each   us of CPU per event: each Redis, a node\n")
    for shape in SHAPES:
        try:
            costs = measure(shape, wanted.events, wanted.rate)
        except ServerFailed as failure:
            sys.stdout.write(f"{shape}: {failure}\n")
            return 1
        of_redis = " ".join(f"{cost:.0f}" for cost in costs.redis)
        sys.stdout.write(
            f"{shape.redis:5}  {shape.nodes:5}  {shape.subscribers:19}   {of_redis:>25}, {costs.node:.0f}\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
