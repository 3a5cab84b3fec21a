"""What heart-beats cost besides the sends: thousands of clients in memory, on a clock turned by hand.

``python -m bench.beats CONNECTIONS`` lets so many clients connect at once, with four subscriptions each and
heart-beats of 30 s, and prints the milliseconds of CPU that each simulated second took, and the fewest and the most
beats in one. The connections are null: what a ``send`` costs is left out, and so is what the clients' own beats cost
to read.
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
#: Seconds of the clock: until the beats have spread out, and those that are measured.
SPREAD, MEASURED = 120, 300


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
        return judge(
            {BEATS: float(done.stdout.split()[0]), "machine_steal_pct": stolen_since(before)}, "", saturates=False
        )


@implementer(IChannel)
class Null:
    """A connection that takes everything and keeps nothing."""

    peer = "nobody"
    buffered = 0

    @staticmethod
    def direct(wire: bytes) -> int:
        """Take it."""
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
    """Let so many clients connect at once and idle; return the CPU seconds of the measured time, and beats by second.

    :param alive: tells a client that it was heard
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
    """Simulate."""
    (connections,) = map(int, arguments)
    cpu, beats = simulate(connections, Client.heard)
    sys.stdout.write(f"{1000 * cpu / MEASURED:.2f} {min(beats.values())} {max(beats.values())}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
