"""Tests for the drivers in Python: small runs against airyd, on one core."""

from __future__ import annotations

import os

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench.crowd import Crowd
from bench.fanouts import python_clients
from bench.scenarios import AIRYD, AUTOBAHN, CPU, WIRE, Contender, Scenario
from bench.servers import server_for


@pytest.mark.integration
class CrowdTests(SynchronousTestCase):
    """Clients that count bytes."""

    def setUp(self) -> None:
        """Take one core for all."""
        core = min(os.sched_getaffinity(0))
        self.crowd = Crowd(core, core, 0.3)

    def test_both_servers(self) -> None:
        scenario = Scenario("some", "", "crowd", python_clients().figures, (), ("20", "4"))
        for name in (AIRYD, AUTOBAHN):
            contender = Contender(name, name, load=("0",))
            server = server_for(contender, None)
            assert server is not None
            measured = self.crowd.measure(scenario, contender, server)
            self.assertEqual(measured.faults, ())
            self.assertIn(CPU, measured.values)
            self.assertGreater(measured.values[WIRE], 300)

    def test_who_does_not_compress_is_found_out(self) -> None:
        scenario = Scenario("some", "", "crowd", (), (), ("2", "1"))
        contender = Contender(AUTOBAHN, AUTOBAHN, load=("100",))
        server = server_for(contender, None)
        assert server is not None
        measured = self.crowd.measure(scenario, contender, server)
        self.assertEqual(measured.faults, ("permessage-deflate was offered, and not agreed",))
