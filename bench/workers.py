"""One process compared with several at a port: the cost of deliveries and handshakes, and the balance of clients.

All processes run on the server's core: their total CPU is compared, not their speed.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import family, machine_time
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import CPU_PER_CONNECTION, MESSAGE, SHARE, Contender, Scenario
from bench.servers import Server, ServerFailed, reading_redis

#: Seconds until all clients of the first load are connected.
_CONNECTED: Final = 1.5


@dataclass(frozen=True, slots=True)
class Workers:
    """Measures airyd with Redis as its source: first a fan-out, the scenario's load, then a storm.

    :ivar storm: the arguments of the storm
    """

    wsload: Wsload
    storm: tuple[str, ...]

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        try:
            with reading_redis(server, self.wsload.server_core, self.wsload.load_core) as (target, redis):
                publisher = ("--pub", "xadd", "--pub-port", str(redis.port), "--pub-dest", f"airyd:{MESSAGE}")
                entries = ("--maxlen", "10000", "--xadd-field", "payload={body}")
                idle = _sockets(target.pid)
                fanout = self.wsload.start((*scenario.load, *publisher, *entries, "--watch-tree"), target)
                time.sleep(_CONNECTED)
                clients = _sockets(target.pid)
                clients.subtract(idle)
                values, error = finished(fanout)
                storm = self.wsload.start((*self.storm, "--watch-tree"), target)
                stormed, storm_error = finished(storm)
        except (ServerFailed, LoadFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        values[SHARE] = 100.0 * max(clients.values()) / max(clients.total(), 1)
        values[CPU_PER_CONNECTION] = stormed.get(CPU_PER_CONNECTION, 0.0)
        values["connect_failed"] = values.get("connect_failed", 0.0) + stormed.get("connect_failed", 0.0)
        values.setdefault("machine_steal_pct", stolen_since(before))
        values.pop("machine_busy_pct", None)  # also by other programs than this load and its server
        return judge(values, error or storm_error, scenario.saturates)


def _sockets(parent: int) -> Counter[int]:
    """Return the numbers of open sockets of a process and of each of its children."""
    return Counter({pid: sum(_is_socket(link) for link in Path(f"/proc/{pid}/fd").iterdir()) for pid in family(parent)})


def _is_socket(link: Path) -> bool:
    try:
        return os.readlink(link).startswith("socket:")
    except OSError:  # the descriptor was closed
        return False
