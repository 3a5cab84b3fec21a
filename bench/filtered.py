"""Subscribers whose tokens show them only some events: clients in Python, a few for each row filter."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from bench.clients import ClientFailed, Reader, close, connected, drain, sent, subscribed
from bench.logins import ALL, CHANNELS, EVERYTHING, TENTH, token
from bench.machine import cpu_seconds, machine_time
from bench.measure import Measurement, judge, stolen_since
from bench.scenarios import CPU, Contender, Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: Seconds of warm-up.
_WARM_UP: Final = 0.5
_BODIES: Final = {
    channel: json.dumps({"conversation_id": "c", "channel_id": channel, "message": {"id": "m", "content": "x" * 220}})
    for channel in CHANNELS
}


@dataclass(frozen=True, slots=True)
class Filtered:
    """Measures with clients in this process, as many for each of ``CHANNELS``.

    A scenario's load is the number of clients; a contender's is what they see (``bench.logins``). The next event is
    sent when all clients that see the last one have it.

    :ivar seconds: how long is measured
    """

    server_core: int
    load_core: int
    seconds: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        each = int(scenario.load[0]) // len(CHANNELS)
        before = machine_time()
        try:
            with running(server, self.server_core) as target, on_core(self.load_core):
                values = self._measure(target, each, contender.load[0])
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)

    def _measure(self, target: Running, each: int, seen: str) -> dict[str, float]:
        kinds = {channel: _Kind(target, each, _token(channel, seen)) for channel in CHANNELS}
        publisher = connected(target.port, target.path)
        try:
            events = deliveries = 0
            begun, cpu, end = time.monotonic(), 0.0, 0.0
            for channel, body in cycle(_BODIES.items()):
                now = time.monotonic()
                if not end and now >= begun + _WARM_UP:
                    events = deliveries = 0
                    end, cpu = now + self.seconds, cpu_seconds(target.pid)
                elif end and now >= end:
                    break
                publisher.sendall(sent(body.encode()))
                events += 1
                for kind in (kinds[channel],) if seen == TENTH else kinds.values():
                    deliveries += kind.receive(body.encode())
            cpu = cpu_seconds(target.pid) - cpu
        finally:
            close([publisher, *(client for kind in kinds.values() for client in kind.clients)])
        return {CPU: 1e6 * cpu / deliveries, "server_cpu_us_per_event": 1e6 * cpu / events}


def _token(channel: str, seen: str) -> str:
    if seen == EVERYTHING:
        return token(None)
    return token((*CHANNELS, f"none-{channel}") if seen == ALL else (channel,))


class _Kind:
    """Clients with the same row filter."""

    def __init__(self, target: Running, count: int, shown: str) -> None:
        subscribers = [subscribed(target.port, target.path, token=shown) for _ in range(count)]
        self.clients = [subscriber.socket for subscriber in subscribers]
        self._reader = Reader(subscribers[0])

    def receive(self, body: bytes) -> int:
        """Wait until all clients have this event; return how many there are."""
        (message,), size = self._reader.read(1)
        if not message.endswith(b"\n\n%b\0" % body):
            raise ClientFailed(f"the wrong event came: {message[-300:]!r}")
        drain(dict.fromkeys(self.clients[1:], size), None)
        return len(self.clients)
