"""Tests for bench.profile: what is made of py-spy's samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.machine import CannotMeasure
from bench.measure import Wsload
from bench.profile import profiler, shares

RAW = """\
run (twistd.py:1);Group._send (airyd/hub/fanout.py:148);send (libc.so.6) 70
run (twistd.py:1);Group._send (airyd/hub/fanout.py:148) 20
run (twistd.py:1);Group._send (airyd/hub/fanout.py:152) 10
"""


class ShareTests(SynchronousTestCase):
    """The innermost function has the sample."""

    def test_lines_of_a_function_are_added_up(self) -> None:
        self.assertEqual(shares(RAW), {"self: send (libc.so.6)": 70.0, "self: Group._send (airyd/hub/fanout.py)": 30.0})

    def test_the_most_are_kept(self) -> None:
        raw = "".join(f"run (a.py:1);f{number} (a.py:1) {number}\n" for number in range(1, 31))
        self.assertEqual(len(shares(raw)), 12)
        self.assertEqual(next(iter(shares(raw))), "self: f30 (a.py)")


class EquipmentTests(SynchronousTestCase):
    """py-spy is a program of its own."""

    def test_without_it_that_is_said(self) -> None:
        self.patch(shutil, "which", lambda *_, **__: None)
        error = self.assertRaises(CannotMeasure, profiler, Wsload(Path("wsload"), 0, 1))
        self.assertIn("py-spy is missing", str(error))
