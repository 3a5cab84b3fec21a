"""Tests for bench.machine: what the system says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.machine import core_time, cpu_seconds, description, machine_time


class ClockTests(SynchronousTestCase):
    """What the system says of a process and a core."""

    def test_cpu_of_a_process_grows(self) -> None:
        before = cpu_seconds(os.getpid())
        while cpu_seconds(os.getpid()) == before:
            pass
        self.assertGreater(cpu_seconds(os.getpid()), before)

    def test_a_core_is_busy_for_a_part_of_its_time(self) -> None:
        busy, whole = core_time(min(os.sched_getaffinity(0)))
        self.assertTrue(0 < busy < whole, (busy, whole))

    def test_nothing_is_stolen_but_of_the_whole(self) -> None:
        stolen, whole = machine_time()
        self.assertTrue(0 <= stolen < whole, (stolen, whole))

    def test_the_description_names_no_host_and_no_path(self) -> None:
        said = " ".join(description().values())
        self.assertNotIn(socket.gethostname(), said.split())
        self.assertNotIn(str(Path.cwd()), said)
        self.assertNotEqual(description()["processor"], "")
