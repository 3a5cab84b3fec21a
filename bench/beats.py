"""What heart-beats of very many connections cost besides the sends: a simulation, without sockets.

``python -m bench.beats CONNECTIONS SECONDS`` puts airyd together over a clock in the reactor's place, lets so many
clients connect with heart-beats of 30 s over sockets that do nothing, and prints the milliseconds of CPU that each
simulated second took.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock

from airyd.transport import DirectServer
from bench.counted import OPENING, daemon, text
from bench.machine import machine_time
from bench.measure import LOAD_PATIENCE, Measurement, judge, stolen_since
from bench.scenarios import BEATS, Contender, Scenario
from bench.servers import ROOT, Server, on_core

_CONNECT: Final = text(b"CONNECT\naccept-version:1.2\nheart-beat:30000,30000\n\n\0")
_ADDRESS: Final = IPv4Address("TCP", "127.0.0.1", 5000)


@dataclass(frozen=True, slots=True)
class Beats:
    """Measures heart-beats; a scenario's load is the program's arguments."""

    server_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        command = [sys.executable, "-m", "bench.beats", *scenario.load]
        try:
            with on_core(self.server_core):
                done = subprocess.run(  # noqa: S603  # no shell
                    command, cwd=ROOT, capture_output=True, timeout=LOAD_PATIENCE, check=True
                )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge({BEATS: float(done.stdout), "machine_steal_pct": stolen_since(before)}, "", saturates=False)


class Nowhere:
    """A connected socket that takes all at once and sends nothing."""

    send = len

    def setblocking(self, blocking: bool) -> None:
        """Do nothing."""

    def setsockopt(self, *arguments: object) -> None:
        """Do nothing."""

    def fileno(self) -> int:
        """Return a number that is no open file's."""
        return -1


def milliseconds_per_second(connections: int, seconds: int) -> tuple[float, float]:
    """Return the CPU that heart-beats took per second, and how many went out per connection."""
    clock = MemoryReactorClock()
    factory: Any = daemon(clock)
    for number in range(connections):
        protocol = factory.buildProtocol(_ADDRESS)
        address = (_ADDRESS.host, _ADDRESS.port)
        # Twisted's types say socket, port and reactor.
        transport = DirectServer(cast(Any, Nowhere()), protocol, address, cast(Any, None), number, cast(Any, clock))
        protocol.makeConnection(transport)
        protocol.dataReceived(OPENING)
        protocol.dataReceived(_CONNECT)
        clock.advance(30 / connections)  # they come one after the other
    gc.collect()
    gc.freeze()
    metrics = factory.gateway.metrics
    before, begun = metrics.heartbeats_out, time.process_time()
    for _ in range(seconds):
        clock.advance(1)
    return 1000 * (time.process_time() - begun) / seconds, (metrics.heartbeats_out - before) / connections


def main(arguments: Sequence[str]) -> None:
    """Simulate."""
    connections, seconds = map(int, arguments)
    cost, beats = milliseconds_per_second(connections, seconds)
    if not seconds / 30 <= beats <= 2 * seconds / 30:
        raise SystemExit(f"{beats:.2f} beats of each connection in {seconds} s")
    sys.stdout.write(f"{cost}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
