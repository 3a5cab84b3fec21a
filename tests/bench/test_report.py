"""Tests for bench.report: spreads, ratios and what the table says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import Measurement
from bench.report import Spread, ratio, spread, table
from bench.scenarios import Bound, Figure, Scenario, Target

CPU = Figure("cpu", "server CPU per delivery, µs")
LATENCY = Figure("latency_us", "latency, ms", scale=1e-3)
SCENARIO = Scenario("one", "a load", (), (CPU,), ("airyd", "autobahn"), bounds=(Bound("cpu", "autobahn", 0.6),))


def runs(*values: float) -> list[Measurement]:
    """Return a measurement of the CPU figure for each value."""
    return [Measurement({"cpu": value}) for value in values]


class SpreadTests(SynchronousTestCase):
    """Least, median and greatest of the rounds."""

    def test_the_median_of_three(self) -> None:
        self.assertEqual(spread(CPU, runs(9.0, 5.0, 6.0)), Spread(5.0, 6.0, 9.0))

    def test_a_figure_is_scaled_to_its_unit(self) -> None:
        self.assertEqual(spread(LATENCY, [Measurement({"latency_us": 2500.0})]), Spread(2.5, 2.5, 2.5))

    def test_a_run_with_a_fault_is_left_out(self) -> None:
        faulty = Measurement({"cpu": 1.0}, faults=("12 deliveries missing",))
        self.assertEqual(spread(CPU, [faulty, *runs(5.0, 7.0)]), Spread(5.0, 6.0, 7.0))

    def test_there_is_none_without_a_good_run(self) -> None:
        self.assertIsNone(spread(CPU, [Measurement({}, faults=("it did not start",))]))
        self.assertIsNone(spread(CPU, []))


class RatioTests(SynchronousTestCase):
    """How many times the other's median."""

    def test_medians_are_compared(self) -> None:
        self.assertEqual(ratio(Spread(1.0, 3.0, 9.0), Spread(1.0, 6.0, 7.0)), 0.5)

    def test_there_is_none_to_nothing(self) -> None:
        self.assertIsNone(ratio(None, Spread(1.0, 1.0, 1.0)))
        self.assertIsNone(ratio(Spread(1.0, 1.0, 1.0), None))
        self.assertIsNone(ratio(Spread(1.0, 1.0, 1.0), Spread(0.0, 0.0, 0.0)))


class TableTests(SynchronousTestCase):
    """What people read."""

    def test_a_line_holds_spread_and_ratios(self) -> None:
        lines = table(SCENARIO, {"airyd": runs(6.0, 5.0, 7.0), "autobahn": runs(12.0, 12.0, 12.0)}).splitlines()
        self.assertEqual(lines[0], "one: a load")
        self.assertEqual(lines[1].split(), ["min", "median", "max", "x", "autobahn"])
        self.assertTrue(lines[2].startswith("  server CPU per delivery, µs"))
        self.assertEqual(lines[2].split()[-5:], ["airyd", "5.00", "6.00", "7.00", "0.50"])
        self.assertEqual(lines[3].split(), ["autobahn", "12.00", "12.00", "12.00"])

    def test_bounds_are_judged(self) -> None:
        kept = table(SCENARIO, {"airyd": runs(6.0), "autobahn": runs(12.0)})
        self.assertIn("bound kept: server CPU per delivery, µs: 0.50x of autobahn, at most 0.60x", kept)
        missed = table(SCENARIO, {"airyd": runs(9.0), "autobahn": runs(12.0)})
        self.assertIn("bound NOT KEPT: server CPU per delivery, µs: 0.75x of autobahn, at most 0.60x", missed)

    def test_a_bound_without_figures_is_not_judged(self) -> None:
        self.assertNotIn("bound", table(SCENARIO, {"autobahn": runs(12.0)}))

    def test_remarks_name_server_and_round(self) -> None:
        found = {
            "airyd": [Measurement({}, faults=("it did not start",))],
            "autobahn": [*runs(12.0), Measurement({"cpu": 13.0}, doubts=("7.2 % of the machine went elsewhere",))],
        }
        lines = table(SCENARIO, found).splitlines()
        self.assertEqual(lines[2].split()[-4:], ["airyd", "-", "-", "-"])
        self.assertIn("  ! airyd, round 1: left out: it did not start", lines)
        self.assertIn("  ! autobahn, round 2: 7.2 % of the machine went elsewhere", lines)

    def test_a_target_is_reached_or_not(self) -> None:
        targets = (Target("cpu", "airyd", 6.0), Target("cpu", "airyd", 7.0, is_least=True), Target("cpu", "other", 1.0))
        scenario = Scenario("two", "a load", (), (CPU,), ("airyd",), targets=targets)
        lines = table(scenario, {"airyd": runs(5.0, 6.0, 9.0)}).splitlines()
        self.assertEqual(
            lines[-2:],
            [
                "  target reached: airyd: server CPU per delivery, µs: 6.00, at most 6.00",
                "  target NOT REACHED: airyd: server CPU per delivery, µs: 6.00, at least 7.00",
            ],
        )
