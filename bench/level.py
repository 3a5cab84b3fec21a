"""Clients that resume at the newest event: what that costs more than a subscription without a position."""

from __future__ import annotations

from dataclasses import dataclass

from bench.clients import ClientFailed
from bench.machine import machine_time
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.resume import publish
from bench.scenarios import CPU_PER_CONNECTION, HANDSHAKES, Contender, Scenario
from bench.servers import Server, ServerFailed, running


@dataclass(frozen=True, slots=True)
class Level:
    """Measures a storm of clients, of which those of a contender with a load resume."""

    wsload: Wsload

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        try:
            with running(server, self.wsload.server_core) as target:
                publish(target, 1)
                # The position before an event that is not published.
                position = publish(target, 0)
                header = ("--sub-header", f"last-message-id:{position}") if contender.load else ()
                values, error = finished(self.wsload.start((*scenario.load, *header), target))
        except (ServerFailed, LoadFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        values.setdefault("machine_steal_pct", stolen_since(before))
        values["server_cpu_pct"] = values[HANDSHAKES] * values[CPU_PER_CONNECTION] / 1e4
        return judge(values, error, scenario.saturates)
