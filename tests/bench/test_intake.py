"""Tests for bench.intake: what its subscribers count, and a small run of each server."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.intake import IntakeFailed, core_time, cpu_seconds, drain, intake
from bench.scenarios import INTAKE, Size, scenarios

SIZE = Size(intake=2500, intake_to_many=100)


class DrainTests(SynchronousTestCase):
    """A subscriber has all events when as many frames have ended."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return a server's and a subscriber's end of a connection."""
        ends = socket.socketpair()
        for end in ends:
            self.addCleanup(end.close)
        return ends

    def test_frames_are_counted_by_their_ends(self) -> None:
        server, subscriber = self.pair()
        server.sendall(b"first\0second\0")
        drain([subscriber], 2)

    def test_more_than_there_were(self) -> None:
        server, subscriber = self.pair()
        server.sendall(b"first\0second\0third\0")
        error = self.assertRaises(IntakeFailed, drain, [subscriber], 2)
        self.assertEqual(str(error), "events twice")

    def test_a_lost_connection(self) -> None:
        server, subscriber = self.pair()
        server.sendall(b"first\0")
        server.close()
        error = self.assertRaises(IntakeFailed, drain, [subscriber], 2)
        self.assertEqual(str(error), "a connection was closed by the server")


class ClockTests(SynchronousTestCase):
    """What the system says of a process and a core."""

    def test_cpu_of_a_process_grows(self) -> None:
        before = cpu_seconds(os.getpid())
        while cpu_seconds(os.getpid()) == before:
            pass
        self.assertLess(cpu_seconds(os.getpid()) - before, 1.0)

    def test_a_core_is_busy_for_a_part_of_its_time(self) -> None:
        busy, whole = core_time(min(os.sched_getaffinity(0)))
        self.assertTrue(0 < busy < whole, (busy, whole))


class RunTests(SynchronousTestCase):
    """Each server takes in a small stream, on one core."""

    def test_each_server(self) -> None:
        core = min(os.sched_getaffinity(0))
        measurer, servers = intake(SIZE, core, core)
        (scenario,) = (scenario for scenario in scenarios(SIZE) if scenario.name == INTAKE)
        for server in servers:
            measured = measurer.measure(scenario, server)
            self.assertEqual(measured.faults, (), server.name)
            for figure in scenario.figures:
                self.assertIn(figure.key, measured.values)
