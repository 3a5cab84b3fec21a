"""Resume with real processes: two daemons on one Redis, and clients with blocking sockets."""

from __future__ import annotations

from collections import Counter

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.walk import Walk
from tests.integration.daemon import Daemon
from tests.sources.redis.server import RedisServer


@pytest.mark.integration
class ResumeTests(SynchronousTestCase):
    """Many random interleavings, each on its own destination.

    Each run of a client has the ledger's events from its position on; a resume that can be proved succeeds.
    """

    def test_random_interleavings(self) -> None:
        self.check(walks=60)

    @pytest.mark.long
    def test_many_random_interleavings(self) -> None:
        self.check(walks=300)

    def check(self, walks: int) -> None:
        """Take random walks, with the seeds from 0 on."""
        redis = RedisServer()
        self.addCleanup(redis.close)
        destinations = [f"/queue/walk/{number}" for number in range(walks)]
        options = (
            f"--source=redis://127.0.0.1:{redis.port}",
            "--auth=anonymous:send",
            *(f"--destination={destination}" for destination in destinations),
        )
        daemons = [Daemon(*options) for _ in range(2)]
        for daemon in daemons:
            self.addCleanup(daemon.kill)
        connection = redis.connect()
        self.addCleanup(connection.close)
        answers: Counter[str] = Counter()
        for seed, destination in enumerate(destinations):
            walk = Walk(seed, destination, daemons, connection)
            try:
                walk.run()
            except AssertionError as error:
                self.fail(f"walk {seed}: {error}\nafter: {'; '.join(walk.done)}")
            finally:
                walk.close()
            answers += walk.answers
        for answer in ("recovered:true", "recovered:false", "recovered:None"):
            self.assertGreater(answers[answer], 0, answers)
        for daemon in daemons:
            self.assertEqual(daemon.complaints(), [])
            self.assertEqual(daemon.stop(), 0)
