"""The metrics that Prometheus scrapes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from twisted.trial.unittest import SynchronousTestCase

import airyd
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS, MESSAGE
from airyd.metrics import Metrics, make_registry

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(metrics: Metrics) -> Samples:
    """Return every sample of the text for Prometheus."""
    families = parse_text(generate_latest(make_registry(metrics)).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Return one sample."""
    return scrape(metrics)[name, frozenset(labels.items())]


class MetricsTests(SynchronousTestCase):
    """Counts appear under their names."""

    def test_plain_counts(self) -> None:
        metrics = Metrics()
        for attribute, name in (
            ("connections", "airyd_connections"),
            ("sessions", "airyd_sessions"),
            ("buffered_clients", "airyd_buffered_clients"),
            ("connections_opened", "airyd_connections_opened_total"),
            ("bytes_out", "airyd_sent_bytes_total"),
            ("flushes", "airyd_flushes_total"),
            ("replayed", "airyd_events_replayed_total"),
            ("acks", "airyd_acks_total"),
            ("nacks", "airyd_nacks_total"),
            ("heartbeats_out", "airyd_heartbeats_sent_total"),
            ("stalls", "airyd_stalls_total"),
        ):
            self.assertEqual(value(metrics, name), 0, name)
            setattr(metrics, attribute, 5)
            self.assertEqual(value(metrics, name), 5, name)

    def test_counts_by_label(self) -> None:
        metrics = Metrics()
        cases: tuple[tuple[Counter[Any], object, str, dict[str, str]], ...] = (
            (metrics.subscriptions, "/a", "airyd_subscriptions", {"destination": "/a"}),
            (metrics.connections_closed, "lost", "airyd_connections_closed_total", {"kind": "lost"}),
            (metrics.handshakes_refused, 403, "airyd_handshakes_refused_total", {"status": "403"}),
            (metrics.errors, "unauthorized", "airyd_errors_total", {"kind": "unauthorized"}),
            (metrics.events_in, "/a", "airyd_events_received_total", {"destination": "/a"}),
            (
                metrics.payloads_refused,
                ("send", "too_deep"),
                "airyd_payloads_refused_total",
                {"origin": "send", "kind": "too_deep"},
            ),
            (metrics.published, "admin", "airyd_events_published_total", {"origin": "admin"}),
            (metrics.deliveries, "/a", "airyd_deliveries_total", {"destination": "/a"}),
            (metrics.replays, "lost", "airyd_replays_total", {"outcome": "lost"}),
            (metrics.gaps, "/a", "airyd_gaps_total", {"destination": "/a"}),
            (metrics.late, "UNSUBSCRIBE", "airyd_late_frames_total", {"command": "UNSUBSCRIBE"}),
        )
        for counter, key, name, labels in cases:
            counter[key] += 2
            self.assertEqual(value(metrics, name, **labels), 2, name)

    def test_known_labels_start_at_zero(self) -> None:
        metrics = Metrics(AIRY_DESTINATIONS)
        for destination in AIRY_DESTINATIONS:
            self.assertEqual(value(metrics, "airyd_deliveries_total", destination=destination), 0)
        for fault in Fault:
            self.assertEqual(value(metrics, "airyd_errors_total", kind=fault.kind), 0)
            self.assertEqual(value(metrics, "airyd_connections_closed_total", kind=fault.kind), 0)
        for kind in "normal", "client", "lost", "websocket":
            self.assertEqual(value(metrics, "airyd_connections_closed_total", kind=kind), 0)

    def test_source_is_asked_at_each_scrape(self) -> None:
        metrics = Metrics()
        self.assertNotIn(("airyd_source_up", frozenset()), scrape(metrics))
        answers = iter([True, False])
        metrics.source_up = lambda: next(answers)
        self.assertEqual(value(metrics, "airyd_source_up"), 1)
        self.assertEqual(value(metrics, "airyd_source_up"), 0)

    def test_login_is_asked_at_each_scrape(self) -> None:
        metrics = Metrics()
        self.assertNotIn(("airyd_login_up", frozenset()), scrape(metrics))
        answers = iter([True, False])
        metrics.login_up = lambda: next(answers)
        self.assertEqual(value(metrics, "airyd_login_up"), 1)
        self.assertEqual(value(metrics, "airyd_login_up"), 0)

    def test_two_processes_share_nothing(self) -> None:
        one, other = Metrics([MESSAGE]), Metrics([MESSAGE])
        one.deliveries[MESSAGE] += 1
        self.assertEqual(value(other, "airyd_deliveries_total", destination=MESSAGE), 0)

    def test_version_and_process(self) -> None:
        metrics = Metrics()
        (build,) = [dict(labels) for name, labels in scrape(metrics) if name == "airyd_build_info"]
        self.assertEqual(build["version"], airyd.__version__)
        self.assertEqual({"version", "twisted", "autobahn", "txredisapi"}, set(build))
        names = {name for name, _ in scrape(metrics)}
        self.assertLessEqual(
            {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections_total", "python_info"}, names
        )

    def test_configuration(self) -> None:
        metrics = Metrics()
        self.assertNotIn("airyd_config_info", {name for name, _ in scrape(metrics)})
        metrics.config = {"workers": "2"}
        self.assertEqual(value(metrics, "airyd_config_info", workers="2"), 1)

    def test_asked_by_label(self) -> None:
        """Gauges that are asked for at a scrape may have a label."""
        metrics = Metrics()
        metrics.buffered_bytes = lambda: 17
        metrics.lag_entries = lambda: {"/a": 5}
        self.assertEqual(value(metrics, "airyd_buffered_bytes"), 17)
        self.assertEqual(value(metrics, "airyd_lag_entries", destination="/a"), 5)
        self.assertNotIn("airyd_lag_seconds", {name for name, _ in scrape(metrics)})

    def test_durations(self) -> None:
        metrics = Metrics()
        for histogram, name in (
            (metrics.event_age, "airyd_event_age_seconds"),
            (metrics.fanout, "airyd_fanout_seconds"),
            (metrics.replay_time, "airyd_replay_seconds"),
            (metrics.login_time, "airyd_login_seconds"),
            (metrics.handshake_time, "airyd_handshake_seconds"),
            (metrics.redis_round_trip, "airyd_redis_round_trip_seconds"),
            (metrics.reactor_lag, "airyd_reactor_lag_seconds"),
        ):
            self.assertEqual(value(metrics, f"{name}_count"), 0, name)
            histogram.observe(0.3)
            self.assertEqual(value(metrics, f"{name}_bucket", le="0.25"), 0, name)
            self.assertEqual(value(metrics, f"{name}_bucket", le="0.5"), 1, name)
            self.assertEqual(value(metrics, f"{name}_bucket", le="+Inf"), 1, name)
            self.assertEqual(value(metrics, f"{name}_sum"), 0.3, name)

    def test_misspelt_counts_are_errors(self) -> None:
        self.assertRaises(AttributeError, setattr, Metrics(), "conections", 1)


class NamingTests(SynchronousTestCase):
    """Names follow Prometheus' practice."""

    def test_names_and_help(self) -> None:
        for family in Metrics().collect():
            self.assertRegex(family.name, r"^airyd_[a-z]+(_[a-z]+)*$")
            self.assertRegex(family.documentation, re.compile(r"^[A-Z].*\.$", re.DOTALL))
            self.assertNotRegex(family.name, "_(total|count|sum|bucket)$")

    def test_counters_end_in_total_and_gauges_do_not(self) -> None:
        metrics = Metrics([MESSAGE])
        metrics.handshakes_refused[404] += 1
        metrics.payloads_refused["send", "too_big"] += 1
        for family in metrics.collect():
            self.assertIn(family.type, ("counter", "gauge", "info", "histogram"))
            self.assertTrue(family.samples, family.name)
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter", sample.name)

    def test_openmetrics_parses_strictly(self) -> None:
        metrics = Metrics(AIRY_DESTINATIONS, config={"workers": "1"}, lag_seconds=lambda: {MESSAGE: 0.5})
        text = generate_openmetrics(make_registry(metrics)).decode()
        names = {family.name for family in parse_openmetrics(text)}
        self.assertLessEqual({"airyd_sent_bytes", "airyd_config", "airyd_lag_seconds", "airyd_fanout_seconds"}, names)
