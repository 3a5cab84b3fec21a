"""Tests for bench.pauses."""

from __future__ import annotations

import subprocess
import sys

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench.servers import ROOT

_PROGRAM = """
import gc
from bench.pauses import Watch
gc.disable()
everything = [[] for _ in range(200_000)]
gc.callbacks.append(Watch())
gc.collect()
"""


@pytest.mark.integration
class PauseTests(SynchronousTestCase):
    """What is said of collections."""

    def test_a_long_one(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
        first, *_ = done.stderr.splitlines()
        self.assertRegex(first, r"\Aa collection took [0-9.]+ ms\Z")
