"""Private streams on real sockets: what an event for one of thousands costs, and what such a client takes idle."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bench.clients import PATIENCE, ClientFailed, connected, sent
from bench.machine import core_time, cpu_seconds, machine_time, resident_kib
from bench.measure import Measurement, Wsload, judge, stolen_since
from bench.private_load import Clients, PrivateClients
from bench.private_streams import private_body, user
from bench.scenarios import AIRYD, CPU, MEMORY, RATE, Contender, Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: Seconds before what is measured.
_WARM_UP: Final = 0.5
#: Seconds in which a server that has started comes to rest.
_REST: Final = 0.5
#: Milliseconds of the heart-beats of idle clients, as in the other scenarios of idle connections.
_HEART_BEAT: Final = 5000


@dataclass(frozen=True, slots=True)
class Private:
    """Measures events that one client each gets, in random order; the other servers get a load of wsload.

    A scenario's load is the number of clients, and airyd's the number of events in flight.

    :ivar seconds: for which is measured
    """

    wsload: Wsload
    seconds: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        if contender.server != AIRYD:
            return self.wsload.measure(replace(scenario, load=contender.load), replace(contender, load=()), server)
        (clients,), (in_flight,) = map(int, scenario.load), map(int, contender.load)
        before = machine_time()
        try:
            with running(server, self.wsload.server_core) as target, on_core(self.wsload.load_core):
                connections = PrivateClients(target.port, target.path, Clients(0, clients, subscriptions=1))
                try:
                    values = self._measure(target, connections, in_flight)
                finally:
                    connections.close()
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)

    def _measure(self, target: Running, clients: PrivateClients, in_flight: int) -> dict[str, float]:
        with connected(target.port, target.path) as publisher:
            loop = ClosedLoop(clients, publisher.sendall, in_flight)
            loop.run(_WARM_UP)
            cpu, core, begun = cpu_seconds(target.pid), core_time(self.wsload.load_core), time.monotonic()
            events = loop.run(self.seconds)
            seconds, cpu = time.monotonic() - begun, cpu_seconds(target.pid) - cpu
            busy, whole = (now - then for now, then in zip(core_time(self.wsload.load_core), core, strict=True))
        loop.check()
        return {
            CPU: 1e6 * cpu / events,
            RATE: events / seconds,
            "server_cpu_pct": 100.0 * cpu / seconds,
            "load_core_pct": 100.0 * busy / max(whole, 1),
        }


class ClosedLoop:
    """Publishes an event for one client as soon as another event has arrived.

    :param publish: takes SEND frames
    """

    def __init__(self, clients: PrivateClients, publish: Callable[[bytes], None], in_flight: int) -> None:
        self._clients = clients
        self._publish = publish
        self._in_flight = in_flight
        self._choose = random.Random(1)
        self._expected: Counter[int] = Counter()

    def run(self, seconds: float) -> int:
        """Do so for so long; return how many events arrived, which are all.

        :raises ClientFailed: an event did not arrive, or at another client
        """
        events = 0
        waiting = 0
        end = time.monotonic() + seconds
        while True:
            if time.monotonic() < end:
                self._send(self._in_flight - waiting)
                waiting = self._in_flight
            elif not waiting:
                return events
            arrived = self._clients.receive(PATIENCE)
            if not arrived:
                raise ClientFailed(f"{waiting} events missing")
            self._clients.beat()
            events += arrived
            waiting -= arrived

    def _send(self, count: int) -> None:
        chosen = [self._choose.randrange(len(self._clients)) for _ in range(count)]
        self._expected.update(chosen)
        at = time.monotonic_ns()
        self._publish(b"".join([sent(private_body(user(number), at)) for number in chosen]))

    def check(self) -> None:
        """Raise ``ClientFailed`` unless each client got as many events as were for it."""
        if self._clients.take_report().own != self._expected:
            raise ClientFailed("a client got more or fewer events than were for it")


@dataclass(frozen=True, slots=True)
class PrivateIdle:
    """Measures the memory of idle clients.

    A scenario's load is the number of clients; a contender's that of subscriptions, and whether they are filtered.

    :ivar hold: seconds for which the clients are idle
    """

    server_core: int
    load_core: int
    hold: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        (count,) = map(int, scenario.load)
        subscriptions, is_filtered = map(int, contender.load)
        clients = Clients(0, count, subscriptions, bool(is_filtered), heart_beat=_HEART_BEAT)
        before = machine_time()
        try:
            with running(server, self.server_core) as target, on_core(self.load_core):
                time.sleep(_REST)
                empty = resident_kib(target.pid)
                connections = PrivateClients(target.port, target.path, clients)
                try:
                    connections.idle(self.hold)
                    memory = resident_kib(target.pid) - empty
                finally:
                    connections.close()
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        return judge({MEMORY: memory / count, "machine_steal_pct": stolen_since(before)}, "", saturates=False)
