"""Tests of airyd.stomp.state."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.stomp.spec import FROM_CLIENT
from airyd.stomp.state import DEAF, HOLDING, TABLE, Outcome, State, render


class TableTests(SynchronousTestCase):
    """The table covers each frame in each state, and has no impossible step."""

    def test_it_is_complete(self) -> None:
        self.assertEqual(set(TABLE), {*FROM_CLIENT, "CONNECTED", "ERROR"})
        for command, steps in TABLE.items():
            self.assertEqual(len(steps), len(State), command)

    def test_every_state_is_reached_from_the_first(self) -> None:
        reached = {State.AWAITING_CONNECT}
        for _ in State:
            reached |= {step for steps in TABLE.values() for s in reached if isinstance(step := steps[s], State)}
        self.assertEqual(reached, set(State))

    def test_nothing_leads_back(self) -> None:
        for steps in TABLE.values():
            for state in State:
                step = steps[state]
                if isinstance(step, State):
                    self.assertGreaterEqual(step, state)

    def test_error_is_possible_everywhere(self) -> None:
        self.assertEqual(set(TABLE["ERROR"]), {State.FAILED})

    def test_states_without_reading(self) -> None:
        self.assertEqual(HOLDING, {State.AUTHENTICATING})
        self.assertEqual(DEAF, {State.DISCONNECTING, State.FAILED})

    def test_only_a_login_comes_first(self) -> None:
        taken = {c for c in FROM_CLIENT if TABLE[c][State.AWAITING_CONNECT] is not Outcome.REFUSED}
        self.assertEqual(taken, {"CONNECT", "STOMP"})


class RenderTests(SynchronousTestCase):
    """The table and the diagram in the documentation."""

    def test_the_table(self) -> None:
        text = render()
        self.assertIn(
            "   * - CONNECT\n     - **AUTHENTICATING**\n     - held\n     - refused\n     - ignored\n     - ignored\n",
            text,
        )
        self.assertIn("   * - CONNECTED (sent)\n", text)

    def test_the_diagram(self) -> None:
        self.assertIn("    AUTHENTICATING\n      |-- CONNECTED (sent) --> CONNECTED\n", render())
        self.assertIn("      |-- DISCONNECT --> DISCONNECTING\n", render())

    @pytest.mark.integration
    def test_it_is_what_the_module_prints(self) -> None:
        printed = subprocess.run(
            [sys.executable, "-m", "airyd.stomp.state"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual(printed.stdout, render())
