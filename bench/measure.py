"""One measurement: run the load generator against a running server, read its figures, judge their worth."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import Scenario
from bench.servers import Running, Server, ServerFailed, on_core, running

#: Seconds after which a run of the load generator has gone wrong.
LOAD_PATIENCE = 300.0

#: Per cent of its core: above the first the load generator is the bottleneck, below the second the server is not.
CLIENT_BUSY = 95.0
SERVER_BUSY = 90.0
#: Per cent of the machine above which others had it.
STEAL = 3.0

#: Counts that are zero in a run worth anything.
_FAULTS = {
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
    """The load generator brought no result; the text says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run brought.

    :ivar values: the figures, as the load generator names them; times in the unit of the name
    :ivar faults: why the figures are worth nothing, if they are not
    :ivar doubts: why they may be off
    """

    values: Mapping[str, float]
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """The load generator's program, and the cores for the servers and for it."""

    wsload: Path
    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, server: Server) -> Measurement:
        """Start ``server``, put the load of ``scenario`` on it, and stop it.

        What goes wrong is among the measurement's faults, so that the other servers still have their turn.
        """
        before = machine_time()
        try:
            with running(server, self.server_core) as target:
                values, error = self._load(scenario, target)
        except (ServerFailed, LoadFailed) as failure:
            return Measurement({}, faults=(str(failure),))
        # Where wsload does not measure the theft itself (idle, storm), that of the whole run has to do.
        stolen, total = (now - then for now, then in zip(machine_time(), before, strict=True))
        values.setdefault("machine_steal_pct", 100.0 * stolen / max(total, 1))
        return judge(values, error, scenario.saturates)

    def _load(self, scenario: Scenario, target: Running) -> tuple[dict[str, float], str]:
        command = [str(self.wsload), *scenario.arguments, "-p", str(target.port), "--path", target.path]
        command += ["-w", str(target.pid), "-q"]
        try:
            with on_core(self.load_core):
                done = subprocess.run(command, capture_output=True, timeout=LOAD_PATIENCE)  # noqa: S603  # no shell
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"wsload did not end within {LOAD_PATIENCE:.0f} s") from None
        if not done.stdout:
            said = done.stderr.decode(errors="replace").strip()
            raise LoadFailed(f"wsload ended with status {done.returncode}: {said}")
        return parse(done.stdout)


def parse(line: bytes) -> tuple[dict[str, float], str]:
    """Read the line of JSON that the load generator prints.

    :returns: its numbers by name (the failed connections of a storm's rounds added up), and the first error that it saw
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


def judge(values: Mapping[str, float], error: str, saturates: bool) -> Measurement:
    """Say what is wrong with the figures of one run.

    :param error: the first error that the load generator saw, or nothing
    :param saturates: whether the server was to be the bottleneck
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
    if client > CLIENT_BUSY and not (saturates and server > CLIENT_BUSY):
        doubts.append(f"the load generator is the limit (its core {client:.0f} % busy)")
    if saturates and server < SERVER_BUSY:
        doubts.append(f"its core was {server:.0f} % busy: deliveries/s is not all that it can do")
    return Measurement(values, tuple(faults), tuple(doubts))


def machine_time() -> tuple[int, int]:
    """Return the stolen and the whole time of all cores since the start, in ticks (proc(5), ``/proc/stat``)."""
    with open("/proc/stat") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:9]]
    return ticks[7], sum(ticks)
