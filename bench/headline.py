"""The headline ratios (``make bench-quick``): before and after a change, in less than two minutes.

Each is the ratio of two contenders in the same round; the median over the rounds counts. The ratios are written to
``bench/out/headline.json`` and compared with another file: by default the one in the tree, if it is from a machine with
the same processor.

Exit status: 0, 1 (one is worse by more than 5 %), 2 (can't measure here, or wrong arguments).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.connecting import idle, storm
from bench.fanouts import one_in_flight, own_ids, saturated
from bench.machine import CannotMeasure, description
from bench.measure import Measurement
from bench.private_scenarios import private
from bench.report import table
from bench.results import Measurements
from bench.run import DRIVERS, OUT, interleave, line_up, raise_file_limit
from bench.scenarios import (
    AIRYD,
    AUTOBAHN,
    C_COALESCE,
    C_EACH,
    CPU,
    CPU_PER_CONNECTION,
    HANDSHAKES,
    MEMORY,
    PICOWS,
    RATE,
    USUAL,
    Scenario,
    Size,
)
from bench.servers import ROOT
from bench.tls_fronts import PLAIN
from bench.tls_scenarios import fanout as tls_fanout

KEPT: Final = ROOT / "bench" / "headline.json"
#: How many times worse a ratio may get.
ALLOWED: Final = 1.05
#: Seconds after which no further round begins.
PATIENCE: Final = 112.0
SIZE: Final = Size(seconds=1.2, warmup=0.4, hold=3, storm=1000, private=1000)


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the headline ratios.

    :ivar title: its name, also in files
    :ivar to: the contender whose figure divides airyd's; None: airyd's figure itself
    """

    title: str
    scenario: Scenario
    key: str
    to: str | None
    is_more_better: bool = False


_ONE: Final = one_in_flight(SIZE, USUAL)
_MANY: Final = saturated(SIZE, USUAL)
_OWN: Final = own_ids(SIZE)
_STORM: Final = storm(SIZE)
_IDLE: Final = idle(SIZE, 4000)
_PRIVATE: Final = private(SIZE)
_TLS: Final = tls_fanout("tls-one-in-flight", 300, 1, 2.5, rounds=2)
SCENARIOS: Final = (_ONE, _MANY, _OWN, _STORM, _IDLE, _PRIVATE, _TLS)
HEADLINES: Final = (
    Headline("one in flight: CPU per delivery to C each", _ONE, CPU, C_EACH),
    Headline("one in flight: CPU per delivery to Autobahn", _ONE, CPU, AUTOBAHN),
    Headline("saturated: CPU per delivery to C coalesce", _MANY, CPU, C_COALESCE),
    Headline("saturated: CPU per delivery to Autobahn", _MANY, CPU, AUTOBAHN),
    Headline("saturated: deliveries/s to C coalesce", _MANY, RATE, C_COALESCE, is_more_better=True),
    Headline("own ids: CPU per delivery to C each", _OWN, CPU, C_EACH),
    Headline("handshakes: CPU to Autobahn", _STORM, CPU_PER_CONNECTION, AUTOBAHN),
    Headline("handshakes: CPU to picows", _STORM, CPU_PER_CONNECTION, PICOWS),
    Headline("handshakes/s to Autobahn", _STORM, HANDSHAKES, AUTOBAHN, is_more_better=True),
    Headline("idle: KiB per connection", _IDLE, MEMORY, None),
    Headline("private: CPU per delivery to C each", _PRIVATE, CPU, C_EACH),
    Headline("TLS: CPU per delivery to plain", _TLS, CPU, PLAIN),
)


def ratios(headlines: Sequence[Headline], results: Mapping[str, Measurements]) -> dict[str, float]:
    """Return the median of each ratio over the rounds in which both figures are valid."""
    found = {}
    for headline in headlines:
        figure = headline.scenario.figure(headline.key)
        runs = results.get(headline.scenario.name, {})
        own = [run.value(figure) for run in runs.get(AIRYD, ())]
        others = [1.0] * len(own) if headline.to is None else [run.value(figure) for run in runs.get(headline.to, ())]
        pairs = [mine / other for mine, other in zip(own, others, strict=False) if mine is not None and other]
        if pairs:
            found[headline.title] = round(median(pairs), 4)
    return found


def worse_by(headline: Headline, now: float, before: float) -> float:
    """Return how many times worse a ratio has become; below 1 if it is better."""
    return before / now if headline.is_more_better else now / before


def compared(headlines: Sequence[Headline], now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[str]:
    """Yield a line for each ratio: before, now, and whether it is worse than allowed."""
    for headline in headlines:
        title = headline.title
        line = f"  {title:48}{_number(now.get(title)):>10}{_number(before.get(title)):>10}"
        if title in now and title in before:
            by = worse_by(headline, now[title], before[title])
            line += f"{100 * (now[title] / before[title] - 1):+8.1f} %" + ("  WORSE" if by > ALLOWED else "")
        yield line


def worsened(headlines: Sequence[Headline], now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """Return the ratios that are worse than allowed."""
    return [
        headline.title
        for headline in headlines
        if headline.title in now
        and headline.title in before
        and worse_by(headline, now[headline.title], before[headline.title]) > ALLOWED
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else format(value, ".3f")


def measure(environment: Mapping[str, str]) -> dict[str, Measurements]:
    """Measure the scenarios of the headlines, round by round, until time is up.

    :raises CannotMeasure: there is no load generator
    """
    drivers = {scenario.driver: DRIVERS[scenario.driver](SIZE, environment) for scenario in SCENARIOS}
    raise_file_limit()
    found: dict[str, dict[str, list[Measurement]]] = {}
    begun, rounds, longest = time.monotonic(), 0, 0.0
    while time.monotonic() - begun + longest < PATIENCE:
        rounds += 1
        round_begun = time.monotonic()
        for scenario in SCENARIOS:
            if rounds <= scenario.rounds:
                needed = {AIRYD, *(headline.to for headline in HEADLINES if headline.scenario is scenario)}
                contenders = line_up(scenario, needed, environment)
                for name, runs in interleave(drivers[scenario.driver], scenario, contenders, 1).items():
                    found.setdefault(scenario.name, {}).setdefault(name, []).extend(runs)
        longest = max(longest, time.monotonic() - round_begun)
    sys.stderr.write(f"{rounds} rounds in {time.monotonic() - begun:.0f} s\n")
    return dict(found)


def kept(path: Path) -> tuple[dict[str, float], str]:
    """Return the ratios in a file, and the processor on which they were measured."""
    loaded = json.loads(path.read_text())
    return loaded["ratios"], loaded["processor"]


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Measure, print, store and compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.headline", description="Measure the headline ratios.")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with this file, from any machine")
    parser.add_argument("--renew", action="store_true", help="store the ratios in the tree: bench/headline.json")
    wanted = parser.parse_args(arguments)
    try:
        found = measure(environment)
    except CannotMeasure as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    for scenario in SCENARIOS:
        sys.stdout.write(table(scenario, found[scenario.name]) + "\n\n")
    now, processor = ratios(HEADLINES, found), description()["processor"]
    before, its_processor = kept(wanted.against or KEPT)
    if wanted.against is None and its_processor != processor:
        sys.stdout.write(f"Not compared: what is kept in the tree is of another processor, {its_processor}.\n")
        before = {}
    sys.stdout.write(f"  {'':48}{'now':>10}{'before':>10}\n")
    sys.stdout.writelines(f"{line}\n" for line in compared(HEADLINES, now, before))
    if any(run.doubts for runs in found.values() for each in runs.values() for run in each):
        sys.stdout.write("The machine had other work (see the remarks): ratios are off by up to a tenth then.\n")
    for path in [OUT / KEPT.name, *([KEPT] if wanted.renew else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"processor": processor, "ratios": now}, indent=1) + "\n")
    return 1 if worsened(HEADLINES, now, before) and not wanted.renew else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
