"""Run the benchmarks (``make bench``): every scenario, the servers by turns, medians over the rounds.

The load generator, wsload, is a program of its own; the environment variable ``AIRYD_WSLOAD_DIR``
names the directory where it was built. Where that also holds the reference server in C
(``selftest/fanout``), it takes part. The scenario ``intake`` needs a redis-server instead.

Exit status: 0, 1 (a run failed; its faults are in the table), 2 (can't measure here, or wrong arguments).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.intake import Intake, intake, missing
from bench.measure import Bench, Measurement
from bench.report import Measurements, table
from bench.scenarios import FULL, INTAKE, QUICK, Scenario, Size, scenarios
from bench.servers import ROOT, Server, known_servers

VARIABLE = "AIRYD_WSLOAD_DIR"
OUT = ROOT / "bench" / "out"


class CannotMeasure(Exception):
    """Something is missing on this machine; the text says in one line what."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Measure what ``arguments`` ask for, print the tables, write the JSON; return the exit status."""
    wanted = _options(arguments)
    size = QUICK if wanted.quick else FULL
    chosen = [scenario for scenario in scenarios(size) if not wanted.scenario or scenario.name in wanted.scenario]
    lacking = missing()
    if lacking is not None and not wanted.scenario:
        sys.stderr.write(f"bench: {INTAKE} is left out: {lacking}\n")
        chosen = [scenario for scenario in chosen if scenario.name != INTAKE]
    try:
        benches = {scenario.name: _equipment(scenario, size, environment) for scenario in chosen}
    except CannotMeasure as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    results: dict[str, Measurements] = {}
    for scenario in chosen:
        bench, servers = benches[scenario.name]
        servers = [server for server in servers if not wanted.server or server.name in wanted.server]
        results[scenario.name] = _interleave(bench, scenario, servers, wanted.repeat or (1 if wanted.quick else 3))
        sys.stdout.write(table(scenario, results[scenario.name]) + "\n\n")
        sys.stdout.flush()
    sys.stdout.write(f"written: {_write(results).relative_to(ROOT)}\n")
    failed = any(run.faults for found in results.values() for runs in found.values() for run in runs)
    return 1 if failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure airyd beside other servers.")
    parser.add_argument("--quick", action="store_true", help="one round of shorter loads, under two minutes")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (default: 3, with --quick 1)")
    names = [scenario.name for scenario in scenarios(FULL)]
    parser.add_argument("--scenario", action="append", choices=names, help="only this (repeatable)")
    parser.add_argument("--server", action="append", metavar="NAME", help="only this, such as 'C each' (repeatable)")
    return parser.parse_args(arguments)


def _equipment(
    scenario: Scenario, size: Size, environment: Mapping[str, str]
) -> tuple[Bench | Intake, Sequence[Server]]:
    """Find what measures a scenario, and the servers that take part in it.

    The limit of open files is raised for every process that is started.

    :raises CannotMeasure: the load generator, the program redis-server, or a second core is missing
    """
    if scenario.name == INTAKE:
        lacking = missing()
        if lacking is not None:
            raise CannotMeasure(lacking)
        return intake(size, *_cores())
    directory = environment.get(VARIABLE)
    if not directory:
        raise CannotMeasure(f"{VARIABLE} is not set: it names the directory where the load generator wsload was built")
    wsload = Path(directory).resolve() / "wsload"
    if not os.access(wsload, os.X_OK):
        raise CannotMeasure(f"{VARIABLE} names a directory without the program wsload")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers = [server for server in known_servers(wsload.parent) if server.name in scenario.servers]
    return Bench(wsload, *_cores()), servers


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotMeasure("two cores are needed, one for the server and one for the load")
    return cores[0], cores[1]


def _interleave(bench: Bench | Intake, scenario: Scenario, servers: Sequence[Server], rounds: int) -> Measurements:
    """Measure the servers by turns, so that what the machine does meanwhile meets all of them."""
    found: dict[str, list[Measurement]] = {server.name: [] for server in servers}
    for number in range(1, rounds + 1):
        for server in servers:
            sys.stderr.write(f"{scenario.name}, round {number} of {rounds}: {server.name}\n")
            found[server.name].append(bench.measure(scenario, server))
    return found


def _write(results: Mapping[str, Measurements]) -> Path:
    now = datetime.now(UTC)
    report = {
        "at": now.isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "processor": _processor()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("twisted", "autobahn")},
        "scenarios": {
            name: {server: [asdict(run) for run in runs] for server, runs in found.items()}
            for name, found in results.items()
        },
    }
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def _processor() -> str:
    with open("/proc/cpuinfo") as stream:
        names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
