"""Run the faults (``make chaos``): each kind alone, then all kinds mixed at random.

Exit status: 0, 1 (something was wrong), 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple

from tests.chaos.failover import FAULTS as FAILOVER_FAULTS
from tests.chaos.failover import FailoverJudge, FailoverStage
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.mixing import mix
from tests.chaos.plants import PLANTS
from tests.chaos.private import PrivateStage
from tests.chaos.pubsub import FAULTS as PUBSUB_FAULTS
from tests.chaos.pubsub import PassingJudge, PassingStage
from tests.chaos.stage import Stage
from tests.chaos.verdict import Judge, Verdict

#: Seconds between two faults that happen one after the other.
PAUSE: Final = 3.0
#: The most faults of a verdict that are printed.
SHOWN: Final = 12


class Feed(NamedTuple):
    """One kind of feed: its stage, its possible faults, and its judge."""

    stage: type[Stage]
    faults: Sequence[Fault]
    judge: Callable[[Any], Verdict]


FEEDS: Final = {
    "stream": Feed(Stage, FAULTS, lambda stage: Judge(stage).verdict()),
    "private": Feed(PrivateStage, FAULTS, lambda stage: Judge(stage).verdict()),
    "pubsub": Feed(PassingStage, PUBSUB_FAULTS, lambda stage: PassingJudge(stage).verdict()),
    "sentinel": Feed(FailoverStage, FAILOVER_FAULTS, lambda stage: FailoverJudge(stage).verdict()),
}


class Plan(NamedTuple):
    """The parameters of a run.

    :ivar rate: events per second
    :ivar scale: a factor for the lengths of faults
    :ivar plant: a fault within airyd itself (:mod:`tests.chaos.plants`), or ""
    :ivar feed: a key of :data:`FEEDS`
    :ivar slack: a factor for the time limits
    """

    clients: int
    rate: float
    seed: int
    scale: float
    plant: str
    feed: str = "stream"
    slack: float = 1.0

    @property
    def faults(self) -> Sequence[Fault]:
        """The possible faults."""
        return FEEDS[self.feed].faults

    def play(self, act: Callable[[Stage], None]) -> Verdict:
        """Start everything, call ``act``, end everything; return the verdict."""
        feed = FEEDS[self.feed]
        stage = feed.stage(
            clients=self.clients,
            rate=self.rate,
            seed=self.seed,
            scale=self.scale,
            slack=self.slack,
            plant=self.plant,
        )
        stage.play(lambda: act(stage))
        return feed.judge(stage)


def main(arguments: Sequence[str]) -> int:
    """Run what ``arguments`` ask for, and print the verdicts; return the exit status."""
    wanted = _options(arguments)
    plan = Plan(wanted.clients, wanted.rate, wanted.seed, wanted.scale, wanted.plant, wanted.feed)
    sys.stdout.write(f"{plan}\n")
    is_well = True
    for fault in plan.faults:
        if not wanted.fault or fault.name in wanted.fault:
            is_well &= show(fault.name, one_by_one([fault] * wanted.times, plan))
    if wanted.mixed:
        is_well &= show(f"mixed, {wanted.mixed:g} s", mixed(wanted.mixed, plan))
    return 0 if is_well else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Faults on real processes: each alone, then all mixed."
    )
    names = sorted({fault.name for feed in FEEDS.values() for fault in feed.faults})
    parser.add_argument("--feed", choices=list(FEEDS), default="stream", help="the kind of feed (stream)")
    parser.add_argument("--fault", action="append", choices=names, help="run only this fault alone (repeatable)")
    parser.add_argument("--times", type=int, default=3, metavar="N", help="how often each fault runs alone (3)")
    parser.add_argument("--mixed", type=float, default=600, metavar="SECONDS", help="length of the mixed run (600)")
    add_options(parser)
    parser.add_argument("--plant", choices=PLANTS, default="", help="a fault within airyd, which the run must find")
    return parser.parse_args(arguments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a stage."""
    parser.add_argument("--clients", type=int, default=60, metavar="N", help="number of clients (60)")
    parser.add_argument("--rate", type=float, default=260, metavar="N", help="events per second (260)")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N", help="repeats a run roughly")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="how long faults last: 0.1 is a tenth")


def show(name: str, verdict: Verdict, more: str = "") -> bool:
    """Print a verdict; return whether it has no faults."""
    sys.stdout.write(f"{name}: {verdict}{more}\n")
    for fault in verdict.faults[:SHOWN]:
        sys.stdout.write(f"    {fault}\n")
    if len(verdict.faults) > SHOWN:
        sys.stdout.write(f"    and {len(verdict.faults) - SHOWN} more\n")
    sys.stdout.flush()
    return not verdict.faults


def one_by_one(faults: Sequence[Fault], plan: Plan) -> Verdict:
    """Inject faults one after the other."""

    def act(stage: Stage) -> None:
        for fault in faults:
            stage.sleep(PAUSE)
            fault.inject(stage)
        stage.sleep(PAUSE)

    return plan.play(act)


def mixed(seconds: float, plan: Plan) -> Verdict:
    """Inject random faults of Redis and random other faults at the same time, while clients come and go."""
    kinds = [[fault for fault in plan.faults if fault.is_of_redis is is_of_redis] for is_of_redis in (True, False)]

    def act(stage: Stage) -> None:
        mix(stage, seconds, plan.seed, [partial(_let_one_happen, stage, faults) for faults in kinds])

    return plan.play(act)


def _let_one_happen(stage: Stage, faults: Sequence[Fault], random: Random) -> None:
    random.choices(faults, [fault.weight for fault in faults])[0].inject(stage)
