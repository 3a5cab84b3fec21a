"""The cost of heart-beats without the sends: thousands of clients in memory, with a clock that the program advances.

``python -m bench.beats CONNECTIONS`` connects this number of clients at once, with four subscriptions each and
heart-beats of 30 s. It prints the milliseconds of CPU per simulated second, and the fewest and the most heart-beats in
one second. The connections send nothing, so neither the cost of ``send`` nor that of reading the clients' heart-beats
is included.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.task import Clock
from zope.interface import implementer

from airyd.auth.anonymous import AnonymousAuthenticator
from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import TimerWheel
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS
from airyd.hub.hub import Hub
from airyd.interfaces import NO_OPENING, IChannel, Opening
from airyd.limits import Limits
from airyd.metrics import Metrics
from airyd.sources.memory import MemorySource
from airyd.stomp.spec import HeartBeat
from airyd.websocket.frames import websocket_framing
from bench.machine import machine_time
from bench.measure import LOAD_PATIENCE, Measurement, judge, stolen_since
from bench.scenarios import BEATS, Contender, Scenario
from bench.servers import ROOT, Server, on_core

HEART_BEAT = HeartBeat(30_000, 30_000)
#: Simulated seconds until the heart-beats have spread out, and seconds that are measured.
SPREAD, MEASURED = 120, 300


@dataclass(frozen=True, slots=True)
class Beats:
    """Measures heart-beats; a scenario's load is the arguments of this program."""

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
        return judge(
            {BEATS: float(done.stdout.split()[0]), "machine_steal_pct": stolen_since(before)}, "", saturates=False
        )


@implementer(IChannel)
class Null:
    """A connection that drops everything."""

    peer = "nobody"
    buffered = 0

    @staticmethod
    def direct(wire: bytes) -> int:
        """Take all bytes."""
        return len(wire)

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        return NO_OPENING

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""

    def ping(self) -> None:
        """See ``IChannel``."""

    def send_rest(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""

    def pause(self) -> None:
        """See ``IChannel``."""

    def resume(self) -> None:
        """See ``IChannel``."""

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        return True


def connect(context: ClientContext) -> Client:
    """Return a client with a session and four subscriptions."""
    client = Client(context, Null(), websocket_framing)
    client.received(b"CONNECT\naccept-version:1.2\nheart-beat:%d,%d\n\n\0" % HEART_BEAT)
    for number, destination in enumerate(AIRY_DESTINATIONS):
        client.received(b"SUBSCRIBE\nid:%d\ndestination:%b\n\n\0" % (number, destination.encode()))
    return client


def simulate(connections: int, alive: Callable[[Client], None]) -> tuple[float, Counter[int]]:
    """Connect clients at once and let them idle; return the CPU seconds of the measured time, and beats by second.

    :param alive: called for each client when its own heart-beat is due
    """
    clock = Clock()
    metrics = Metrics(AIRY_DESTINATIONS)
    limits = Limits()
    source = MemorySource(clock.seconds)
    hub = Hub(source, AIRY_DESTINATIONS, clock, metrics, limits.body)
    source.start(hub)
    wheel = TimerWheel(clock, 1.0)
    everybody = AnonymousAuthenticator(public=False, send=False)
    context = ClientContext(hub, everybody, limits, HEART_BEAT, 65.0, wheel, metrics, clock.seconds)
    clients = [connect(context) for _ in range(connections)]
    gc.freeze()
    cpu, beats, sent = 0.0, Counter[int](), 0
    for second in range(SPREAD + MEASURED):
        if second % 30 == 0:
            for client in clients:
                alive(client)
        begun = time.process_time()
        clock.advance(1)
        if second >= SPREAD:
            cpu += time.process_time() - begun
            beats[second] = metrics.heartbeats_out - sent
        sent = metrics.heartbeats_out
    if metrics.sessions != connections:
        raise SystemExit(f"{connections - metrics.sessions} clients were lost")
    return cpu, beats


def main(arguments: Sequence[str]) -> None:
    """Run the simulation, and print the figures."""
    (connections,) = map(int, arguments)
    cpu, beats = simulate(connections, Client.heard)
    sys.stdout.write(f"{1000 * cpu / MEASURED:.2f} {min(beats.values())} {max(beats.values())}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
