"""Tests for bench.headline: ratios, and which of them are worse."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import headline
from bench.headline import HEADLINES, Headline, main, ratios, worsened
from bench.measure import Measurement
from bench.scenarios import Figure, Scenario, contenders

CPU = Figure("cpu", "CPU, µs")
RATE = Figure("rate", "deliveries/s", needs_core=True)
SCENARIO = Scenario("one", "a load", "wsload", (CPU, RATE), contenders("airyd", "autobahn"))
COST = Headline("cost", SCENARIO, "cpu", "autobahn")
SPEED = Headline("speed", SCENARIO, "rate", "autobahn", is_more_better=True)
ALONE = Headline("alone", SCENARIO, "cpu", None)


def runs(key: str, *values: float) -> list[Measurement]:
    """Return a measurement for each value."""
    return [Measurement({key: value}) for value in values]


class RatioTests(SynchronousTestCase):
    """The two sides of a ratio are of the same round."""

    def test_the_median_of_the_rounds(self) -> None:
        found = {"one": {"airyd": runs("cpu", 5.0, 8.0, 9.0), "autobahn": runs("cpu", 10.0, 10.0, 20.0)}}
        self.assertEqual(ratios([COST, ALONE], found), {"cost": 0.5, "alone": 8.0})

    def test_a_round_counts_if_both_sides_do(self) -> None:
        faulty = Measurement({"cpu": 1.0}, faults=("deliveries missing",))
        found = {"one": {"airyd": [*runs("cpu", 5.0), faulty], "autobahn": runs("cpu", 10.0, 10.0)}}
        self.assertEqual(ratios([COST], found), {"cost": 0.5})

    def test_there_is_none_without_one(self) -> None:
        shared = [Measurement({"rate": 1.0, "server_cpu_pct": 50.0})]
        self.assertEqual(ratios([SPEED], {"one": {"airyd": shared, "autobahn": shared}}), {})
        self.assertEqual(ratios([COST], {}), {})


class ComparingTests(SynchronousTestCase):
    """Five per cent are noise, six are worse."""

    def test_more_cost_is_worse(self) -> None:
        self.assertEqual(worsened([COST], {"cost": 0.53}, {"cost": 0.50}), ["cost"])
        self.assertEqual(worsened([COST], {"cost": 0.524}, {"cost": 0.50}), [])
        self.assertEqual(worsened([COST], {"cost": 0.1}, {"cost": 0.50}), [])

    def test_less_speed_is_worse(self) -> None:
        self.assertEqual(worsened([SPEED], {"speed": 0.94}, {"speed": 1.0}), ["speed"])
        self.assertEqual(worsened([SPEED], {"speed": 2.0}, {"speed": 1.0}), [])

    def test_what_is_on_one_side_only_is_not_compared(self) -> None:
        self.assertEqual(worsened([COST], {}, {"cost": 0.5}), [])
        self.assertEqual(worsened([COST], {"cost": 0.5}, {}), [])


class CommandTests(SynchronousTestCase):
    """``python -m bench.headline``."""

    def run_with(self, cpu: float, before: dict[str, object], *arguments: str) -> tuple[int, str]:
        """Run it where airyd costs this, and this is kept; return the exit status and what it printed."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        kept = self.directory / "kept.json"
        kept.write_text(json.dumps(before))
        self.patch(headline, "KEPT", kept)
        self.patch(headline, "OUT", self.directory)
        self.patch(headline, "HEADLINES", (COST,))
        self.patch(headline, "SCENARIOS", (SCENARIO,))
        self.patch(headline, "description", lambda: {"processor": "this"})
        found = {"one": {"airyd": runs("cpu", cpu), "autobahn": runs("cpu", 10.0)}}
        self.patch(headline, "measure", lambda _: found)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = main([word.format(kept=kept) for word in arguments], {})
        return status, said.getvalue()

    def test_worse(self) -> None:
        status, said = self.run_with(6.0, {"processor": "this", "ratios": {"cost": 0.5}})
        self.assertEqual(status, 1)
        self.assertEqual(said.splitlines()[-1].split(), ["cost", "0.600", "0.500", "+20.0", "%", "WORSE"])

    def test_not_worse(self) -> None:
        status, said = self.run_with(5.1, {"processor": "this", "ratios": {"cost": 0.5}})
        self.assertEqual(status, 0)
        self.assertNotIn("WORSE", said)

    def test_a_doubt_is_said(self) -> None:
        self.run_with(6.0, {"processor": "this", "ratios": {}})
        doubtful = [Measurement({"cpu": 6.0}, doubts=("others had it",))]
        self.patch(headline, "measure", lambda _: {"one": {"airyd": doubtful, "autobahn": runs("cpu", 10.0)}})
        with contextlib.redirect_stdout(io.StringIO()) as said:
            main([], {})
        self.assertIn("The machine had other work", said.getvalue())

    def test_what_is_kept_is_of_another_machine(self) -> None:
        status, said = self.run_with(6.0, {"processor": "that", "ratios": {"cost": 0.5}})
        self.assertEqual(status, 0)
        self.assertIn("of another processor, that", said)

    def test_another_machine_is_compared_with_if_asked_for(self) -> None:
        status, _ = self.run_with(6.0, {"processor": "that", "ratios": {"cost": 0.5}}, "--against", "{kept}")
        self.assertEqual(status, 1)

    def test_ratios_are_kept_on_demand(self) -> None:
        status, _ = self.run_with(6.0, {"processor": "this", "ratios": {"cost": 0.5}}, "--renew")
        self.assertEqual(status, 0)
        self.assertEqual(headline.kept(headline.KEPT), ({"cost": 0.6}, "this"))

    def test_without_a_load_generator(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = main([], {})
        self.assertEqual((status, said.getvalue().count("\n")), (2, 1))
        self.assertIn("AIRYD_WSLOAD_DIR is not set", said.getvalue())


class DataTests(SynchronousTestCase):
    """The headlines fit their scenarios."""

    def test_figures_and_contenders_exist(self) -> None:
        for each in HEADLINES:
            self.assertIn(each.scenario, headline.SCENARIOS)
            self.assertIn(each.key, [figure.key for figure in each.scenario.figures])
            self.assertIn(each.to, [None, *(contender.name for contender in each.scenario.contenders)])

    def test_what_is_kept_is_of_these(self) -> None:
        kept, _ = headline.kept(headline.KEPT)
        self.assertLessEqual(set(kept), {each.title for each in HEADLINES})
