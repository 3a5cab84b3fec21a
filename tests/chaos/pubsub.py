"""Faults with Pub/Sub: its stage, its faults, and what must be true of the clients' events.

Within a run no event is missing or comes twice. A run ends with ``history lost`` when the node's connection to Redis
breaks, and for no other reason that lies in the feed. ``recovered:true`` continues a run.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.chaos.announcer import Announcer
from tests.chaos.client import HISTORY_LOST, Client, Ending, Refusal
from tests.chaos.faults import BY_NAME, Fault
from tests.chaos.nodes import STREAMS, Node
from tests.chaos.passing import PassingHistory
from tests.chaos.stage import DESTINATIONS, Stage
from tests.chaos.verdict import AFTER_OUTAGE, BaseJudge, Verdict

#: Events of a destination that a node keeps; a client that is further behind can't resume.
HISTORY: Final = 1000


class PassingStage(Stage):
    """The stage with channels in place of streams.

    :ivar passing: the histories
    """

    has_listeners = False

    def make_node(self, plant: str) -> Node:
        """Start a node with Pub/Sub."""
        return Node(self.redis.port, plant, source=f"{STREAMS}&mode=pubsub")

    def make_feed(self, rate: float, random: Random) -> None:
        """Make the histories and the publisher."""
        self.passing = [PassingHistory(destination) for destination in DESTINATIONS]
        self.histories = [*self.passing]
        self.publisher = Announcer(self.redis, self.passing, rate, random)


def _kill_subscriptions(stage: Stage) -> None:
    """Let Redis close the nodes' Pub/Sub connections, as it does when they read too slowly."""
    with stage.outage():
        connection = stage.redis.connect()
        connection.call("CLIENT", "KILL", "TYPE", "pubsub")
        connection.close()


def _cut_link(stage: Stage) -> None:
    """Cut a link; with Pub/Sub even the shortest cut is an outage."""
    with stage.outage():
        BY_NAME["cut link"].inject(stage)


FAULTS: Final = (
    *(BY_NAME[name] for name in ("kill -9 redis", "SIGSTOP redis")),
    Fault("CLIENT KILL", _kill_subscriptions, is_of_redis=True),
    Fault("cut link", _cut_link, is_of_redis=False),
    *(BY_NAME[name] for name in ("black hole", "kill -9 node", "SIGTERM node", "hop")),
)


class PassingJudge(BaseJudge):
    """The judge of Pub/Sub."""

    def __init__(self, stage: PassingStage) -> None:
        super().__init__(stage)
        self._passing = stage.passing

    def _add_client(self, found: Verdict, client: Client, faults: list[str]) -> None:
        faults += [f"missing, and never told: {hole}" for hole in client.holes]

    def _add_gap(self, found: Verdict, client: Client, ending: Ending, faults: list[str]) -> bool:
        is_right = ending.error == HISTORY_LOST and self._in_outage(ending.when)
        found.unprovable += is_right
        return is_right

    def _is_right(self, refusal: Refusal) -> bool:
        node, when = refusal.seen
        if node != refusal.node:
            return True
        about = self._stage.slack  # a second when times are measured
        if any(when - about < life.end < refusal.when + about for life in self._stage.nodes[node].lives):
            return True
        history = next(each for each in self._passing if each.destination == refusal.destination)
        if sum(when - about < begun < refusal.when for begun in history.begun) > HISTORY * 0.9:
            return True
        return any(
            begin < refusal.when and when < end + AFTER_OUTAGE * self._stage.slack for begin, end in self._stage.outages
        )
