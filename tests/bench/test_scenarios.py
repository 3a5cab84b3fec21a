"""Tests for bench.catalogue and bench.servers: the data fit together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.catalogue import scenarios
from bench.run import DRIVERS
from bench.scenarios import AIRYD, AUTOBAHN, C_COALESCE, C_EACH, FULL, QUICK, Contender
from bench.servers import server_for


class ScenarioTests(SynchronousTestCase):
    """Each scenario names figures and contenders that exist."""

    def test_names_are_unique(self) -> None:
        for size in (FULL, QUICK):
            names = [scenario.name for scenario in scenarios(size)]
            self.assertEqual(len(names), len(set(names)))

    def test_each_has_a_driver(self) -> None:
        self.assertEqual(set(DRIVERS), {scenario.driver for scenario in scenarios(FULL)})

    def test_bounds_are_on_figures_and_contenders_that_there_are(self) -> None:
        known = {scenario.name: scenario for scenario in scenarios(FULL)}
        for scenario in known.values():
            for bound in scenario.bounds:
                self.assertIn(bound.key, [figure.key for figure in scenario.figures])
                self.assertIn(bound.of, [contender.name for contender in scenario.contenders])
                if bound.against is not None:
                    other = known[bound.beside or scenario.name]
                    self.assertIn(bound.against, [contender.name for contender in other.contenders])
                    self.assertIn(bound.key, [figure.key for figure in other.figures])


class ServerTests(SynchronousTestCase):
    """Which servers are there."""

    def test_airyd_and_the_baseline_need_no_load_directory(self) -> None:
        for name in (AIRYD, AUTOBAHN):
            self.assertIsNotNone(server_for(Contender("some", name), None))

    def test_airyd_gets_the_options_of_the_contender(self) -> None:
        server = server_for(Contender("some", AIRYD, ("--workers", "2")), None)
        assert server is not None
        self.assertEqual((server.name, server.command[-2:]), ("some", ("--workers", "2")))

    def test_the_reference_joins_where_it_was_built(self) -> None:
        program = Path(self.mktemp()) / "selftest" / "fanout"
        program.parent.mkdir(parents=True)
        for name, mode in ((C_EACH, "each"), (C_COALESCE, "coalesce")):
            self.assertIsNone(server_for(Contender(name, name), None))
            self.assertIsNone(server_for(Contender(name, name), program.parent.parent))
            program.touch(0o755)
            server = server_for(Contender(name, name), program.parent.parent)
            assert server is not None
            self.assertEqual(server.command, (str(program), "-p", "{port}", "-m", mode))
            program.unlink()
