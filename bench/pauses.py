"""How long the garbage collector stops airyd while many connect, and while they are there.

``python -m bench.pauses`` is ``twistd`` that writes to its log how long each collection took, if that is worth a line.
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
#: Milliseconds that are worth a line.
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
    """Return where the log is after the one collection of everything that was loaded, which harms nobody.

    It comes with the reactor's first turn: when the server has said that it serves.
    """
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        text = log.read_bytes()
        announced = text.find(b"serves ws://")
        if announced >= 0 and _SAID.search(text, announced):
            return len(text)
        time.sleep(0.01)
    raise ServerFailed("the collection of the start did not come")


class Watch:
    """Looks at collections, as one of ``gc.callbacks``."""

    def __init__(self) -> None:
        self._begun = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
            return
        took = 1000 * (time.perf_counter() - self._begun)
        if took >= _LEAST:
            # Not by way of twistd's log, which makes objects.
            os.write(2, _SAYS.format(took).encode())


if __name__ == "__main__":
    gc.callbacks.append(Watch())
    run()
