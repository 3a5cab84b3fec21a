"""The simulation of heart-beats."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.client.client import Client
from bench.beats import MEASURED, SPREAD, simulate


class SimulationTests(SynchronousTestCase):
    """What is measured is what clients do."""

    def test_beats(self) -> None:
        """One each in 20 to 30 seconds."""
        _, beats = simulate(20, Client.heard)
        self.assertEqual(list(beats), list(range(SPREAD, SPREAD + MEASURED)))
        self.assertGreater(sum(beats.values()), 20 * MEASURED / 30)
        self.assertLess(sum(beats.values()), 20 * MEASURED / 20)

    def test_lost_clients_are_noticed(self) -> None:
        self.assertRaises(SystemExit, simulate, 2, lambda client: None)
