"""Tests for bench.check and bench.promises: what is said, and that each measurement still runs."""

from __future__ import annotations

import contextlib
import io

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench import check, instructions, promises
from bench.check import PROMISES, Promise, check_promise, main


class PromiseTests(SynchronousTestCase):
    """A figure and its limit."""

    def checked(self, found: float) -> tuple[int, str]:
        """Check a figure of which 2 MiB are allowed; return the exit status and what was printed."""
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = check_promise(Promise("memory", "MiB", 2, lambda: found))
        return status, said.getvalue()

    def test_kept(self) -> None:
        self.assertEqual(self.checked(2.0), (0, "memory: 2.00 MiB, at most 2 MiB\n"))

    def test_not_kept(self) -> None:
        self.assertEqual(self.checked(2.01), (1, "MORE THAN ALLOWED: memory: 2.01 MiB, at most 2 MiB\n"))

    def test_not_measured(self) -> None:
        def fail() -> float:
            raise AssertionError("closed with 1002")

        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = check_promise(Promise("memory", "MiB", 2, fail))
        self.assertEqual((status, said.getvalue()), (2, "NOT MEASURED: memory: closed with 1002\n"))


class CommandTests(SynchronousTestCase):
    """``python -m bench.check``."""

    def setUp(self) -> None:
        """Measure nothing; take down what would be."""
        self.measured: list[str] = []
        self.found = {"one": 1.0, "two": 1.0}
        self.instructions = 0

        def measuring(name: str) -> Promise:
            def measure() -> float:
                self.measured.append(name)
                return self.found[name]

            measure.__name__ = name
            return Promise(name, "s", 1, measure)

        def counting(arguments: list[str]) -> int:
            self.measured.append("instructions")
            return self.instructions

        self.patch(check, "PROMISES", (measuring("one"), measuring("two")))
        self.patch(instructions, "main", counting)

    def run_with(self, *arguments: str) -> int:
        """Run it; return the exit status."""
        with contextlib.redirect_stdout(io.StringIO()):
            return main(arguments)

    def test_all(self) -> None:
        self.assertEqual(self.run_with(), 0)
        self.assertEqual(self.measured, ["instructions", "one", "two"])

    def test_one(self) -> None:
        self.assertEqual(self.run_with("--only", "two"), 0)
        self.assertEqual(self.measured, ["two"])

    def test_the_greatest_status(self) -> None:
        """Whatever one says, the others are checked, too."""
        self.found["one"] = 1.5
        self.assertEqual(self.run_with(), 1)
        self.instructions = 2
        self.assertEqual(self.run_with(), 2)
        self.assertEqual(self.measured, ["instructions", "one", "two"] * 2)

    def test_wrong_arguments(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(self.assertRaises(SystemExit, main, ["--only", "three"]).code, 2)


@pytest.mark.integration
class MeasurementTests(SynchronousTestCase):
    """Each runs, in small."""

    def test_each(self) -> None:
        self.patch(promises, "BOMBS", 1)
        self.patch(promises, "REVOKED", 1)
        for promise in PROMISES:
            self.assertGreaterEqual(promise.measure(), 0, promise.title)
