"""Many clients resume at once: how fast they catch up, and how that affects the latency of other subscribers."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from bench.clients import ClientFailed, close, connected, drain, sent, subscribed
from bench.machine import machine_time
from bench.measure import LOAD_PATIENCE, LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import MESSAGE, Contender, Scenario
from bench.servers import ROOT, Running, Server, ServerFailed, on_core, running

#: Seconds before the resumes, in which the others connect and warm up for a second.
_ALONE: Final = 2.0
#: Events that are published at once.
_AT_ONCE: Final = 100
_BODY: Final = b'{"conversation_id":"c","message":{"id":"m","content":"%b"}}' % (b"x" * 260)


@dataclass(frozen=True, slots=True)
class Resume:
    """Measures clients that resume.

    A scenario's load is the number of events that they missed; a contender's is the number of clients.

    :ivar seconds: how long the others' latency is measured; the resumes should take most of this time
    """

    wsload: Wsload
    seconds: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``; the latencies are the others'."""
        (events,), (clients,) = map(int, scenario.load), map(int, contender.load)
        listening = ("fanout", "-n", "100", "-d", MESSAGE, "--receipt", "--verify", "--pub", "stomp", "--rate", "50")
        before = machine_time()
        try:
            with running(server, self.wsload.server_core) as target:
                position = publish(target, events)
                others = self.wsload.start((*listening, "--warmup", "1", "-t", str(self.seconds)), target)
                time.sleep(_ALONE)
                seconds = self._come_back(target, position, clients, events) if clients else None
                values, error = finished(others)
        except (ServerFailed, LoadFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        if seconds is not None:
            values |= {"level_s": seconds, "replayed_per_s": clients * events / seconds}
        values.setdefault("machine_steal_pct", stolen_since(before))
        values.pop("machine_busy_pct", None)  # also by other programs than this load and its server
        return judge(values, error, scenario.saturates)

    def _come_back(self, target: Running, position: str, clients: int, events: int) -> float:
        """Let clients resume; return the seconds until all have caught up."""
        arguments = [str(target.port), target.path, position, str(clients), str(events)]
        # With a low priority, so that it does not slow the others.
        command = ["nice", "-n", "19", sys.executable, "-m", "bench.returning", *arguments]
        with on_core(self.wsload.load_core):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LOAD_PATIENCE)  # noqa: S603  # no shell
        if done.returncode:
            raise ClientFailed(done.stderr.decode(errors="replace").strip().splitlines()[-1])
        return float(done.stdout)


def publish(target: Running, events: int) -> str:
    """Fill the history; return the position before these events."""
    witness = subscribed(target.port, target.path)
    publisher = connected(target.port, target.path)
    for start in range(0, events, _AT_ONCE):
        count = min(_AT_ONCE, events - start)
        publisher.sendall(sent(_BODY) * count)
        drain({witness.socket: count}, b"\0")
    close([witness.socket, publisher])
    return witness.position
