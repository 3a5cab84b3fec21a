"""Tests for bench.scenarios: the data fit together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.intake import intake
from bench.scenarios import FULL, INTAKE, QUICK, scenarios
from bench.servers import known_servers


class ScenarioTests(SynchronousTestCase):
    """Each scenario names figures and servers that exist."""

    def test_names_are_unique_and_the_same_in_both_sizes(self) -> None:
        names = [scenario.name for scenario in scenarios(FULL)]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(names, [scenario.name for scenario in scenarios(QUICK)])

    def test_bounds_are_on_figures_and_servers_of_their_scenario(self) -> None:
        for scenario in scenarios(FULL):
            for bound in scenario.bounds:
                self.assertIn(bound.key, [figure.key for figure in scenario.figures])
                self.assertIn(bound.against, scenario.servers)

    def test_targets_are_on_figures_and_servers_of_their_scenario(self) -> None:
        for scenario in scenarios(FULL):
            for target in scenario.targets:
                self.assertIn(target.key, [figure.key for figure in scenario.figures])
                self.assertIn(target.server, scenario.servers)

    def test_airyd_and_the_baseline_need_no_load_directory(self) -> None:
        self.assertEqual([server.name for server in known_servers(Path("nowhere"))], ["airyd", "autobahn"])

    def test_the_reference_joins_where_it_was_built(self) -> None:
        program = Path(self.mktemp()) / "selftest" / "fanout"
        program.parent.mkdir(parents=True)
        program.touch(0o755)
        names = {server.name for server in known_servers(program.parent.parent)}
        for scenario in scenarios(FULL):
            if scenario.name != INTAKE:
                self.assertLessEqual(set(scenario.servers), names)

    def test_the_intake_has_servers_of_its_own(self) -> None:
        (scenario,) = (scenario for scenario in scenarios(FULL) if scenario.name == INTAKE)
        _, servers = intake(FULL, 0, 1)
        self.assertEqual([server.name for server in servers], list(scenario.servers))
