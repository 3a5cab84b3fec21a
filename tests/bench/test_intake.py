"""Tests for bench.intake: a small run of each server."""

from __future__ import annotations

import os

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench.connecting import intake
from bench.intake import Intake
from bench.scenarios import Size
from bench.servers import server_for

SIZE = Size(intake=2500, intake_to_many=100)


@pytest.mark.integration
class RunTests(SynchronousTestCase):
    """Each server takes in a small stream, on one core."""

    def test_each_server(self) -> None:
        core = min(os.sched_getaffinity(0))
        scenario = intake(SIZE)
        for contender in scenario.contenders:
            server = server_for(contender, None)
            assert server is not None
            measured = Intake(core, core).measure(scenario, contender, server)
            self.assertEqual(measured.faults, (), contender.name)
            for figure in scenario.figures:
                self.assertIsNotNone(measured.value(figure))
