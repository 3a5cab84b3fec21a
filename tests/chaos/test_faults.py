"""Every fault once, shorter than in ``make chaos``, with two daemons, a Redis and a crowd of clients."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.faults import BY_NAME, FAULTS, Fault
from tests.chaos.plants import ONE_IN
from tests.chaos.run import Plan, one_by_one
from tests.chaos.stage import Stage
from tests.chaos.verdict import A_LOSS
from tests.patience import PATIENCE

#: Events of which all clients together must get some: several for each destination.
SOME = 100
PLAN = Plan(clients=24, rate=200, seed=4, scale=0.15, plant="", slack=10)


@pytest.mark.integration
class FaultsTests(SynchronousTestCase):
    """A small ``make chaos``."""

    def test_each_once(self) -> None:
        """Every client gets every event or learns that some are lost, and is closed for no other reason."""
        verdict = one_by_one(FAULTS, PLAN)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.events, 0)
        self.assertGreater(verdict.recovered, 0)
        self.assertGreater(verdict.told, 0)

    def test_it_can_fail(self) -> None:
        """A daemon that occasionally loses an event is found."""
        verdict = PLAN._replace(plant="drop", rate=1500).play(lambda stage: stage.wait_for_events(4 * ONE_IN))
        self.assertRegex("\n".join(verdict.faults), A_LOSS)

    def test_events_left_out_at_a_gap(self) -> None:
        """A daemon that continues at the end of a stream, and skips events that Redis has, is found."""

        def empty(stage: Stage) -> None:
            BY_NAME["FLUSHALL"].inject(stage)
            stage.wait_for_events(stage.publisher.noted + SOME)

        verdict = PLAN._replace(plant="newest").play(empty)
        self.assertRegex("\n".join(verdict.faults), A_LOSS)


@pytest.mark.integration
class PrivateTests(SynchronousTestCase):
    """The same with a row filter for each client."""

    plan = PLAN._replace(feed="private")

    def test_each_once(self) -> None:
        verdict = one_by_one(FAULTS, self.plan)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.checked, 0)
        self.assertGreater(verdict.recovered, 0)
        self.assertGreater(verdict.told, 0)

    def test_it_can_fail(self) -> None:
        """A daemon that shows a client an event of others is found."""
        verdict = self.plan._replace(plant="leak", rate=1500).play(lambda stage: stage.wait_for_events(4 * ONE_IN))
        self.assertRegex("\n".join(verdict.faults), "is in no ledger")


@pytest.mark.integration
class PubSubTests(SynchronousTestCase):
    """The same with Pub/Sub and its promises."""

    plan = PLAN._replace(feed="pubsub")

    def test_each_once(self) -> None:
        """Within a run no event is missing; only a broken connection to Redis ends a run."""
        verdict = one_by_one([*self.plan.faults, BY_NAME["hop"], BY_NAME["hop"]], self.plan)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.events, 0)
        self.assertGreater(verdict.recovered, 0)
        self.assertGreater(verdict.unprovable, 0)

    def test_it_can_fail(self) -> None:
        """A daemon that does not report a broken connection is found."""

        def cut(stage: Stage) -> None:
            link = stage.nodes[0].link
            link.down()
            stage.wait_for_events(stage.publisher.noted + SOME)
            link.up()
            clients = stage.crowd.clients  # later events show what is missing
            stage.crowd.wait_until(lambda: any(client.holes for client in clients), PATIENCE)

        verdict = self.plan._replace(plant="mute").play(cut)
        self.assertRegex("\n".join(verdict.faults), A_LOSS)


@pytest.mark.integration
class FailoverTests(SynchronousTestCase):
    """The same with Sentinel: masters are killed, and the loss of their events is reported."""

    plan = PLAN._replace(feed="sentinel", scale=0.3)

    def faults(self, *names: str) -> list[Fault]:
        """Return the faults with these names."""
        return [fault for fault in self.plan.faults if fault.name in names]

    def test_a_master_is_killed(self) -> None:
        """A publisher that waits for a replica loses nothing, and no client is closed."""
        verdict = one_by_one(self.faults("kill -9 master"), self.plan)
        self.assertEqual((verdict.faults, dict(verdict.endings)), ([], {}), str(verdict))
        self.assertGreater(verdict.events, 0)

    def test_events_are_lost_with_a_master(self) -> None:
        """Clients that got the lost events hear of it; a daemon that reports nothing is found."""
        verdict = one_by_one(self.faults("lose with the master"), self.plan)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertGreater(verdict.missed, 0)
        self.assertGreater(verdict.told, 0)
        verdict = one_by_one(self.faults("lose with the master"), self.plan._replace(plant="blind"))
        # It continues and reports no loss, or waits for ever for ids that the new master doesn't have.
        self.assertRegex("\n".join(verdict.faults), f"which was lost, and not told|{A_LOSS}")
