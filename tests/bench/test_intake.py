"""Tests for bench.intake: what its subscribers count, and a small run of each server."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.catalogue import INTAKE, Size, scenarios
from bench.intake import Intake, IntakeFailed, drain
from bench.servers import server_for

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


class RunTests(SynchronousTestCase):
    """Each server takes in a small stream, on one core."""

    def test_each_server(self) -> None:
        core = min(os.sched_getaffinity(0))
        (scenario,) = (scenario for scenario in scenarios(SIZE) if scenario.driver == INTAKE)
        for contender in scenario.contenders:
            server = server_for(contender, None)
            assert server is not None
            measured = Intake(core, core).measure(scenario, contender, server)
            self.assertEqual(measured.faults, (), contender.name)
            for figure in scenario.figures:
                self.assertIsNotNone(measured.value(figure))
