"""A hundred thousand private streams on this machine: memory, CPU at rest, latency of events for all and for one each.

airyd's workers share the server's core. Redis, and the clients in several processes with a source address each, have
the other one.
"""

from __future__ import annotations

import json
import random
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench.clients import ClientFailed
from bench.machine import cpu_seconds, family, kernel_kib, machine_time, resident_kib
from bench.measure import Measurement, judge, stolen_since
from bench.private_load import Report
from bench.private_streams import EVERYONE, private_body, user
from bench.scenarios import (
    CPU_PER_CONNECTION,
    KERNEL,
    MEMORY,
    MESSAGE,
    P50,
    P99,
    PRIVATE_P50,
    PRIVATE_P99,
    RESIDENT,
    REST_CPU,
    Contender,
    Scenario,
)
from bench.servers import ROOT, Server, ServerFailed, on_core, reading_redis
from tests.sources.redis.server import Connection

#: The most clients of a process, which may have 20,000 files here.
_MOST: Final = 12_500
#: Seconds that all may take to connect, that the last event may take to arrive, and that clients may take to end.
_CONNECTING: Final = 900.0
_ARRIVING: Final = 120.0
_CLOSING: Final = 60.0
#: Seconds of rest: the first after the last connection, the other measured. A client has a heart-beat in the latter.
_SETTLING: Final = 5.0
_RESTING: Final = 30.0
#: Events for all, one after the other, and seconds for which private ones are published.
_FOR_ALL: Final = 5
_PRIVATE_SECONDS: Final = 5.0
#: Events that Redis keeps. It must have what a worker has not read yet, so it is more than all that are published.
_HISTORY: Final = 100_000


@dataclass(frozen=True, slots=True)
class HundredThousand:
    """Measures all of it in one run.

    A scenario's load is the number of clients, and of private events a second.
    """

    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        clients, rate = map(int, scenario.load)
        before = machine_time()
        try:
            with ExitStack() as stack:
                stack.enter_context(on_core(self.load_core))
                target, redis = stack.enter_context(reading_redis(server, self.server_core, self.load_core))
                node = _Node(family(target.pid))
                crowd = stack.enter_context(_crowd(target.port, target.path, clients))
                values = node.connected(clients)
                publisher = redis.connect()
                stack.callback(publisher.close)
                values |= _latencies(P50.key, P99.key, _for_all(crowd, publisher, clients))
                values |= _latencies(PRIVATE_P50, PRIVATE_P99, _private(crowd, publisher, clients, rate))
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)


class _Node:
    """airyd's processes, before anybody connects and after."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = processes
        time.sleep(_SETTLING)
        self._resident = self._sum(resident_kib)
        self._kernel = kernel_kib()
        self._cpu = self._sum(cpu_seconds)

    def _sum(self, of: Callable[[int], float]) -> float:
        return sum(map(of, self._processes))

    def connected(self, clients: int) -> dict[str, float]:
        """Return what so many clients take that have connected."""
        connecting = self._sum(cpu_seconds) - self._cpu
        time.sleep(_SETTLING)
        rest, begun = self._sum(cpu_seconds), time.monotonic()
        time.sleep(_RESTING)
        rest, seconds = self._sum(cpu_seconds) - rest, time.monotonic() - begun
        resident = self._sum(resident_kib)
        return {
            CPU_PER_CONNECTION: 1e6 * connecting / clients,
            REST_CPU: 1e6 * rest / seconds / clients,
            RESIDENT: resident / 1024,
            MEMORY: (resident - self._resident) / clients,
            KERNEL: (kernel_kib() - self._kernel) / clients,
        }


class _Load:
    """A process of clients (``bench.private_load``)."""

    def __init__(self, port: int, path: str, first: int, count: int, address: str) -> None:
        command = [sys.executable, "-m", "bench.private_load", str(port), path, str(first), str(count), address]
        self._process = subprocess.Popen(  # noqa: S603  # no shell
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def read(self, patience: float) -> str:
        """Return the next line that it prints.

        :raises ClientFailed: it ended, or said nothing
        """
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience)[0]:
            raise ClientFailed(f"the clients said nothing for {patience:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise ClientFailed(said.decode(errors="replace").strip())
        return line.decode()

    def ask(self, command: str) -> Any:
        """Return the answer to a command."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before it ended says why
        return json.loads(self.read(_ARRIVING))

    def close(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=_CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@contextmanager
def _crowd(port: int, path: str, clients: int) -> Iterator[Sequence[_Load]]:
    """Let so many clients connect; close them at the end."""
    with ExitStack() as stack:
        loads = []
        for number, first in enumerate(range(0, clients, _MOST)):
            load = _Load(port, path, first, min(_MOST, clients - first), f"127.0.0.{2 + number}")
            stack.callback(load.close)
            loads.append(load)
        deadline = time.monotonic() + _CONNECTING
        for load in loads:
            load.read(max(deadline - time.monotonic(), 0.0))
        yield loads


def _for_all(crowd: Sequence[_Load], publisher: Connection, clients: int) -> list[int]:
    """Publish events that all filters let pass; return the microseconds that each delivery took."""
    latencies = []
    for _ in range(_FOR_ALL):
        _publish(publisher, [private_body(EVERYONE, time.monotonic_ns())])
        report = _arrived(crowd, clients)
        if report.own or report.shared != Counter(range(clients)):
            raise ClientFailed("a client did not get one event when one was published for all")
        latencies += report.latencies
    return latencies


def _private(crowd: Sequence[_Load], publisher: Connection, clients: int, rate: int) -> list[int]:
    """Publish so many private events a second; return the microseconds that each took after it was due."""
    choose = random.Random(1)
    chosen = [choose.randrange(clients) for _ in range(int(rate * _PRIVATE_SECONDS))]
    begun, sent = time.monotonic_ns(), 0
    while sent < len(chosen):
        due = min((time.monotonic_ns() - begun) * rate // 10**9 + 1, len(chosen))
        bodies = [private_body(user(chosen[k]), begun + k * 10**9 // rate) for k in range(sent, due)]
        _publish(publisher, bodies)
        sent = due
        time.sleep(0.001)
    report = _arrived(crowd, len(chosen))
    if report.shared or report.own != Counter(chosen):
        raise ClientFailed("a client got more or fewer events than were for it")
    return report.latencies


def _publish(publisher: Connection, bodies: Sequence[bytes]) -> None:
    entry = ("XADD", f"airyd:{MESSAGE}", "MAXLEN", "~", _HISTORY, "*", "payload")
    publisher.pipeline([(*entry, body) for body in bodies])


def _arrived(crowd: Sequence[_Load], events: int) -> Report:
    """Wait until so many events have arrived at the clients; return the report of all."""
    deadline = time.monotonic() + _ARRIVING
    while (total := sum(load.ask("count") for load in crowd)) < events:
        if time.monotonic() > deadline:
            raise ClientFailed(f"{events - total} of {events} events missing after {_ARRIVING:.0f} s")
        time.sleep(0.2)
    reports = [load.ask("report") for load in crowd]
    own, shared = (
        Counter({int(number): count for each in reports for number, count in each[kind].items()})
        for kind in ("own", "shared")
    )
    return Report(own, shared, [latency for each in reports for latency in each["latencies"]])


def _latencies(p50: str, p99: str, latencies: Sequence[int]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {p50: float(ordered[len(ordered) // 2]), p99: float(ordered[len(ordered) * 99 // 100])}
