"""Tests for bench.nodes: a small run of a shape, and one that can't be whole."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench import nodes
from bench.nodes import Shape, measure
from bench.servers import ServerFailed


@pytest.mark.integration
class NodesTests(SynchronousTestCase):
    """Each Redis and the nodes are looked at, and every event has to arrive."""

    def test_two_redis(self) -> None:
        costs = measure(Shape(redis=2, nodes=1, subscribers=2), events=60, rate=1000)
        self.assertEqual(len(costs.redis), 2)

    def test_nobody_reads(self) -> None:
        costs = measure(Shape(redis=1, nodes=0, subscribers=0), events=60, rate=3000)
        self.assertEqual((len(costs.redis), costs.node), (1, 0))

    def test_an_event_that_is_missing(self) -> None:
        self.patch(nodes, "PATIENCE", 0.5)
        self.patch(nodes, "_publish", lambda connections, events, rate: None)
        error = self.assertRaises(ServerFailed, measure, Shape(1, 1, 1), 10, 1000)
        self.assertEqual(str(error), "0 deliveries, and there should be 10")
