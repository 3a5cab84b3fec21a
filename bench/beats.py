"""The cost of heart-beats without the sends: thousands of clients in memory, with a clock that the program advances.

``python -m bench.beats CONNECTIONS`` connects this number of clients at once, with four subscriptions each and
heart-beats of 30 s. It prints the milliseconds of CPU per simulated second, and the fewest and the most heart-beats in
one second. The connections send nothing, so neither the cost of ``send`` nor that of reading the clients' heart-beats
is included.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from airyd.auth.anonymous import AnonymousAuthenticator
from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.events import AIRY_DESTINATIONS
from airyd.websocket.frames import websocket_framing
from bench.scenarios import BEATS
from bench.simulation import HEART_BEAT, Gateway, NullChannel

#: Simulated seconds until the heart-beats have spread out, and seconds that are measured.
SPREAD, MEASURED = 120, 300


def connect(context: ClientContext) -> Client:
    """Return a client with a session and four subscriptions."""
    client = Client(context, NullChannel(), websocket_framing)
    client.received(b"CONNECT\naccept-version:1.2\nheart-beat:%d,%d\n\n\0" % HEART_BEAT)
    for number, destination in enumerate(AIRY_DESTINATIONS):
        client.received(b"SUBSCRIBE\nid:%d\ndestination:%b\n\n\0" % (number, destination.encode()))
    return client


def simulate(connections: int, alive: Callable[[Client], None]) -> tuple[float, Counter[int]]:
    """Connect clients at once and let them idle; return the CPU seconds of the measured time, and beats by second.

    :param alive: called for each client when its own heart-beat is due
    """
    gateway = Gateway(AnonymousAuthenticator(public=False, send=False))
    metrics = gateway.metrics
    clients = [connect(gateway.context) for _ in range(connections)]
    gc.freeze()
    cpu, beats, sent = 0.0, Counter[int](), 0
    for second in range(SPREAD + MEASURED):
        if second % 30 == 0:
            for client in clients:
                alive(client)
        begun = time.process_time()
        gateway.clock.advance(1)
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
    figures = {BEATS: 1000 * cpu / MEASURED, "fewest": min(beats.values()), "most": max(beats.values())}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
