"""Counting what two test runners did."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.both_runners import pytest_count, trial_count


class CountTests(SynchronousTestCase):
    """The closing words of both runners are understood."""

    def test_pytest(self) -> None:
        report = '<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="2" tests="7"/></testsuites>'
        self.assertEqual((7, 2), pytest_count(report))

    def test_trial(self) -> None:
        self.assertEqual((7, False), trial_count("-----\nRan 7 tests in 0.3s\n\nPASSED (successes=7)\n"))

    def test_trial_with_one(self) -> None:
        self.assertEqual((1, False), trial_count("Ran 1 tests in 0.3s\n\nPASSED (successes=1)\n"))

    def test_trial_skipped(self) -> None:
        self.assertEqual((3, True), trial_count("Ran 3 tests in 0.3s\n\nPASSED (skips=1, successes=2)\n"))

    def test_trial_expected_to_fail(self) -> None:
        self.assertEqual((3, True), trial_count("Ran 3 tests in 0.3s\n\nPASSED (expectedFailures=1, successes=2)\n"))

    def test_trial_ran_nothing(self) -> None:
        self.assertEqual((0, False), trial_count(""))
