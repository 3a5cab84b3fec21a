"""What processes cost Redis, and what events cost a process: ``python -m bench.nodes`` (docs/scaling.rst has figures).

Some airyd processes read two destinations, both from one Redis or each from its own, with one subscriber each. Events
are added at a steady rate. The CPU time of each process is measured, so two cores are enough for all of them. In the
last run nothing is added, but each of four streams has an event of 200 KB.

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
    """The numbers of Redis, of processes and of the subscribers of each, and the events of a second.

    :ivar body: bytes of the body of an event that each stream has from the start; 0 for none
    :ivar replicas: replicas of the one Redis, from which the processes read in turn; 0: they read from Redis itself
    """

    redis: int
    processes: int
    subscribers: int
    rate: float
    body: int = 0
    replicas: int = 0


RATES: Final = (10.0, 500.0, 2000.0, 5000.0)
SHAPES: Final = (
    *(Shape(1, processes, 1, rate) for rate in RATES for processes in (0, 1, 2, 4, 8)),
    Shape(2, 2, 1, 500.0),
    Shape(1, 2, 1, 2000.0, replicas=1),
    Shape(1, 2, 1, 2000.0, replicas=2),
    Shape(1, 1, 1, 0.0, 200_000),
)


class Costs(NamedTuple):
    """What a second costs, averaged over the run.

    :ivar redis: milliseconds of CPU of each Redis, replicas last
    :ivar process: milliseconds of CPU of an airyd, on average
    :ivar replies: replies to XREAD of each process, from all Redis
    :ivar sent: KiB that all Redis sent
    """

    redis: Sequence[float]
    process: float
    replies: float
    sent: float


class Subscribers:
    """Subscribers whose events a thread reads and counts."""

    def __init__(self, destinations: Sequence[str]) -> None:
        self.count = 0
        self._destinations = destinations
        self._selector = selectors.DefaultSelector()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def add(self, target: Running) -> None:
        """Add a subscriber to the destinations."""
        client = RawClient(target.port)
        client.handshake()
        client.connect("1.2")
        for number, name in enumerate(self._destinations):
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


def measure(shape: Shape, seconds: float, parameters: str = "") -> Costs:
    """Start everything, add events for some seconds, and return the costs.

    :param parameters: of the sources' URLs, such as ``linger=0``

    Raises ``ServerFailed`` if a daemon fails or an event doesn't arrive.
    """
    with ExitStack() as stack:
        servers = [RedisServer() for _ in range(shape.redis)]
        servers += [RedisServer("--replicaof", f"127.0.0.1 {servers[0].port}") for _ in range(shape.replicas)]
        for server in servers:
            stack.callback(server.close)
        connections = [server.connect() for server in servers]
        for connection in connections:
            stack.callback(connection.close)
        pids = [int(_info(connection, "server")["process_id"]) for connection in connections]
        if shape.body:
            for name in SUBSCRIPTIONS:
                connections[0].call("XADD", f"airyd:{name}", "*", "payload", "x" * shape.body)
        for connection in connections[shape.redis :]:
            _wait_for_master(connection)
        urls = [f"--source=redis://127.0.0.1:{server.port}/0?{parameters}" for server in servers]
        if shape.redis == 2:
            shares = (DESTINATIONS[0], ",".join(SUBSCRIPTIONS[1:]))
            urls = [f"{url}&destinations={share}" for url, share in zip(urls, shares, strict=True)]
        sources = [[url] for url in urls[1:]] if shape.replicas else [urls]
        nodes = [
            stack.enter_context(running(_airyd(sources[number % len(sources)]), 0)) for number in range(shape.processes)
        ]
        subscribers = Subscribers(SUBSCRIPTIONS if shape.body else DESTINATIONS)
        for node in nodes:
            for _ in range(shape.subscribers):
                subscribers.add(node)
        subscribers.start()
        stack.callback(subscribers.stop)

        def counts() -> list[float]:
            cpu = [1000 * cpu_seconds(pid) for pid in (*pids, *(node.pid for node in nodes))]
            return [*cpu, *(sum(map(count, connections)) for count in (_replies, _sent))]

        before, begun = counts(), time.monotonic()
        events = _publish(connections[: shape.redis], shape.rate, seconds)
        expected = events * shape.processes * shape.subscribers
        deadline = time.monotonic() + PATIENCE
        while subscribers.count < expected and time.monotonic() < deadline:
            time.sleep(0.01)
        if subscribers.count != expected:
            raise ServerFailed(f"{subscribers.count} deliveries instead of {expected}")
        *cpu, replies, sent = (
            (now - then) / (time.monotonic() - begun) for now, then in zip(counts(), before, strict=True)
        )
    most = max(shape.processes, 1)
    return Costs(cpu[: len(pids)], sum(cpu[len(pids) :]) / most, replies / most, sent / 1024)


def _airyd(sources: Sequence[str]) -> Server:
    server = server_for(Contender(AIRYD, AIRYD, tuple(sources)), None)
    assert server is not None  # the directory is only for references in C
    return server


def _info(connection: Connection, section: str) -> dict[str, str]:
    lines = connection.call("INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _wait_for_master(replica: Connection) -> None:
    deadline = time.monotonic() + PATIENCE
    while _info(replica, "replication").get("master_link_status") != "up":
        if time.monotonic() > deadline:
            raise ServerFailed("a replica does not reach its master")
        time.sleep(0.05)


def _replies(connection: Connection) -> float:
    """Return how many XREADs were executed."""
    stats = _info(connection, "commandstats").get("cmdstat_xread", "calls=0")
    return float(stats.partition("calls=")[2].partition(",")[0])


def _sent(connection: Connection) -> float:
    return float(_info(connection, "stats")["total_net_output_bytes"])


def _publish(connections: Sequence[Connection], rate: float, seconds: float) -> int:
    """Add events to both destinations in turn; return their number.

    Those that are due at the same time are sent together: at most 2,000 times a second, so that the publisher does not
    need the machine for itself.
    """
    bodies = [json.dumps(body | {"content": "x" * (BODY - len(json.dumps(body)))}) for body in _BODIES]
    begin, added, events = time.monotonic(), 0, round(rate * seconds)
    while (passed := time.monotonic() - begin) < seconds or added < events:
        due = min(int(rate * passed) + 1, events) if rate else 0
        commands: list[list[tuple[str | int, ...]]] = [[] for _ in connections]
        for number in range(added, due):
            which = number % len(DESTINATIONS)
            words = ("XADD", f"airyd:{DESTINATIONS[which]}", "MAXLEN", "~", 10_000, "*", "payload", bodies[which])
            commands[which % len(connections)].append(words)
        for connection, these in zip(connections, commands, strict=True):
            if these:
                connection.pipeline(these)
        added = due
        time.sleep(max(_TICK, (added / rate if rate else seconds) - (time.monotonic() - begin)))
    return events


#: The most writes a second, and so the seconds between two of them.
MOST_WRITES: Final = 2000
_TICK: Final = 1 / MOST_WRITES
_BODIES: Final[Sequence[dict[str, object]]] = (
    {"conversation_id": "c", "message": {"id": "m"}, "content": ""},
    {"conversation_id": "c", "unread_message_count": 1, "timestamp": "t", "content": ""},
)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a line for each shape; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, metavar="N", help="length of each run (10)")
    parser.add_argument("--rate", type=float, action="append", metavar="N", help="only these events per second")
    parser.add_argument("--processes", type=int, action="append", metavar="N", help="only these numbers of processes")
    parser.add_argument("--parameters", default="", metavar="TEXT", help="of the sources' URLs, such as linger=0")
    wanted = parser.parse_args(arguments)
    sys.stdout.write(
        "Redis processes  events/s     ms of each Redis, ms of a process, its XREADs, KiB: each per second\n"
    )
    for shape in SHAPES:
        if wanted.rate and shape.rate not in wanted.rate:
            continue
        if wanted.processes and shape.processes not in wanted.processes:
            continue
        try:
            costs = measure(shape, wanted.seconds, wanted.parameters)
        except ServerFailed as failure:
            sys.stdout.write(f"{shape}: {failure}\n")
            return 1
        of_redis = " ".join(f"{cost:.1f}" for cost in costs.redis)
        sys.stdout.write(
            f"{shape.redis:5} {shape.processes:9} {shape.rate:9.0f} {of_redis:>32} {costs.process:16.1f} "
            f"{costs.replies:13.1f} {costs.sent:8.1f}\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
