"""Tests for bench.beats and bench.pauses: small ones."""

from __future__ import annotations

import gc
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from bench.beats import milliseconds_per_second
from bench.servers import ROOT

_PROGRAM = """
import gc
from bench.pauses import Watch
gc.callbacks.append(Watch())
garbage = []
garbage.append(garbage)
gc.collect()
"""


class BeatTests(SynchronousTestCase):
    """Clients without sockets."""

    def test_each_connection_beats(self) -> None:
        self.addCleanup(gc.unfreeze)
        cost, beats = milliseconds_per_second(30, 30)
        self.assertTrue(1 <= beats <= 2, beats)
        self.assertGreater(cost, 0)


class PauseTests(SynchronousTestCase):
    """What is said of collections."""

    def test_each_that_is_longer_than_all_before(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
        lengths = [float(line.split()[2]) for line in done.stderr.splitlines()]
        self.assertNotEqual([], lengths)
        self.assertEqual(sorted(lengths), lengths)
