"""Run the benchmarks (``make bench``): every scenario, with the contenders in turn, and medians over the rounds.

The load generator, wsload, is a separate program; the environment variable ``AIRYD_WSLOAD_DIR``
names the directory where it was built. If that also has the reference server in C
(``selftest/fanout``), it takes part.

Exit status: 0, 1 (a run failed, or a bound is not kept), 2 (can't measure here, or wrong arguments).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench import intake
from bench.attack import Attack
from bench.beside import Beside
from bench.catalogue import scenarios
from bench.connecting import storm
from bench.crowd import Crowd
from bench.filtered import Filtered
from bench.hundred_thousand import HundredThousand
from bench.level import Level
from bench.machine import CannotMeasure, cores, description
from bench.measure import VARIABLE, Driver, Measurement, Wsload, wsload
from bench.pauses import Pauses
from bench.private import Private, PrivateIdle
from bench.profile import profiler
from bench.redis_light import RedisLight
from bench.report import table, verdicts
from bench.results import Measurements, Results
from bench.resume import Resume
from bench.rolling import Rolling
from bench.scenarios import (
    ATTACK,
    BESIDE,
    CROWD,
    FILTERED,
    FULL,
    HUNDRED_THOUSAND,
    INTAKE,
    LEVEL,
    PAUSES,
    PRIVATE,
    PRIVATE_IDLE,
    PROFILE,
    REDIS_LIGHT,
    RESUME,
    ROLLING,
    SIMULATION,
    SIZES,
    TLS_FANOUT,
    TLS_HANDSHAKES,
    TLS_IDLE,
    WORKERS,
    WSLOAD,
    Contender,
    Scenario,
    Size,
)
from bench.servers import ROOT, Server, server_for
from bench.simulation import Simulation
from bench.tls import TlsFanout, TlsHandshakes, TlsIdle
from bench.workers import Workers

OUT: Final = ROOT / "bench" / "out"


def _wsload(size: Size, environment: Mapping[str, str]) -> Driver:
    return Wsload(wsload(environment), *cores())


def _beside(size: Size, environment: Mapping[str, str]) -> Driver:
    return Beside(Wsload(wsload(environment), *cores()), size.bystanders_seconds)


def _intake(size: Size, environment: Mapping[str, str]) -> Driver:
    if lacking := intake.missing():
        raise CannotMeasure(lacking)
    return intake.Intake(*cores())


def _redis_light(size: Size, environment: Mapping[str, str]) -> Driver:
    if lacking := intake.missing():
        raise CannotMeasure(lacking)
    return RedisLight(Wsload(wsload(environment), *cores()))


def _resume(size: Size, environment: Mapping[str, str]) -> Driver:
    return Resume(Wsload(wsload(environment), *cores()), size.bystanders_seconds)


def _level(size: Size, environment: Mapping[str, str]) -> Driver:
    return Level(Wsload(wsload(environment), *cores()))


def _workers(size: Size, environment: Mapping[str, str]) -> Driver:
    if lacking := intake.missing():
        raise CannotMeasure(lacking)
    return Workers(Wsload(wsload(environment), *cores()), storm(size).load)


def _profile(size: Size, environment: Mapping[str, str]) -> Driver:
    return profiler(Wsload(wsload(environment), *cores()))


def _pauses(size: Size, environment: Mapping[str, str]) -> Driver:
    return Pauses(Wsload(wsload(environment), *cores()))


def _simulation(size: Size, environment: Mapping[str, str]) -> Driver:
    return Simulation(cores()[0])


def _crowd(size: Size, environment: Mapping[str, str]) -> Driver:
    return Crowd(*cores(), size.seconds)


def _filtered(size: Size, environment: Mapping[str, str]) -> Driver:
    return Filtered(*cores(), size.seconds)


def _attack(size: Size, environment: Mapping[str, str]) -> Driver:
    return Attack(Wsload(wsload(environment), *cores()), size.bystanders_seconds)


def _private(size: Size, environment: Mapping[str, str]) -> Driver:
    return Private(Wsload(wsload(environment), *cores()), size.seconds)


def _private_idle(size: Size, environment: Mapping[str, str]) -> Driver:
    return PrivateIdle(*cores(), size.hold)


def _rolling(size: Size, environment: Mapping[str, str]) -> Driver:
    if lacking := intake.missing():
        raise CannotMeasure(lacking)
    return Rolling(*cores(), size.rolling_seconds)


def _tls_fanout(size: Size, environment: Mapping[str, str]) -> Driver:
    return TlsFanout(*cores(), 2.5 * size.seconds)  # Python's clients give the server breaks


def _tls_handshakes(size: Size, environment: Mapping[str, str]) -> Driver:
    return TlsHandshakes(*cores())


def _tls_idle(size: Size, environment: Mapping[str, str]) -> Driver:
    return TlsIdle(*cores())


def _hundred_thousand(size: Size, environment: Mapping[str, str]) -> Driver:
    if lacking := intake.missing():
        raise CannotMeasure(lacking)
    return HundredThousand(*cores())


#: The functions that make the drivers of scenarios, or raise ``CannotMeasure``.
DRIVERS: Final[Mapping[str, Callable[[Size, Mapping[str, str]], Driver]]] = MappingProxyType(
    {
        WSLOAD: _wsload,
        BESIDE: _beside,
        RESUME: _resume,
        LEVEL: _level,
        WORKERS: _workers,
        ROLLING: _rolling,
        PROFILE: _profile,
        PAUSES: _pauses,
        SIMULATION: _simulation,
        CROWD: _crowd,
        INTAKE: _intake,
        REDIS_LIGHT: _redis_light,
        FILTERED: _filtered,
        ATTACK: _attack,
        PRIVATE: _private,
        PRIVATE_IDLE: _private_idle,
        HUNDRED_THOUSAND: _hundred_thousand,
        TLS_FANOUT: _tls_fanout,
        TLS_HANDSHAKES: _tls_handshakes,
        TLS_IDLE: _tls_idle,
    }
)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the scenarios that ``arguments`` ask for, print the tables, write the JSON; return the exit status."""
    wanted = _options(arguments)
    size = "quick" if wanted.quick else "full"
    chosen = list(_chosen(scenarios(SIZES[size]), wanted.scenario, environment))
    if wanted.write_docs and find_spec("matplotlib") is None:
        sys.stderr.write("bench: the package matplotlib is missing: pip install '.[bench]' brings it\n")
        return 2
    if not chosen:
        sys.stderr.write("bench: no scenario's name begins so; python -m bench --help lists them\n")
        return 2
    drivers = _drivers(chosen, SIZES[size], environment)
    if not drivers:
        return 2
    raise_file_limit()
    rounds = wanted.repeat or (1 if wanted.quick else 3)
    begun = time.monotonic()
    results: dict[str, Measurements] = {}
    for scenario in chosen:
        if scenario.name in drivers:
            servers = line_up(scenario, wanted.contender or (), environment)
            found = interleave(drivers[scenario.name], scenario, servers, rounds)
            results[scenario.name] = found
            _print(table(scenario, found), "")
    judged = [verdict for scenario in chosen for verdict in verdicts(scenario, results)]
    _print(*map(str, judged))
    now = datetime.now(UTC)
    path = OUT / f"{now:%Y%m%dT%H%M%SZ}.json"
    Results(now.isoformat(timespec="seconds"), size, description(), results).write(path)
    _print(f"written: {path.relative_to(ROOT)}, after {(time.monotonic() - begun) / 60:.1f} minutes")
    if wanted.write_docs:
        from bench.page import write  # not above: it needs matplotlib

        _print(*(f"written: {each.relative_to(ROOT)}" for each in write(path)))
    failed = any(run.faults for found in results.values() for runs in found.values() for run in runs)
    return 1 if failed or not all(verdict.is_kept for verdict in judged) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    names = ", ".join(scenario.name for scenario in scenarios(FULL))
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure airyd beside other servers.", epilog=f"The scenarios: {names}."
    )
    parser.add_argument("--quick", action="store_true", help="one round of shorter loads")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (default: 3, with --quick 1)")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only those whose names begin so (repeatable)"
    )
    parser.add_argument("--contender", action="append", metavar="NAME", help="only this, as 'C each' (repeatable)")
    parser.add_argument(
        "--write-docs", action="store_true", help="write the run into docs/performance.rst, with pictures"
    )
    return parser.parse_args(arguments)


def _chosen(
    known: Sequence[Scenario], beginnings: Sequence[str] | None, environment: Mapping[str, str]
) -> Iterator[Scenario]:
    for scenario in known:
        if beginnings is not None:
            if scenario.name.startswith(tuple(beginnings)):
                yield scenario
        elif not (scenario.is_on_request or (scenario.is_substitute and environment.get(VARIABLE))):
            yield scenario


def _drivers(chosen: Sequence[Scenario], size: Size, environment: Mapping[str, str]) -> dict[str, Driver]:
    """Return the driver of each scenario. Print why others can't be measured here, one line for each reason."""
    drivers: dict[str, Driver] = {}
    lacking: dict[str, list[str]] = {}
    for scenario in chosen:
        try:
            drivers[scenario.name] = DRIVERS[scenario.driver](size, environment)
        except CannotMeasure as error:
            lacking.setdefault(str(error), []).append(scenario.name)
    for reason, names in lacking.items():
        sys.stderr.write(f"bench: left out: {', '.join(names)}: {reason}\n")
    return drivers


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit, for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def line_up(
    scenario: Scenario, only: Collection[str | None], environment: Mapping[str, str]
) -> dict[Contender, Server]:
    """Return the contenders whose servers are available.

    :param only: names of contenders; empty: all
    """
    directory = environment.get(VARIABLE)
    load_directory = Path(directory).resolve() if directory else None
    servers = {each: server_for(each, load_directory) for each in scenario.contenders if not only or each.name in only}
    return {contender: server for contender, server in servers.items() if server is not None}


def interleave(driver: Driver, scenario: Scenario, servers: Mapping[Contender, Server], rounds: int) -> Measurements:
    """Measure the contenders in turn, so that other work of the machine affects all of them."""
    found: dict[str, list[Measurement]] = {contender.name: [] for contender in servers}
    rounds = min(rounds, scenario.rounds)
    for number in range(1, rounds + 1):
        for contender, server in servers.items():
            sys.stderr.write(f"{scenario.name}, round {number} of {rounds}: {contender.name}\n")
            found[contender.name].append(driver.measure(scenario, contender, server))
    return found


def _print(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
