"""Two nodes go from a release to the next and back, with fewer clients than in ``python -m tests.chaos.upgrade``."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd import __version__
from tests.chaos.upgrade import UpgradeStage, upgrade
from tests.releases import LATER, make_releases


@pytest.mark.integration
@pytest.mark.long
class UpgradeTests(SynchronousTestCase):
    """Wheels of two versions, real HAProxy and Redis, and the commands of docs/installing.rst."""

    def test_to_the_next_and_back(self) -> None:
        """Nobody is refused, and every client gets every event once and in order."""
        directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        releases = make_releases(directory)
        stage = UpgradeStage(releases.present, releases.variables, clients=24, rate=100, seed=4, slack=10)
        verdict, versions = upgrade(stage, releases.later, releases.present)
        self.assertEqual(verdict.faults, [], str(verdict))
        self.assertEqual(versions, [[LATER, LATER], [__version__, __version__]])
        self.assertGreater(verdict.endings["server restarting"], 0)
        self.assertGreater(verdict.recovered, 0)
