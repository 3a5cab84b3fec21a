"""One page of metrics for several processes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import AIRY_DESTINATIONS, MESSAGE
from airyd.metrics import Metrics, make_registry
from airyd.workers.metrics import MetricsAggregator, families_of

#: A sample's name and labels, and its value.
Shown = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def metrics_of(connections: int, flushes: int, deliveries: int, up: bool = True) -> Metrics:
    """Return what one process counted."""
    metrics = Metrics(AIRY_DESTINATIONS, source_up=lambda: up, login_up=lambda: up)
    metrics.connections = connections
    metrics.flushes = flushes
    metrics.deliveries[MESSAGE] = deliveries
    return metrics


class AggregatorTests(SynchronousTestCase):
    """What the page shows of one or two processes."""

    def setUp(self) -> None:
        self.sums = MetricsAggregator()

    def take(self, process: str, metrics: Metrics) -> None:
        """Report the metrics of a process."""
        self.sums.update(process, families_of(make_registry(metrics)))

    def shown(self) -> Shown:
        """Return the samples of the page, which Prometheus must be able to read."""
        registry = CollectorRegistry()
        registry.register(self.sums)
        families = parse_text(generate_latest(registry).decode())
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """Return one value of the page."""
        return self.shown()[name, tuple(sorted(labels.items()))]

    def test_one_is_shown_as_it_is(self) -> None:
        """Metrics of the process get a label."""
        metrics = metrics_of(3, 5, 7)
        self.take("worker-1", metrics)
        families = parse_text(generate_latest(make_registry(metrics)).decode())
        alone = {
            (s.name, tuple(sorted(s.labels.items())))
            for family in families
            for s in family.samples
            if s.name.startswith("airyd_")
        }
        self.assertEqual(alone, {key for key in self.shown() if key[0].startswith("airyd_")})

    def test_gauges_and_counters_are_summed(self) -> None:
        self.take("worker-1", metrics_of(3, 5, 7))
        self.take("worker-2", metrics_of(30, 50, 70))
        self.assertEqual(self.value("airyd_connections"), 33)
        self.assertEqual(self.value("airyd_flushes_total"), 55)
        self.assertEqual(self.value("airyd_deliveries_total", destination=MESSAGE), 77)

    def test_up_is_what_all_can_reach(self) -> None:
        self.take("worker-1", metrics_of(0, 0, 0))
        self.take("worker-2", metrics_of(0, 0, 0))
        self.assertEqual(self.value("airyd_source_up"), 1)
        self.assertEqual(self.value("airyd_login_up"), 1)
        self.take("worker-2", metrics_of(0, 0, 0, up=False))
        self.assertEqual(self.value("airyd_source_up"), 0)
        self.assertEqual(self.value("airyd_login_up"), 0)

    def test_durations_are_summed(self) -> None:
        """The histograms of a worker that has ended stay in the sum, as counters do."""
        for number in (1, 2):
            metrics = metrics_of(0, 0, 0)
            metrics.fanout.observe(number)
            self.take(f"worker-{number}", metrics)
        for _ in range(2):
            self.assertEqual(self.value("airyd_fanout_seconds_bucket", le="1.0"), 1)
            self.assertEqual(self.value("airyd_fanout_seconds_bucket", le="+Inf"), 2)
            self.assertEqual(self.value("airyd_fanout_seconds_count"), 2)
            self.assertEqual(self.value("airyd_fanout_seconds_sum"), 3)
            registry = CollectorRegistry()
            registry.register(self.sums)
            self.assertIn(
                "airyd_fanout_seconds",
                {each.name for each in parse_openmetrics(generate_openmetrics(registry).decode())},
            )
            self.sums.process_ended("worker-1")

    def test_the_worst_of_all(self) -> None:
        """Each worker reads the feed by itself, so the one that is furthest behind counts."""
        for number in (1, 2):
            metrics = metrics_of(0, 0, 0)
            lags = {MESSAGE: 10 * number}
            metrics.lag_entries = metrics.lag_seconds = metrics.last_event = metrics.limits = lambda lags=lags: lags
            metrics.certificate_end = lambda ends=number: {"ssl:8443": 100 * ends}
            metrics.buffered_bytes = metrics.slow_clients = metrics.catching_up_clients = lambda number=number: number
            metrics.connections_limit = lambda: 1000
            self.take(f"worker-{number}", metrics)
        self.assertEqual(self.value("airyd_lag_entries", destination=MESSAGE), 20)
        self.assertEqual(self.value("airyd_lag_seconds", destination=MESSAGE), 20)
        self.assertEqual(self.value("airyd_last_event_seconds", destination=MESSAGE), 10)
        self.assertEqual(self.value("airyd_tls_certificate_end_timestamp_seconds", endpoint="ssl:8443"), 100)
        self.assertEqual(self.value("airyd_limit", option=MESSAGE), 20)
        for name in ("airyd_buffered_bytes", "airyd_slow_clients", "airyd_catching_up_clients"):
            self.assertEqual(self.value(name), 3)
        self.assertEqual(self.value("airyd_connections_limit"), 2000)

    def test_one_build(self) -> None:
        for process in ("worker-1", "worker-2"):
            self.take(process, metrics_of(0, 0, 0))
        builds = [value for (name, _), value in self.shown().items() if name == "airyd_build_info"]
        self.assertEqual(builds, [1])

    def test_figures_of_a_process_are_not_summed(self) -> None:
        for process in ("worker-1", "worker-2"):
            self.take(process, metrics_of(0, 0, 0))
        fds = [labels for name, labels in self.shown() if name == "process_open_fds"]
        self.assertEqual(fds, [(("process", "worker-1"),), (("process", "worker-2"),)])
        generations = [dict(labels) for name, labels in self.shown() if name == "python_gc_collections_total"]
        self.assertEqual({labels["process"] for labels in generations}, {"worker-1", "worker-2"})

    def test_new_figures_replace_the_old(self) -> None:
        self.take("worker-1", metrics_of(3, 5, 7))
        self.take("worker-1", metrics_of(2, 6, 8))
        self.assertEqual((self.value("airyd_connections"), self.value("airyd_flushes_total")), (2, 6))

    def test_counters_outlive_their_process(self) -> None:
        """A counter that decreased would look like a reset, and its value like a peak."""
        self.take("worker-1", metrics_of(3, 5, 7))
        self.take("worker-2", metrics_of(30, 50, 70))
        self.sums.process_ended("worker-1")
        self.assertEqual(self.value("airyd_connections"), 30)
        self.assertEqual(self.value("airyd_flushes_total"), 55)
        self.assertNotIn("worker-1", str(self.shown()))
        self.take("worker-1", metrics_of(1, 1, 1))
        self.assertEqual(self.value("airyd_flushes_total"), 56)
        self.assertEqual(self.value("airyd_deliveries_total", destination=MESSAGE), 78)
        self.sums.process_ended("worker-1")
        self.assertEqual(self.value("airyd_flushes_total"), 56)
        self.assertEqual(self.value("airyd_source_up"), 1)
        self.assertEqual(self.value("airyd_login_up"), 1)

    def test_one_that_never_told(self) -> None:
        self.take("worker-2", metrics_of(30, 50, 70))
        before = self.shown()
        self.sums.process_ended("worker-1")
        self.assertEqual(self.shown(), before)
