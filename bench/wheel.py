"""What heart-beats cost: thousands of clients with four subscriptions each, in memory, on a clock turned by hand.

The connections are null: what a ``send`` costs is left out, and so is what the clients' own beats cost to read.

Run it with ``python -m bench.wheel [connections]``; it prints the CPU time for each second of the clock.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable

from twisted.internet.task import Clock
from zope.interface import implementer

from airyd.access import make_authenticator
from airyd.client import Client
from airyd.encoding import websocket_framing
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS
from airyd.gateway import Gateway
from airyd.hub import Hub
from airyd.interfaces import IChannel
from airyd.limits import Limits
from airyd.metrics import Metrics
from airyd.sources.memory import MemorySource
from airyd.stomp.spec import HeartBeat
from airyd.wheel import Wheel

CONNECTIONS = 50_000
HEART_BEAT = HeartBeat(30_000, 30_000)
#: Seconds of the clock: until the beats have spread out, and those that are measured.
SPREAD, MEASURED = 120, 300


@implementer(IChannel)
class Null:
    """A connection that takes everything and keeps nothing."""

    peer = "nobody"
    buffered = 0

    @staticmethod
    def direct(wire: bytes) -> int:
        """Take it."""
        return len(wire)

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""

    def sent(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""

    def pause(self) -> None:
        """See ``IChannel``."""

    def resume(self) -> None:
        """See ``IChannel``."""

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        return True


def connect(gateway: Gateway) -> Client:
    """Return a client with a session and four subscriptions."""
    client = Client(gateway, Null(), websocket_framing)
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
    wheel = Wheel(clock, 1.0)
    gateway = Gateway(hub, make_authenticator("anonymous"), limits, HEART_BEAT, 65.0, wheel, metrics)
    clients = [connect(gateway) for _ in range(connections)]
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


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CONNECTIONS
    spent, seconds = simulate(count, Client.heard)
    print(  # the program's result
        f"{count} connections: {spent / MEASURED * 1e3:.1f} ms CPU per second; "
        f"{min(seconds.values())} to {max(seconds.values())} beats in a second"
    )
