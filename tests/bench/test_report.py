"""Tests for bench.report: spreads, ratios and what the table says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import Measurement
from bench.report import Spread, ratio, remarks, spread, table, verdicts
from bench.scenarios import Bound, Figure, Scenario, contenders

CPU = Figure("cpu", "server CPU per delivery, µs")
LATENCY = Figure("latency_us", "latency, ms", scale=1e-3)
RATE = Figure("rate", "deliveries/s", digits=0, needs_core=True)
BOTH = contenders("airyd", "autobahn")
SCENARIO = Scenario("one", "a load", "wsload", (CPU,), BOTH, bounds=(Bound("cpu", 0.6, "autobahn"),))


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

    def test_a_rate_counts_where_the_core_was_busy(self) -> None:
        found = [Measurement({"rate": 7.0, "server_cpu_pct": 50.0}), Measurement({"rate": 9.0, "server_cpu_pct": 99.0})]
        self.assertEqual(spread(RATE, found), Spread(9.0, 9.0, 9.0))
        self.assertIsNone(spread(RATE, found[:1]))

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

    def test_remarks_name_server_and_round(self) -> None:
        found = {
            "airyd": [Measurement({}, faults=("it did not start",))],
            "autobahn": [*runs(12.0), Measurement({"cpu": 13.0}, doubts=("7.2 % of the machine went elsewhere",))],
        }
        lines = table(SCENARIO, found).splitlines()
        self.assertEqual(lines[2].split()[-4:], ["airyd", "-", "-", "-"])
        self.assertIn("  ! airyd, round 1: left out: it did not start", lines)
        self.assertIn("  ! autobahn, round 2: 7.2 % of the machine went elsewhere", lines)

    def test_what_differs_in_numbers_is_said_once(self) -> None:
        doubts = ["its core was 34 % busy", "its core was 36 % busy", "others had it"]
        found = {"airyd": [Measurement({}, doubts=(doubt,)) for doubt in doubts]}
        self.assertEqual(
            list(remarks(found)), ["airyd, round 1, 2: its core was 34 % busy", "airyd, round 3: others had it"]
        )


class VerdictTests(SynchronousTestCase):
    """Which bounds are kept."""

    def judged(self, *bounds: Bound, own: float = 6.0) -> list[str]:
        """Return the verdicts on bounds where airyd's CPU is this and Autobahn's 12, and another scenario's 4."""
        scenario = Scenario("one", "a load", "wsload", (CPU,), BOTH, bounds=bounds)
        results = {"one": {"airyd": runs(own), "autobahn": runs(12.0)}, "two": {"airyd": runs(4.0)}}
        return [str(verdict) for verdict in verdicts(scenario, results)]

    def test_against_another(self) -> None:
        self.assertEqual(
            self.judged(Bound("cpu", 0.6, "autobahn"), Bound("cpu", 0.4, "autobahn")),
            [
                "bound kept: one: airyd: server CPU per delivery, µs: 0.50x of autobahn, at most 0.6x",
                "bound NOT KEPT: one: airyd: server CPU per delivery, µs: 0.50x of autobahn, at most 0.4x",
            ],
        )

    def test_against_another_scenario(self) -> None:
        self.assertEqual(
            self.judged(Bound("cpu", 1.3, "airyd", beside="two")),
            ["bound NOT KEPT: one: airyd: server CPU per delivery, µs: 1.50x of airyd in two, at most 1.3x"],
        )

    def test_a_near_miss_shows_why(self) -> None:
        """Rounded as usual, what is missed by little would look kept."""
        self.assertEqual(
            self.judged(Bound("cpu", 0.5, "autobahn"), Bound("cpu", 0.6, "autobahn"), Bound("cpu", 6.0), own=6.0049),
            [
                "bound NOT KEPT: one: airyd: server CPU per delivery, µs: 0.5004x of autobahn, at most 0.5x",
                "bound kept: one: airyd: server CPU per delivery, µs: 0.50x of autobahn, at most 0.6x",
                "bound NOT KEPT: one: airyd: server CPU per delivery, µs: 6.005, at most 6.00",
            ],
        )

    def test_by_itself(self) -> None:
        self.assertEqual(
            self.judged(Bound("cpu", 6.0), Bound("cpu", 6.5, is_least=True)),
            [
                "bound kept: one: airyd: server CPU per delivery, µs: 6.00, at most 6.00",
                "bound NOT KEPT: one: airyd: server CPU per delivery, µs: 6.00, at least 6.50",
            ],
        )

    def test_of_another_contender(self) -> None:
        self.assertEqual(
            self.judged(Bound("cpu", 3, "airyd", of="autobahn", is_least=True)),
            ["bound NOT KEPT: one: autobahn: server CPU per delivery, µs: 2.00x of airyd, at least 3x"],
        )

    def test_without_figures_nothing_is_said(self) -> None:
        self.assertEqual([], self.judged(Bound("cpu", 1.0, "C each")))
        self.assertEqual([], list(verdicts(SCENARIO, {})))
