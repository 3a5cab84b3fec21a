"""TLS: what deliveries, handshakes and idle connections cost airyd, or airyd and a proxy together.

The clients are in this process, on sockets of Python's ``ssl``. They are slower than the servers, so only CPU time and
memory are measured, not deliveries per second. wsload does not speak TLS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from bench.clients import PATIENCE, ClientFailed, close, connected, drain, frame, sent, subscribed, until
from bench.machine import core_time, machine_time
from bench.measure import Measurement, judge, stolen_since
from bench.private_streams import private_body
from bench.scenarios import CPU, CPU_HANDSHAKES, MEMORY, SUBSCRIPTIONS, Contender, Scenario
from bench.servers import Server, ServerFailed, on_core
from bench.tls_fronts import BARE, Way, way_to

#: The TLS client's first connection resumes nothing; each of the others resumes the session of the last.
RESUMED: Final = "resumed"
FULL: Final = "full"
#: A byte that each event has once. The end of a STOMP frame is in WebSocket pings, too.
_MARK: Final = b"|"
#: Seconds of warm-up.
_WARM_UP: Final = 0.5
#: Connections before those that count.
_FIRST: Final = 100
_REQUEST: Final = b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True, slots=True)
class TlsFanout:
    """Measures deliveries; a scenario's load is the number of clients, and of events in one piece.

    :ivar seconds: how long is measured
    """

    server_core: int
    load_core: int
    seconds: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        clients, events = (int(word) for word in scenario.load)
        open_way = lambda: way_to(server, contender.load[0], self.server_core)  # noqa: E731
        return _measured(open_way, self.load_core, lambda way: self._measure(way, clients, events))

    def _measure(self, way: Way, clients: int, events: int) -> dict[str, float]:
        subscribers = [subscribed(way.port, way.path, tls=way.tls).socket for _ in range(clients)]
        publisher = connected(way.port, way.path, tls=way.tls)
        piece = sent(private_body(_MARK.decode(), 0)) * events
        wanted = dict.fromkeys(subscribers, events)

        def deliver(seconds: float) -> int:
            batches, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                publisher.sendall(piece)
                drain(wanted, _MARK)
                batches += 1
            return batches

        try:
            deliver(_WARM_UP)
            cpu, core, begun = way.cpu_seconds(), core_time(self.load_core), time.monotonic()
            batches = deliver(self.seconds)
            seconds, cpu = time.monotonic() - begun, way.cpu_seconds() - cpu
            busy, whole = (now - then for now, then in zip(core_time(self.load_core), core, strict=True))
        finally:
            close([publisher, *subscribers])
        return {
            CPU: 1e6 * cpu / (batches * events * clients),
            "server_cpu_pct": 100.0 * cpu / seconds,
            "load_core_pct": 100.0 * busy / max(whole, 1),
        }


@dataclass(frozen=True, slots=True)
class TlsHandshakes:
    """Measures TLS handshakes, one after the other, of clients that then close; a scenario's load is how many.

    A contender's load is the way, the kind of the key, and whether sessions are resumed.
    """

    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        way, kind, how = contender.load
        open_way = lambda: way_to(server, way, self.server_core, kind)  # noqa: E731
        return _measured(open_way, self.load_core, lambda way: self._measure(way, int(scenario.load[0]), how))

    def _measure(self, way: Way, count: int, how: str) -> dict[str, float]:
        session = None
        if how == RESUMED:
            with _shaken(way, None) as first:
                first.sendall(_REQUEST)  # tickets come with the answer
                until(first, b"\r\n\r\n")
                session = first.session
        for _ in range(_FIRST):
            _shaken(way, session).close()
        cpu, resumed = way.cpu_seconds(), 0
        for _ in range(count):
            with _shaken(way, session) as client:
                resumed += bool(client.session_reused)
        cpu = max(way.cpu_seconds() - cpu, 0.01)  # the resolution
        if resumed != (count if how == RESUMED else 0):
            raise ClientFailed(f"{resumed} of {count} sessions were resumed")
        return {CPU_HANDSHAKES: count / cpu, "server_cpu_us_per_handshake": 1e6 * cpu / count}


def _shaken(way: Way, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    assert way.tls is not None  # all contenders have TLS
    plain = socket.create_connection(("127.0.0.1", way.port), PATIENCE)
    return way.tls.wrap_socket(plain, session=session)


@dataclass(frozen=True, slots=True)
class TlsIdle:
    """Measures idle connections with a session, four subscriptions and heart-beats; a scenario's load is how many."""

    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        open_way = lambda: way_to(server, contender.load[0], self.server_core)  # noqa: E731
        connect = _bare if contender.load[0] == BARE else _idle
        return _measured(open_way, self.load_core, lambda way: self._measure(way, int(scenario.load[0]), connect))

    def _measure(self, way: Way, count: int, connect: Callable[[Way], socket.socket]) -> dict[str, float]:
        clients: list[socket.socket] = []
        try:
            for _ in range(_FIRST):
                clients.append(connect(way))
            cpu, memory = way.cpu_seconds(), way.resident_kib()
            for _ in range(count):
                clients.append(connect(way))
            time.sleep(1)  # what the last ones left behind is done
            cpu, memory = way.cpu_seconds() - cpu, way.resident_kib() - memory
        finally:
            close(clients)
        return {MEMORY: memory / count, "server_cpu_us_per_connection": 1e6 * cpu / count}


def _idle(way: Way) -> socket.socket:
    client = connected(way.port, way.path, tls=way.tls, heart_beat="600000,600000")
    for number, destination in enumerate(SUBSCRIPTIONS):
        client.sendall(frame("SUBSCRIBE", {"id": str(number), "destination": destination, "receipt": str(number)}))
        until(client, f"receipt-id:{number}".encode())
    return client


def _bare(way: Way) -> socket.socket:
    client = _shaken(way, None)
    client.sendall(b"x")
    return client


def _measured(
    open_way: Callable[[], AbstractContextManager[Way]], core: int, measure: Callable[[Way], dict[str, float]]
) -> Measurement:
    before = machine_time()
    try:
        with open_way() as way, on_core(core):
            values = measure(way)
    except (ServerFailed, ClientFailed, OSError) as failure:
        return Measurement({}, faults=(str(failure),))
    return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)
