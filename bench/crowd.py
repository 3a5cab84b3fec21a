"""A crowd of clients in Python: slower than wsload, but it has permessage-deflate and is always available.

It measures the server's CPU and the bytes on the wire, not deliveries/s or latency. A few events are sent in one
piece, and the next ones when all clients have them. One client of each kind reads and checks the messages. The others
of its kind get the same, so only their bytes are counted.
"""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from airyd.sources.sample.conversations import Conversations
from bench.clients import ClientFailed, Reader, close, connected, drain, sent, subscribed
from bench.machine import core_time, cpu_seconds, machine_time
from bench.measure import Measurement, judge, stolen_since
from bench.scenarios import CPU, MESSAGE, WIRE, Contender, Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: Seconds of warm-up.
_WARM_UP: Final = 0.5
#: Bodies that are published in turn: so many that a compressor's window does not hold them all.
_BODIES: Final = 500


@dataclass(frozen=True, slots=True)
class Crowd:
    """Measures with clients in this process.

    A scenario's load is the number of clients, and of events in one piece; a contender's is how many per cent of the
    clients offer compression.

    :ivar seconds: how long is measured
    """

    server_core: int
    load_core: int
    seconds: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        clients, events = (int(word) for word in scenario.load)
        compressing = clients * int(contender.load[0]) // 100
        before = machine_time()
        try:
            with running(server, self.server_core) as target, on_core(self.load_core):
                values = self._measure(target, clients - compressing, compressing, events)
        except (ServerFailed, ClientFailed, OSError, zlib.error) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)

    def _measure(self, target: Running, plain: int, compressing: int, events: int) -> dict[str, float]:
        kinds = [_Kind(target, count, offers) for count, offers in ((plain, False), (compressing, True)) if count]
        publisher = connected(target.port, target.path)
        try:
            batches = _batches(events)
            warm = time.monotonic() + _WARM_UP
            while time.monotonic() < warm:
                _deliver(publisher, next(batches), kinds)
            cpu, core, begun = cpu_seconds(target.pid), core_time(self.load_core), time.monotonic()
            deliveries = wire = 0
            while time.monotonic() < begun + self.seconds:
                wire += _deliver(publisher, next(batches), kinds)
                deliveries += events * (plain + compressing)
            seconds, cpu = time.monotonic() - begun, cpu_seconds(target.pid) - cpu
            busy, whole = (now - then for now, then in zip(core_time(self.load_core), core, strict=True))
        finally:
            close([publisher, *(client for kind in kinds for client in kind.clients)])
        return {
            CPU: 1e6 * cpu / deliveries,
            WIRE: wire / deliveries,
            "server_cpu_pct": 100.0 * cpu / seconds,
            "load_core_pct": 100.0 * busy / max(whole, 1),
        }


class _Kind:
    """Clients that get the same bytes."""

    def __init__(self, target: Running, count: int, offers_compression: bool) -> None:
        subscribers = [
            subscribed(target.port, target.path, offers_compression=offers_compression) for _ in range(count)
        ]
        self.clients = [subscriber.socket for subscriber in subscribers]
        self._reader = Reader(subscribers[0])

    def receive(self, bodies: list[bytes]) -> int:
        """Wait until all clients have these events; return the bytes that each of them got."""
        messages, size = self._reader.read(len(bodies))
        for body, message in zip(bodies, messages, strict=True):
            if not message.endswith(b"\n\n%b\0" % body):
                raise ClientFailed(f"the wrong event came: {message[-300:]!r}")
        drain(dict.fromkeys(self.clients[1:], size), None)
        return size * len(self.clients)


def _deliver(publisher: socket.socket, bodies: list[bytes], kinds: list[_Kind]) -> int:
    """Publish events in one piece and wait until all clients have them; return the sum of their bytes."""
    publisher.sendall(b"".join(sent(body) for body in bodies))
    return sum(kind.receive(bodies) for kind in kinds)


def _batches(events: int) -> Iterator[list[bytes]]:
    """Yield batches of made-up messages of Airy."""
    made = (body for destination, body in Conversations(1, lambda: 1.6e9) if destination == MESSAGE)
    bodies = list(islice(made, _BODIES))
    start = 0
    while True:
        yield [bodies[(start + number) % len(bodies)] for number in range(events)]
        start += events
