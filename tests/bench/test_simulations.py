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
gc.disable()
everything = [[] for _ in range(200_000)]
gc.callbacks.append(Watch())
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

    def test_a_long_one(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
        first, *_ = done.stderr.splitlines()
        self.assertRegex(first, r"\Aa collection took [0-9.]+ ms\Z")
        self.assertGreater(float(first.split()[3]), 0.1)
