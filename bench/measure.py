"""One measurement: run the load generator against a server, read its figures, and judge whether they are valid."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.machine import CannotMeasure, machine_time
from bench.scenarios import CPU_PER_CONNECTION, HANDSHAKES, Contender, Figure, Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: The environment variable with the directory where the load generator was built.
VARIABLE: Final = "AIRYD_WSLOAD_DIR"
#: Seconds after which a run of the load generator is given up.
LOAD_PATIENCE: Final = 300.0

#: CPU in per cent of a core: above the first the load generator is the bottleneck; below the second the server is not.
CLIENT_BUSY: Final = 95.0
SERVER_BUSY: Final = 90.0
#: Per cent of the machine's time that other machines may have stolen, or other programs used.
STEAL: Final = 3.0
OTHERS: Final = 15.0

#: Counts that are zero in a valid run.
_FAULTS: Final = {
    "connect_failed": "connections failed",
    "closed_by_server": "connections closed by the server",
    "missing_total": "deliveries missing",
    "verify_lost": "events lost",
    "verify_dup": "events twice",
    "verify_reordered": "events out of order",
    "verify_late": "events far too late",
    "verify_tail_missing": "events missing at the end",
    "stomp_errors": "ERROR frames",
    "protocol_errors": "protocol errors",
    "publish_errors": "refused publishes",
    "unstamped": "bodies changed",
}


class LoadFailed(Exception):
    """A run of the load generator gave no result; the text says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of one run.

    :ivar values: the figures by the load generator's names; times have the unit in the name
    :ivar faults: why the figures are invalid; empty if they are valid
    :ivar doubts: why the figures may be inaccurate
    """

    values: Mapping[str, float]
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def value(self, figure: Figure) -> float | None:
        """Return a figure in its unit; None if this run does not have it."""
        if self.faults or figure.key not in self.values:
            return None
        if figure.needs_core and self.values.get("server_cpu_pct", 100.0) < SERVER_BUSY:
            return None
        return self.values[figure.key] * figure.scale


class Driver(Protocol):
    """Measures the contenders of some scenarios."""

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """Start the contender's server, run the load, and stop the server.

        Errors become faults of the measurement, so that the other contenders are still measured.
        """


@dataclass(frozen=True, slots=True)
class Wsload:
    """Measures with the load generator: its program, and the cores for the servers and for itself."""

    program: Path
    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``Driver``."""
        before = machine_time()
        try:
            with running(server, self.server_core) as target:
                values, error = finished(self.start((*scenario.load, *contender.load), target))
        except (ServerFailed, LoadFailed) as failure:
            return Measurement({}, faults=(str(failure),))
        # If wsload does not measure stolen time (idle, storm), that of the whole run is used.
        values.setdefault("machine_steal_pct", stolen_since(before))
        if scenario.load[0] == "storm":
            values["server_cpu_pct"] = values[HANDSHAKES] * values[CPU_PER_CONNECTION] / 1e4
        return judge(values, error, scenario.saturates)

    def start(self, arguments: Sequence[str], target: Running, niceness: int = 0) -> subprocess.Popen[bytes]:
        """Start the load generator for a server."""
        command = ["nice", "-n", str(niceness), str(self.program), *arguments]
        command += ["-p", str(target.port), "--path", target.path, "-w", str(target.pid), "-q"]
        with on_core(self.load_core):
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603  # no shell


def wsload(environment: Mapping[str, str]) -> Path:
    """Return the path of the load generator.

    :raises CannotMeasure: it isn't where the environment variable says
    """
    directory = environment.get(VARIABLE)
    if not directory:
        raise CannotMeasure(f"{VARIABLE} is not set: it names the directory where the load generator wsload was built")
    program = Path(directory).resolve() / "wsload"
    if not os.access(program, os.X_OK):
        raise CannotMeasure(f"{VARIABLE} names a directory without the program wsload: build it there with make")
    return program


def finished(load: subprocess.Popen[bytes]) -> tuple[dict[str, float], str]:
    """Wait for the end of the load generator; return the result of :func:`parse`.

    :raises LoadFailed: it gave no result
    """
    try:
        out, said = load.communicate(timeout=LOAD_PATIENCE)
    except subprocess.TimeoutExpired:
        load.kill()
        load.communicate()
        raise LoadFailed(f"wsload did not end within {LOAD_PATIENCE:.0f} s") from None
    if not out:
        raise LoadFailed(f"wsload ended with status {load.returncode}: {said.decode(errors='replace').strip()}")
    return parse(out)


def parse(line: bytes) -> tuple[dict[str, float], str]:
    """Read the line of JSON that the load generator prints.

    :returns: its numbers by name (with the sum of a storm's failed connections), and the first error that it saw
    :raises LoadFailed: the line is not that
    """
    try:
        report = json.loads(line)
    except ValueError as error:
        raise LoadFailed(f"wsload printed no JSON: {error}") from None
    values = {key: float(value) for key, value in report.items() if isinstance(value, int | float)}
    if "rounds" in report:
        values["connect_failed"] = float(sum(entry["failed"] for entry in report["rounds"]))
    return values, str(report.get("first_error", ""))


def stolen_since(before: tuple[int, int]) -> float:
    """Return how many per cent of the machine's time were stolen since an earlier ``machine_time()``."""
    stolen, total = (now - then for now, then in zip(machine_time(), before, strict=True))
    return 100.0 * stolen / max(total, 1)


def judge(values: Mapping[str, float], error: str, saturates: bool) -> Measurement:
    """Return the measurement with its faults and doubts.

    :param error: the first error that the load generator saw, or ""
    :param saturates: whether the server should be the bottleneck
    """
    faults = [f"{values[key]:.0f} {what}" for key, what in _FAULTS.items() if values.get(key, 0)]
    if values.get("rc", 0) and not faults:
        faults.append(f"wsload ended with status {values['rc']:.0f}")
    if faults and error:
        faults.append(error)
    doubts = []
    if (steal := values.get("machine_steal_pct", 0.0)) > STEAL:
        doubts.append(f"{steal:.1f} % of the machine went elsewhere: repeat the run")
    server, client = values.get("server_cpu_pct", 100.0), values.get("client_cpu_pct", 0.0)
    if "machine_busy_pct" in values:
        # Stolen time is in per cent of all cores; server and client are in per cent of one.
        others = values["machine_busy_pct"] - (server + client) / (os.cpu_count() or 1)
        if others > OTHERS:
            doubts.append(f"other programs had {others:.0f} % of the machine: repeat the run")
    if client > CLIENT_BUSY and not (saturates and server > CLIENT_BUSY):
        doubts.append(f"the load generator is the limit (its core {client:.0f} % busy)")
    if saturates and server < SERVER_BUSY:
        doubts.append(f"its core was {server:.0f} % busy: its rate is not all that it can do")
    return Measurement(values, tuple(faults), tuple(doubts))
