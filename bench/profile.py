"""Where airyd spends its time under load: py-spy samples its functions, and Linux counts the time in system calls."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import CannotMeasure, machine_time, user_and_system
from bench.measure import LoadFailed, Measurement, Wsload, finished, judge, stolen_since
from bench.scenarios import Contender, Scenario
from bench.servers import Server, ServerFailed, running

#: Prefix of the keys for functions of a profile.
ENTRY: Final = "self: "
SYSTEM: Final = "system_pct"
#: Seconds until the load is steady, and seconds of sampling.
_WARM: Final = 1.5
_SECONDS: Final = 3
_SAMPLES: Final = 200
#: How many functions are stored.
_MOST: Final = 12
_PATIENCE: Final = 60.0
#: What py-spy writes after a function's file.
_LINE: Final = re.compile(r":\d+\)$")


@dataclass(frozen=True, slots=True)
class Profiler:
    """Measures the parts of airyd's time, with the load of a scenario and its contender."""

    program: str
    wsload: Wsload

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        before = machine_time()
        try:
            with running(server, self.wsload.server_core) as target:
                load = self.wsload.start((*scenario.load, *contender.load), target)
                time.sleep(_WARM)
                begun = user_and_system(target.pid)
                profile = self._record(target.pid)
                user, system = (now - then for now, then in zip(user_and_system(target.pid), begun, strict=True))
                values, error = finished(load)
        except (ServerFailed, LoadFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        # airyd's speed is not used: py-spy stops it for each sample.
        values = {key: value for key, value in values.items() if not key.startswith(("server_", "client_", "machine_"))}
        values |= {SYSTEM: 100.0 * system / max(user + system, 0.01), "machine_steal_pct": stolen_since(before)}
        return judge(values | shares(profile), error, saturates=False)

    def _record(self, pid: int) -> str:
        """Return the samples in py-spy's raw format."""
        with tempfile.TemporaryDirectory(prefix="airyd-bench-") as directory:
            out = Path(directory, "raw")
            options = ["--native", "--format", "raw", "--duration", str(_SECONDS), "--rate", str(_SAMPLES)]
            command = [self.program, "record", "--pid", str(pid), "--output", str(out), *options]
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE)  # noqa: S603  # no shell
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
                raise LoadFailed(f"py-spy ended with status {done.returncode}: {said[-1]}")
            return out.read_text()


def profiler(wsload: Wsload) -> Profiler:
    """Return the profiler.

    :raises CannotMeasure: there is no py-spy
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise CannotMeasure("the program py-spy is missing: pip install '.[bench]' brings it")
    return Profiler(program, wsload)


def shares(raw: str) -> dict[str, float]:
    """Return the own time of the functions with the most of it, in per cent, by ``ENTRY`` and the function.

    :param raw: lines with functions, from the outermost to the innermost, and the number of samples
    """
    samples: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        samples[_LINE.sub(")", stack.rpartition(";")[2])] += int(count)
    return {ENTRY + name: 100.0 * count / samples.total() for name, count in samples.most_common(_MOST)}
