"""Tests for bench.run: what it says where it can't measure, and what its exit status says."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench import intake, run
from bench.measure import Measurement
from bench.results import read
from bench.run import main


class EquipmentTests(SynchronousTestCase):
    """The load generator is a program of its own, which may not be there."""

    def run_with(self, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
        """Run the benchmarks; return the exit status and what went to standard error."""
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            status = main(["--quick", *arguments], environment)
        return status, errors.getvalue()

    def test_without_the_variable_it_says_so_in_a_line(self) -> None:
        status, said = self.run_with({}, "--scenario", "one-in-flight")
        self.assertEqual(status, 2)
        self.assertEqual(said.count("\n"), 1)
        self.assertIn("AIRYD_WSLOAD_DIR is not set", said)

    def test_a_directory_without_the_program_is_said(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        status, said = self.run_with({"AIRYD_WSLOAD_DIR": str(directory)}, "--scenario", "one-in-flight")
        self.assertEqual(status, 2)
        self.assertEqual(said.count("\n"), 1)
        self.assertIn("without the program wsload", said)

    def test_the_intake_without_redis_server_is_said(self) -> None:
        self.patch(intake, "missing", lambda: "the program redis-server is missing")
        status, said = self.run_with({}, "--scenario", "intake")
        self.assertEqual((status, said), (2, "bench: left out: intake: the program redis-server is missing\n"))

    def test_a_scenario_that_there_is_not(self) -> None:
        status, said = self.run_with({}, "--scenario", "nothing")
        self.assertEqual((status, said.count("\n")), (2, 1))


class StatusTests(SynchronousTestCase):
    """The exit status, and what is written."""

    def run_and_find(self, *found: Measurement) -> tuple[int, str]:
        """Run the intake where this is measured, in turn; return the exit status and what was printed."""
        measurements = iter(found)

        class Driver:
            """Measures nothing."""

            def measure(self, *_: object) -> Measurement:
                """Return the next."""
                return next(measurements)

        self.out = Path(self.mktemp()).resolve()
        self.patch(run, "OUT", self.out)
        self.patch(run, "ROOT", self.out.parent)
        self.patch(run, "DRIVERS", {"intake": lambda *_: Driver()})
        arguments: list[Any] = ["--quick", "--scenario", "intake", "--contender", "airyd"]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as said:
            status = main([*arguments, "--repeat", str(len(found))], {})
        return status, said.getvalue()

    def test_bounds_kept(self) -> None:
        kept = Measurement({"events_per_s": 150_000.0, "cpu_us_per_event": 5.0})
        status, said = self.run_and_find(kept, kept)
        self.assertEqual(status, 0, said)
        self.assertIn("bound kept: intake: airyd: events/s: 150,000, at least 100,000", said)
        (path,) = self.out.iterdir()
        self.assertEqual(read(path).scenarios, {"intake": {"airyd": [kept, kept]}})

    def test_bounds_not_kept(self) -> None:
        status, said = self.run_and_find(Measurement({"events_per_s": 50_000.0, "cpu_us_per_event": 5.0}))
        self.assertEqual(status, 1)
        self.assertIn("bound NOT KEPT: intake: airyd: events/s: 50,000, at least 100,000", said)

    def test_a_run_with_a_fault(self) -> None:
        status, said = self.run_and_find(Measurement({}, faults=("it did not start",)))
        self.assertEqual(status, 1)
        self.assertIn("! airyd, round 1: left out: it did not start", said)
