"""The program that runs the tests: how it counts and compares the tests of pytest and trial."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.suite import Found, counted_by_pytest, counted_by_trial, difference, unit_tests


class CountTests(SynchronousTestCase):
    """Counting tests by the last lines of both runners."""

    def test_pytest(self) -> None:
        report = '<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="2" tests="7"/></testsuites>'
        self.assertEqual((7, 2), counted_by_pytest(report))

    def test_trial(self) -> None:
        self.assertEqual((7, False), counted_by_trial("-----\nRan 7 tests in 0.3s\n\nPASSED (successes=7)\n"))

    def test_trial_with_one(self) -> None:
        self.assertEqual((1, False), counted_by_trial("Ran 1 tests in 0.3s\n\nPASSED (successes=1)\n"))

    def test_trial_skipped(self) -> None:
        self.assertEqual((3, True), counted_by_trial("Ran 3 tests in 0.3s\n\nPASSED (skips=1, successes=2)\n"))

    def test_trial_expected_to_fail(self) -> None:
        self.assertEqual(
            (3, True), counted_by_trial("Ran 3 tests in 0.3s\n\nPASSED (expectedFailures=1, successes=2)\n")
        )

    def test_trial_ran_nothing(self) -> None:
        self.assertEqual((0, False), counted_by_trial(""))


class DifferenceTests(SynchronousTestCase):
    """Tests that only one runner finds are named."""

    def test_same_tests_in_another_order(self) -> None:
        self.assertEqual("", difference(["a", "b"], ["b", "a"]))

    def test_missed_by_one(self) -> None:
        self.assertEqual("only pytest finds b\nonly trial finds c", difference(["a", "b"], ["a", "c"]))

    def test_found_twice(self) -> None:
        self.assertEqual("only trial finds a", difference(["a"], ["a", "a"]))


class UnitTests(SynchronousTestCase):
    """trial gets as few names as possible."""

    def found(self, path: str, is_unit: bool) -> Found:
        """Return a test that pytest found, by module, class and method."""
        module, owner, _ = path.split(".")
        return Found(module, f"{module}.{owner}", path, path, is_unit)

    def test_a_module(self) -> None:
        found = [self.found(path, True) for path in ("m.A.one", "m.A.two", "m.B.one")]
        self.assertEqual(["m"], unit_tests(found))

    def test_tests_that_start_a_process_are_left_out(self) -> None:
        paths = ("m.A.one", "m.A.two", "m.B.one", "m.B.two", "n.A.one")
        found = [self.found(path, path != "m.B.two") for path in paths]
        self.assertEqual(["m.A", "m.B.one", "n"], unit_tests(found))

    def test_a_class_that_a_second_module_imports(self) -> None:
        imported = self.found("l.A.one", True)._replace(name="m.A.one")
        found = [imported, self.found("l.B.one", True), self.found("m.A.one", True)]
        self.assertEqual(["l.B", "m"], unit_tests(found))
