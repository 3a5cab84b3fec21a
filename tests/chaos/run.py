"""Run the faults (``make chaos``): each alone, then all mixed at random.

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
from tests.chaos.pubsub import FAULTS as PUBSUB_FAULTS
from tests.chaos.pubsub import PassingJudge, PassingStage
from tests.chaos.stage import Stage
from tests.chaos.verdict import Judge, Verdict

#: Seconds between two faults, when they come one after the other.
PAUSE: Final = 3.0
#: What of a long list of what was wrong is shown.
SHOWN: Final = 12


class Feed(NamedTuple):
    """One kind of feed: its stage, what may happen on it, and who judges what came of it."""

    stage: type[Stage]
    faults: Sequence[Fault]
    judge: Callable[[Any], Verdict]


FEEDS: Final = {
    "stream": Feed(Stage, FAULTS, lambda stage: Judge(stage).verdict()),
    "pubsub": Feed(PassingStage, PUBSUB_FAULTS, lambda stage: PassingJudge(stage).verdict()),
    "sentinel": Feed(FailoverStage, FAILOVER_FAULTS, lambda stage: FailoverJudge(stage).verdict()),
}


class Plan(NamedTuple):
    """How much there is of everything.

    :ivar rate: events per second
    :ivar scale: what the lengths of faults are multiplied by
    :ivar plant: a fault within airyd itself (:mod:`tests.chaos.plants`), or ""
    :ivar feed: which one of :data:`FEEDS`
    :ivar slack: what the seconds within which something must happen are multiplied by
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
        """What may happen."""
        return FEEDS[self.feed].faults

    def play(self, act: Callable[[Stage], None]) -> Verdict:
        """Start everything, do something with it, end everything, and judge."""
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
    """Do what ``arguments`` ask for, and print what came of it; return the exit status."""
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
    parser.add_argument("--feed", choices=list(FEEDS), default="stream", help="what the events come by (stream)")
    parser.add_argument("--fault", action="append", choices=names, help="of those alone only this (repeatable)")
    parser.add_argument("--times", type=int, default=3, metavar="N", help="how often each comes when alone (3)")
    parser.add_argument("--mixed", type=float, default=600, metavar="SECONDS", help="how long all are mixed (600)")
    add_options(parser)
    parser.add_argument("--plant", choices=PLANTS, default="", help="a fault within airyd, which must be found")
    return parser.parse_args(arguments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a stage."""
    parser.add_argument("--clients", type=int, default=60, metavar="N", help="how many clients there are (60)")
    parser.add_argument("--rate", type=float, default=260, metavar="N", help="events per second (260)")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N", help="repeats a run, about")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="how long faults last: 0.1 is a tenth")


def show(name: str, verdict: Verdict, more: str = "") -> bool:
    """Print a verdict; say whether all is well."""
    sys.stdout.write(f"{name}: {verdict}{more}\n")
    for fault in verdict.faults[:SHOWN]:
        sys.stdout.write(f"    {fault}\n")
    if len(verdict.faults) > SHOWN:
        sys.stdout.write(f"    and {len(verdict.faults) - SHOWN} more\n")
    sys.stdout.flush()
    return not verdict.faults


def one_by_one(faults: Sequence[Fault], plan: Plan) -> Verdict:
    """Let faults happen one after the other."""

    def act(stage: Stage) -> None:
        for fault in faults:
            stage.sleep(PAUSE)
            fault.inject(stage)
        stage.sleep(PAUSE)

    return plan.play(act)


def mixed(seconds: float, plan: Plan) -> Verdict:
    """Let faults of Redis and all others happen at random, at the same time, to clients that come and go."""
    kinds = [[fault for fault in plan.faults if fault.is_of_redis is is_of_redis] for is_of_redis in (True, False)]

    def act(stage: Stage) -> None:
        mix(stage, seconds, plan.seed, [partial(_let_one_happen, stage, faults) for faults in kinds])

    return plan.play(act)


def _let_one_happen(stage: Stage, faults: Sequence[Fault], random: Random) -> None:
    random.choices(faults, [fault.weight for fault in faults])[0].inject(stage)
