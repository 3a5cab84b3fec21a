"""Run the faults (``make chaos``): each alone, then all mixed at random.

Exit status: 0, 1 (something was wrong), 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from tests.chaos.faults import BY_NAME, FAULTS, Fault
from tests.chaos.plants import PLANTS
from tests.chaos.stage import Stage
from tests.chaos.verdict import Judge, Verdict

#: Seconds between two faults, when they come one after the other.
PAUSE: Final = 3.0
#: When faults are mixed: how often per second a client comes and goes of itself, and the seconds between two faults.
RESTLESSNESS: Final = 0.02
PAUSES: Final = (0.5, 8.0)
#: What of a long list of what was wrong is shown.
SHOWN: Final = 12


class Plan(NamedTuple):
    """How much there is of everything.

    :ivar rate: events per second
    :ivar scale: what the lengths of faults are multiplied by
    :ivar plant: a fault within airyd itself (:mod:`tests.chaos.plants`), or ""
    """

    clients: int
    rate: float
    seed: int
    scale: float
    plant: str

    def stage(self) -> Stage:
        """Start everything."""
        return Stage(clients=self.clients, rate=self.rate, seed=self.seed, scale=self.scale, plant=self.plant)


def main(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` ask for, and print what came of it; return the exit status."""
    wanted = _options(arguments)
    plan = Plan(wanted.clients, wanted.rate, wanted.seed, wanted.scale, wanted.plant)
    sys.stdout.write(f"{plan}\n")
    is_well = True
    for name in wanted.fault or BY_NAME:
        is_well &= _show(name, one_by_one([BY_NAME[name]] * wanted.times, plan))
    if wanted.mixed:
        is_well &= _show(f"mixed, {wanted.mixed:g} s", mixed(wanted.mixed, plan))
    return 0 if is_well else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Faults on real processes: each alone, then all mixed."
    )
    parser.add_argument("--fault", action="append", choices=list(BY_NAME), help="of those alone only this (repeatable)")
    parser.add_argument("--times", type=int, default=3, metavar="N", help="how often each comes when alone (3)")
    parser.add_argument("--mixed", type=float, default=600, metavar="SECONDS", help="how long all are mixed (600)")
    parser.add_argument("--clients", type=int, default=60, metavar="N", help="how many clients there are (60)")
    parser.add_argument("--rate", type=float, default=260, metavar="N", help="events per second (260)")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N", help="repeats a run, about")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="how long faults last: 0.1 is a tenth")
    parser.add_argument("--plant", choices=PLANTS, default="", help="a fault within airyd, which must be found")
    return parser.parse_args(arguments)


def _show(name: str, verdict: Verdict) -> bool:
    """Print a verdict; say whether all is well."""
    sys.stdout.write(f"{name}: {verdict}\n")
    for fault in verdict.faults[:SHOWN]:
        sys.stdout.write(f"    {fault}\n")
    if len(verdict.faults) > SHOWN:
        sys.stdout.write(f"    and {len(verdict.faults) - SHOWN} more\n")
    sys.stdout.flush()
    return not verdict.faults


def one_by_one(faults: Sequence[Fault], plan: Plan) -> Verdict:
    """Let faults happen one after the other."""
    stage = plan.stage()

    def act() -> None:
        for fault in faults:
            stage.sleep(PAUSE)
            fault.inject(stage)
        stage.sleep(PAUSE)

    stage.play(act)
    return Judge(stage).verdict()


def mixed(seconds: float, plan: Plan) -> Verdict:
    """Let faults of Redis and all others happen at random, at the same time, to clients that come and go."""
    stage = plan.stage()
    failures: list[BaseException] = []

    def act() -> None:
        stage.crowd.restlessness = RESTLESSNESS
        deadline = time.monotonic() + seconds
        tracks = [
            threading.Thread(target=_play, args=(stage, faults, Random(plan.seed + number), deadline, failures))
            for number, faults in enumerate(
                ([f for f in FAULTS if f.is_of_redis], [f for f in FAULTS if not f.is_of_redis])
            )
        ]
        for track in tracks:
            track.start()
        for track in tracks:
            track.join()
        if failures:
            raise failures[0]

    stage.play(act)
    return Judge(stage).verdict()


def _play(
    stage: Stage, faults: Sequence[Fault], random: Random, deadline: float, failures: list[BaseException]
) -> None:
    weights = [fault.weight for fault in faults]
    try:
        while time.monotonic() < deadline and not failures:
            stage.sleep(random.uniform(*PAUSES))
            random.choices(faults, weights)[0].inject(stage)
    except BaseException as failure:  # noqa: BLE001  # raised again where the threads were started
        failures.append(failure)
