"""Two Redis, each with destinations of its own, and two nodes that read both: ``python -m tests.chaos.pair``.

A fault of one Redis must not affect the destinations of the other. Nodes that are restarted in turn, under load, lose
nothing. Half of the clients subscribe to ``/airyd/status``, so that a gap does not end their connections.

Exit status: 0, 1 (something was wrong), 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, cast

from tests.chaos.client import RESTARTING
from tests.chaos.faults import BY_NAME
from tests.chaos.ledger import History
from tests.chaos.mixing import mix
from tests.chaos.nodes import Node
from tests.chaos.publisher import PREFIX, Publisher
from tests.chaos.run import add_options, show
from tests.chaos.stage import Stage
from tests.chaos.verdict import Judge, Verdict
from tests.integration.payloads import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, MESSAGE, UNREAD_COUNT
from tests.integration.proxy import Proxy
from tests.sources.redis.server import RedisServer

#: The destinations of each Redis, and the same as patterns for the URL of its source.
SHARES: Final = (
    ((MESSAGE, CHANNEL_CONNECTED), f"{MESSAGE},{CHANNEL_CONNECTED}"),
    ((UNREAD_COUNT, CHANNEL_DISCONNECTED), f"/queue/unread-count,{CHANNEL_DISCONNECTED}"),
)
#: Seconds between two faults, and between two nodes that are restarted in turn.
PAUSE: Final = 3.0

OF_REDIS: Final = ("kill -9 redis", "SIGSTOP redis", "FLUSHALL", "XTRIM", "DEL", "SET over the key")
OF_NODES: Final = ("cut link", "black hole", "kill -9 node", "SIGTERM node", "hop")


class PairNode(Node):
    """An airyd with two sources, each with its own link.

    :ivar link: the link that the next fault of a link cuts
    """

    def __init__(self, ports: Sequence[int], plant: str) -> None:
        self.links = [Proxy(port) for port in ports]
        super().__init__(ports[0], plant)
        self.link.close()
        self.link = self.links[0]

    def sources(self) -> list[str]:
        """Return the URLs of both sources."""
        return [
            f"redis://127.0.0.1:{link.port}/0?prefix={PREFIX}&destinations={patterns}"
            for link, (_, patterns) in zip(self.links, SHARES, strict=True)
        ]

    def close(self) -> None:
        """Stop the process and the links; ``complaints`` are kept."""
        self.terminate()
        for link in self.links:
            link.close()


class Side:
    """One Redis with its publisher and histories; it takes the stage's place for a fault of Redis."""

    def __init__(self, stage: PairStage, redis: RedisServer, names: Sequence[str], rate: float, random: Random) -> None:
        self.histories = [History(name) for name in names]
        self.redis = redis
        self.publisher = Publisher(self.redis, self.histories, rate, random)
        self.random = stage.random
        self.sleep = stage.sleep
        self.outage = stage.outage


class Publishers:
    """The publishers of both sides."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = sides

    def start(self) -> None:
        """Start both."""
        for side in self._sides:
            side.publisher.start()

    @property
    def noted(self) -> int:
        """How many events both ledgers have."""
        return sum(side.publisher.noted for side in self._sides)

    def stop(self) -> None:
        """Stop both."""
        for side in self._sides:
            side.publisher.stop()


class PairStage(Stage):
    """The stage with two Redis.

    :ivar sides: both Redis; a fault of Redis happens to one of them
    """

    def make_feed(self, rate: float, random: Random) -> None:
        """Start the second Redis; make the histories and a publisher for each."""
        servers = [self.redis, self.make_redis()]
        self.sides = [
            Side(self, redis, names, rate / len(SHARES), Random(random.random()))
            for redis, (names, _) in zip(servers, SHARES, strict=True)
        ]
        self.histories = [history for side in self.sides for history in side.histories]
        self.publisher = cast(Publisher, Publishers(self.sides))

    def make_node(self, plant: str) -> Node:
        """Start a node that reads both."""
        return PairNode([side.redis.port for side in self.sides], plant)

    def suffer(self, name: str) -> None:
        """Inject a fault into one of the Redis, or into the nodes with a random link for each."""
        if name in OF_REDIS:
            BY_NAME[name].inject(cast(Stage, self.random.choice(self.sides)))
            return
        for node in self.nodes:
            node.link = self.random.choice(cast(PairNode, node).links)
        BY_NAME[name].inject(self)

    def close(self) -> None:
        """End all processes."""
        super().close()
        for side in self.sides[1:]:
            side.redis.close()


def roll(stage: Stage) -> None:
    """Restart all nodes, one after the other, each when the previous one is ready again."""
    for node in stage.nodes:
        stage.sleep(PAUSE)
        node.terminate()
        node.start()


def judge(stage: PairStage, is_rolling: bool = False) -> Verdict:
    """Return the verdict; in a rolling restart only restarts end connections, and all resumes succeed."""
    verdict = Judge(stage).verdict()
    if is_rolling:
        verdict.faults += [f"an end by {reason}" for reason in verdict.endings if reason != RESTARTING]
        verdict.faults += [f"{verdict.refused} resumes were refused"] * bool(verdict.refused)
    return verdict


def one_by_one(stage: PairStage, names: Sequence[str]) -> Verdict:
    """Inject faults one after the other."""

    def act() -> None:
        for name in names:
            stage.sleep(PAUSE)
            stage.suffer(name)
        stage.sleep(PAUSE)

    stage.play(act)
    return judge(stage)


def rolling(stage: PairStage, times: int) -> Verdict:
    """Restart all nodes in turn, several times over."""

    def act() -> None:
        for _ in range(times):
            roll(stage)
        stage.sleep(PAUSE)

    stage.play(act)
    return judge(stage, is_rolling=True)


def mixed(stage: PairStage, seconds: float, seed: int) -> Verdict:
    """Inject random faults of one Redis and random other faults at the same time, while clients come and go."""
    kinds = [lambda random, names=names: stage.suffer(random.choice(names)) for names in (OF_REDIS, OF_NODES)]
    stage.play(lambda: mix(stage, seconds, seed, kinds))
    return judge(stage)


def main(arguments: Sequence[str]) -> int:
    """Run what ``arguments`` ask for, and print the verdicts; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.pair", description=__doc__)
    parser.add_argument("--times", type=int, default=3, metavar="N", help="rolling restarts (3)")
    parser.add_argument("--mixed", type=float, default=120, metavar="SECONDS", help="length of the mixed run (120)")
    add_options(parser)
    wanted = parser.parse_args(arguments)

    def run(name: str, play: Callable[[PairStage], Verdict]) -> bool:
        stage = PairStage(clients=wanted.clients, rate=wanted.rate, seed=wanted.seed, scale=wanted.scale)
        verdict = play(stage)
        gaps = sum(len(listener.told) for listener in stage.listeners)
        states = sum(listener.states for listener in stage.listeners)
        return show(name, verdict, f"; {len(stage.listeners)} listeners were told of {gaps} gaps, {states} states")

    is_well = run("rolling restart", lambda stage: rolling(stage, wanted.times))
    is_well &= run("one by one", lambda stage: one_by_one(stage, [*OF_REDIS, *OF_NODES]))
    is_well &= run(f"mixed, {wanted.mixed:g} s", lambda stage: mixed(stage, wanted.mixed, wanted.seed))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
