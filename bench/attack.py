"""Logins with bad tokens: how they affect the latency of subscribers (the bystanders)."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from bench.clients import PATIENCE, ClientFailed, frame, opening, until
from bench.logins import bad_token
from bench.machine import machine_time
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import MESSAGE, Contender, Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: Seconds before the attack, in which the bystanders connect and begin to warm up.
_ALONE: Final = 1.5
#: Attempts that are sent ahead of the answers.
_IN_FLIGHT: Final = 50


@dataclass(frozen=True, slots=True)
class Attack:
    """Measures with a load generator, while this process attacks from the same core.

    A contender's load is the number of logins per second.

    :ivar seconds: how long the bystanders' latency is measured
    """

    wsload: Wsload
    seconds: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``; the latencies are the bystanders'."""
        rate = int(contender.load[0])
        before = machine_time()
        listening = ("fanout", "-n", "500", "-d", MESSAGE, "--receipt", "--verify", "--pub", "stomp", "--rate", "50")
        try:
            with running(server, self.wsload.server_core) as target, on_core(self.wsload.load_core):
                bystanders = self.wsload.start((*listening, "--warmup", "1", "-t", str(self.seconds)), target)
                try:
                    time.sleep(_ALONE)
                    refused = _attack(target, rate, bystanders) if rate else 0.0
                finally:
                    values, error = finished(bystanders)
        except (ServerFailed, LoadFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        values["refused_per_s"] = refused
        values.setdefault("machine_steal_pct", stolen_since(before))
        values.pop("machine_busy_pct", None)  # also by other programs than this load and its server
        return judge(values, error, scenario.saturates)


def _attack(target: Running, rate: int, until_ends: subprocess.Popen[bytes]) -> float:
    """Log in with bad tokens until a process ends; return the refused logins per second."""
    said = opening(target.port, target.path) + frame(
        "CONNECT", {"accept-version": "1.2", "Authorization": f"Bearer {bad_token()}"}
    )
    waiting: deque[socket.socket] = deque()
    begun = time.monotonic()
    tried = 0
    while until_ends.poll() is None:
        client = socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE)
        client.sendall(said)
        waiting.append(client)
        tried += 1
        if len(waiting) > _IN_FLIGHT:
            _refused(waiting.popleft())
        time.sleep(max(0.0, begun + tried / rate - time.monotonic()))
    seconds = time.monotonic() - begun
    for client in waiting:
        _refused(client)
    return tried / seconds


def _refused(client: socket.socket) -> None:
    """Read the refusal and disconnect.

    :raises ClientFailed: the login was not refused
    """
    with client:
        until(client, b"message:401 ")
