"""Two Redis behind two nodes, shorter than in ``make chaos``."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.pair import OF_NODES, OF_REDIS, PairStage, judge, one_by_one, rolling
from tests.chaos.plants import ONE_IN
from tests.chaos.verdict import A_LOSS

CLIENTS = 24


@pytest.mark.integration
class PairTests(SynchronousTestCase):
    """A small ``python -m tests.chaos.pair``."""

    def stage(self, rate: float = 200, plant: str = "") -> PairStage:
        """Start everything."""
        return PairStage(clients=CLIENTS, rate=rate, seed=4, scale=0.15, slack=10, plant=plant)

    def test_each_fault_once(self) -> None:
        """Every client gets every event of both or learns that some are lost; listeners stay connected."""
        stage = self.stage()
        verdict = one_by_one(stage, [*OF_REDIS, *OF_NODES])
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.recovered, 0)
        self.assertGreater(sum(len(listener.told) for listener in stage.listeners), 0)

    def test_rolling_restart(self) -> None:
        """No client misses an event while the nodes are restarted in turn."""
        verdict = rolling(self.stage(), 2)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.recovered, 0)

    def test_it_can_fail(self) -> None:
        """Nodes that occasionally lose an event are found."""
        stage = self.stage(rate=1500, plant="drop")
        stage.play(lambda: stage.wait_for_events(4 * ONE_IN))
        self.assertRegex("\n".join(judge(stage).faults), A_LOSS)
