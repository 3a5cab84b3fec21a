"""Tests for bench.measure: reading the load generator's report, and judging it."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import LoadFailed, judge, parse


class ParseTests(SynchronousTestCase):
    """The report becomes numbers."""

    def test_numbers_are_taken_and_the_rest_is_not(self) -> None:
        values, error = parse(b'{"scenario":"fanout","label":"","rc":0,"deliveries_per_s":2003.4,"first_error":""}\n')
        self.assertEqual(values, {"rc": 0.0, "deliveries_per_s": 2003.4})
        self.assertEqual(error, "")

    def test_a_number_that_could_not_be_computed_is_left_out(self) -> None:
        values, _ = parse(b'{"rc":0,"server_kib_per_conn_rss":null}')
        self.assertNotIn("server_kib_per_conn_rss", values)

    def test_the_failed_connections_of_all_rounds_are_added_up(self) -> None:
        values, _ = parse(b'{"rounds":[{"failed":2,"per_s":10},{"failed":1,"per_s":11}],"rc":0}')
        self.assertEqual(values["connect_failed"], 3.0)

    def test_the_first_error_is_kept(self) -> None:
        _, error = parse(b'{"rc":1,"first_error":"upgrade refused: HTTP/1.1 404"}')
        self.assertEqual(error, "upgrade refused: HTTP/1.1 404")

    def test_what_is_not_a_report_is_refused(self) -> None:
        self.assertRaises(LoadFailed, parse, b"Segmentation fault")


class JudgeTests(SynchronousTestCase):
    """A run with a fault counts for nothing; a doubtful one counts and says so."""

    clean: ClassVar = {
        "rc": 0.0,
        "missing_total": 0.0,
        "server_cpu_pct": 99.0,
        "client_cpu_pct": 60.0,
        "machine_steal_pct": 0.0,
    }

    def test_a_clean_run_has_no_remarks(self) -> None:
        verdict = judge(self.clean, "", saturates=True)
        self.assertEqual((verdict.faults, verdict.doubts), ((), ()))

    def test_missing_deliveries_are_a_fault_with_the_first_error(self) -> None:
        verdict = judge(self.clean | {"missing_total": 12.0, "rc": 3.0}, "connection 7 closed", saturates=True)
        self.assertEqual(verdict.faults, ("12 deliveries missing", "connection 7 closed"))

    def test_a_bad_status_alone_is_a_fault(self) -> None:
        verdict = judge(self.clean | {"rc": 1.0}, "the publisher did not connect", saturates=True)
        self.assertEqual(verdict.faults, ("wsload ended with status 1", "the publisher did not connect"))

    def test_a_robbed_machine_is_a_doubt(self) -> None:
        verdict = judge(self.clean | {"machine_steal_pct": 7.25}, "", saturates=False)
        self.assertEqual(verdict.doubts, ("7.2 % of the machine went elsewhere: repeat the run",))

    def test_a_busy_load_generator_beside_an_idle_server_is_the_limit(self) -> None:
        verdict = judge(self.clean | {"client_cpu_pct": 98.0, "server_cpu_pct": 80.0}, "", saturates=True)
        self.assertEqual(len(verdict.doubts), 2)
        self.assertIn("the load generator is the limit (its core 98 % busy)", verdict.doubts)

    def test_both_may_be_busy_when_the_server_is_to_be_saturated(self) -> None:
        verdict = judge(self.clean | {"client_cpu_pct": 98.0, "server_cpu_pct": 99.0}, "", saturates=True)
        self.assertEqual(verdict.doubts, ())

    def test_an_idle_server_is_no_doubt_under_light_load(self) -> None:
        verdict = judge(self.clean | {"server_cpu_pct": 4.0}, "", saturates=False)
        self.assertEqual(verdict.doubts, ())
