"""Histograms of durations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.histogram import SECONDS, Histogram


class HistogramTests(SynchronousTestCase):
    """Durations fall into buckets with upper bounds."""

    def test_buckets(self) -> None:
        """A bucket has all durations up to its bound, those of the earlier buckets included."""
        histogram = Histogram((0.1, 1.0))
        for seconds in (0.05, 0.1, 0.5, 7.0):
            histogram.observe(seconds)
        self.assertEqual([("0.1", 2), ("1.0", 3), ("+Inf", 4)], list(histogram.buckets()))
        self.assertEqual(4, histogram.count)
        self.assertAlmostEqual(7.65, histogram.sum)

    def test_no_time_is_negative(self) -> None:
        histogram = Histogram((0.1,))
        histogram.observe(-3.0)
        self.assertEqual(([("0.1", 1), ("+Inf", 1)], 0.0), (list(histogram.buckets()), histogram.sum))

    def test_bounds_ascend(self) -> None:
        self.assertEqual(sorted(set(SECONDS)), list(SECONDS))
        self.assertEqual([("0.001", 0)], list(Histogram().buckets())[:1])
