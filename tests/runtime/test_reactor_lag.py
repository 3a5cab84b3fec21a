"""How late the reactor is."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.histogram import Histogram
from airyd.runtime.reactor_lag import EVERY, ReactorLag


class ReactorLagTests(SynchronousTestCase):
    """A timer that is late tells how long the reactor was busy."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.histogram = Histogram((0.1, 1.0))
        self.lag = ReactorLag(self.clock, self.histogram)
        self.lag.start()
        self.addCleanup(self.lag.stop)

    def test_on_time(self) -> None:
        self.clock.pump([EVERY] * 4)
        self.assertEqual([("0.1", 4), ("1.0", 4), ("+Inf", 4)], list(self.histogram.buckets()))

    def test_late(self) -> None:
        """The time that a busy reactor has lost counts once, and the next timer is on time again."""
        self.clock.advance(EVERY + 0.5)
        self.clock.advance(EVERY)
        self.assertEqual([("0.1", 1), ("1.0", 2), ("+Inf", 2)], list(self.histogram.buckets()))
        self.assertAlmostEqual(0.5, self.histogram.sum)

    def test_stop(self) -> None:
        self.lag.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
