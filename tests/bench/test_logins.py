"""Tests for bench.logins, bench.filtered and bench.attack: small runs against airyd, on one core."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench.clients import PATIENCE, connected, frame, opening, until
from bench.filtered import Filtered
from bench.logins import LOGIN, airy_token, bad_token, logins
from bench.scenarios import AIRYD, CPU, QUICK, Contender
from bench.servers import running, server_for


@pytest.mark.integration
class LoginTests(SynchronousTestCase):
    """Clients with tokens."""

    def setUp(self) -> None:
        """Take one core for all."""
        self.core = min(os.sched_getaffinity(0))

    def test_filters(self) -> None:
        """What each contender is to see comes, and nothing else."""
        scenario = next(each for each in logins(QUICK) if each.name == "filtered")
        driver = Filtered(self.core, self.core, 0.2)
        for contender in scenario.contenders:
            server = server_for(contender, None)
            assert server is not None
            measured = driver.measure(replace(scenario, load=("20",)), contender, server)
            self.assertEqual(measured.faults, (), contender.name)
            self.assertIn(CPU, measured.values)

    def test_bad_tokens(self) -> None:
        """The good one lets in, the bad one does not."""
        server = server_for(Contender(AIRYD, AIRYD, LOGIN), None)
        assert server is not None
        with running(server, self.core) as target:
            connected(target.port, target.path, token=airy_token()).close()
            with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE) as client:
                login = frame("CONNECT", {"accept-version": "1.2", "Authorization": f"Bearer {bad_token()}"})
                client.sendall(opening(target.port, target.path) + login)
                self.assertIn(b"message:401 ", until(client, b"\0"))
