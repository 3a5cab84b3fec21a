"""Measures airyd in a process of its own without sockets: programs of this package that print their figures as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from twisted.internet.task import Clock
from zope.interface import implementer

from airyd.client.context import ClientContext
from airyd.client.timer_wheel import TimerWheel
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS
from airyd.hub.hub import Hub
from airyd.interfaces import NO_OPENING, IAuthenticator, IChannel, Opening
from airyd.limits import Limits
from airyd.metrics import Metrics
from airyd.sources.memory import MemorySource
from airyd.stomp.spec import HeartBeat
from bench.machine import machine_time
from bench.measure import LOAD_PATIENCE, Measurement, judge, stolen_since
from bench.scenarios import Contender, Scenario
from bench.servers import ROOT, Server, on_core

HEART_BEAT = HeartBeat(30_000, 30_000)


@dataclass(frozen=True, slots=True)
class Simulation:
    """Runs a program on the server's core.

    A scenario's load is the program's module and its first arguments; a contender's load is the other arguments.
    """

    server_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        command = [sys.executable, "-m", *scenario.load, *contender.load]
        try:
            with on_core(self.server_core):
                done = subprocess.run(  # noqa: S603  # no shell
                    command, cwd=ROOT, capture_output=True, timeout=LOAD_PATIENCE
                )
        except subprocess.TimeoutExpired as failure:
            return Measurement({}, faults=(str(failure),))
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return Measurement({}, faults=(said[-1] if said else f"status {done.returncode}",))
        return judge({**json.loads(done.stdout), "machine_steal_pct": stolen_since(before)}, "", saturates=False)


@implementer(IChannel)
class NullChannel:
    """A connection that takes all bytes and keeps none."""

    __slots__ = ()

    peer = "nobody"
    buffered = 0

    def direct(self, wire: bytes) -> int:
        """See ``IChannel``."""
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


class Gateway:
    """A hub with a memory source, and the context of its clients, on a clock that is turned by hand."""

    def __init__(self, authenticator: IAuthenticator) -> None:
        self.clock = Clock()
        self.metrics = Metrics(AIRY_DESTINATIONS)
        self.source = MemorySource(self.clock.seconds)
        limits = Limits()
        hub = Hub(self.source, AIRY_DESTINATIONS, self.clock, self.metrics, limits.body)
        self.source.start(hub)
        wheel = TimerWheel(self.clock, 1.0)
        self.context = ClientContext(
            hub, authenticator, limits, HEART_BEAT, 65.0, wheel, self.metrics, self.clock.seconds
        )
