"""How long the garbage collector stops airyd while many clients connect, and while they are connected.

``python -m bench.pauses`` runs ``twistd`` and logs the duration of each collection that is not very short.
"""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twisted.scripts.twistd import run

from bench.machine import machine_time
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import PAUSE, Contender, Scenario
from bench.servers import START_PATIENCE, Server, ServerFailed, running

_SAYS: Final = "a collection took {:.3f} ms\n"
_SAID: Final = re.compile(rb"a collection took ([0-9.]+) ms")
#: Milliseconds from which on a collection is logged.
_LEAST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Pauses:
    """Measures the longest collection under a load of wsload."""

    wsload: Wsload

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        # The program is the first option's value: ``-c <twistd>``.
        watched = Server(server.name, (server.command[0], "-m", "bench.pauses", *server.command[3:]))
        try:
            with running(watched, self.wsload.server_core) as target:
                at_start = _after_start(target.log)
                values, error = finished(self.wsload.start((*scenario.load, *contender.load), target))
                said = _SAID.findall(target.log.read_bytes(), at_start)
        except (ServerFailed, LoadFailed) as failure:
            return Measurement({}, faults=(str(failure),))
        values |= {PAUSE: max(map(float, said), default=0.0), "machine_steal_pct": stolen_since(before)}
        return judge(values, error, saturates=False)


def _after_start(log: Path) -> int:
    """Return the length of the log after the collection of all loaded modules, which affects no client.

    It happens in the reactor's first turn, after the server has logged that it serves.
    """
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        text = log.read_bytes()
        announced = text.find(b"serves ws://")
        if announced >= 0 and _SAID.search(text, announced):
            return len(text)
        time.sleep(0.01)
    raise ServerFailed("the first collection did not come")


class Watch:
    """One of ``gc.callbacks``: measures collections."""

    def __init__(self) -> None:
        self._begun = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
            return
        took = 1000 * (time.perf_counter() - self._begun)
        if took >= _LEAST:
            # Not through twistd's log, which would create objects.
            os.write(2, _SAYS.format(took).encode())


if __name__ == "__main__":
    gc.callbacks.append(Watch())
    run()
