"""A storm of connections: how it affects the latency of subscribers (the bystanders)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from bench.machine import machine_time
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import HANDSHAKES, MESSAGE, Contender, Scenario
from bench.servers import Server, ServerFailed, running

#: Seconds before the storm, in which the bystanders connect and warm up for a second.
_ALONE: Final = 2.0
#: The storm has a low priority, since it stands for other machines and must not slow the bystanders.
_NICE: Final = 19


@dataclass(frozen=True, slots=True)
class Beside:
    """Measures with two load generators.

    :ivar seconds: how long the bystanders' latency is measured; the storm should take most of this time
    """

    wsload: Wsload
    seconds: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``; the latencies are the bystanders', the handshakes the storm's."""
        before = machine_time()
        listening = ("fanout", "-n", "500", "-d", MESSAGE, "--receipt", "--verify", "--pub", "stomp", "--rate", "50")
        try:
            with running(server, self.wsload.server_core) as target:
                bystanders = self.wsload.start((*listening, "--warmup", "1", "-t", str(self.seconds)), target)
                time.sleep(_ALONE)
                storm = self.wsload.start((*scenario.load, *contender.load), target, _NICE)
                stormed, storm_error = finished(storm)
                values, error = finished(bystanders)
        except (ServerFailed, LoadFailed) as failure:
            return Measurement({}, faults=(str(failure),))
        for key in (HANDSHAKES, "connect_failed", "closed_by_server"):
            values[key] = stormed.get(key, 0.0)
        values["rc"] = max(values.get("rc", 0.0), stormed.get("rc", 0.0))
        values.setdefault("machine_steal_pct", stolen_since(before))
        values.pop("machine_busy_pct", None)  # also by other programs than this load and its server
        return judge(values, error or storm_error, scenario.saturates)
