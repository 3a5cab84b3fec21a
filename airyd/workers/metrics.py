"""Aggregates the metrics of the parent and its workers into one ``/metrics`` page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from airyd.metrics import COMBINED
from airyd.workers.messages import Family, Sample

#: The prefix of airyd's own metrics, which are summed; other metrics belong to a process and get a label with its name.
_OURS: Final = "airyd_"
_PROCESS: Final = "process"

#: The kinds of metrics that never decrease.
_COUNTING: Final = ("counter", "histogram")

#: A sample's name and its labels.
_SampleKey = tuple[str, tuple[tuple[str, str], ...]]


def families_of(registry: CollectorRegistry) -> list[Family]:
    """Return the current metrics of a registry."""
    return [
        Family(each.name, each.type, each.documentation, [Sample(s.name, s.labels, s.value) for s in each.samples])
        for each in registry.collect()
    ]


@dataclass(slots=True)
class _Total:
    """The sum of one metric over all processes."""

    kind: str
    text: str
    values: dict[_SampleKey, float] = field(default_factory=dict)

    def add(self, name: str, key: _SampleKey, value: float) -> None:
        known = self.values.get(key)
        if known is None or self.kind == "info":
            self.values[key] = value
        elif name in COMBINED:  # for example: up only if it is up in all workers
            self.values[key] = COMBINED[name](known, value)
        else:
            self.values[key] = known + value


class MetricsAggregator:
    """Sums the metrics of all processes; it is a collector for prometheus_client.

    A few gauges are the least or the largest value of all workers (``airyd.metrics.COMBINED``).

    A counter never decreases when a process ends: its last known value stays in the sum. Otherwise ``rate()`` would
    take the decrease for a reset and show a peak.
    """

    def __init__(self) -> None:
        self._present: dict[str, list[Family]] = {}
        self._gone: dict[str, Family] = {}

    def update(self, process: str, families: list[Family]) -> None:
        """Replace the metrics of a process."""
        self._present[process] = families

    def process_ended(self, process: str) -> None:
        """Keep the counters of a process that has ended, and drop its other metrics."""
        for family in self._present.pop(process, []):
            if family.kind in _COUNTING and family.name.startswith(_OURS):
                kept = self._gone.get(family.name)
                total = _Total(family.kind, family.text)
                for each in (kept, family):
                    for sample in each.samples if each else ():
                        total.add(family.name, _key(sample), sample.value)
                self._gone[family.name] = Family(family.name, family.kind, family.text, list(_samples(total)))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as prometheus_client's families: the interface of its collectors."""
        sums: dict[str, _Total] = {}
        for process, families in (*self._present.items(), (None, list(self._gone.values()))):
            for family in families:
                total = sums.setdefault(family.name, _Total(family.kind, family.text))
                more = {} if family.name.startswith(_OURS) or process is None else {_PROCESS: process}
                for sample in family.samples:
                    total.add(family.name, _key(sample, more), sample.value)
        for name, total in sums.items():
            metric = Metric(name, total.text, total.kind)
            for sample in _samples(total):
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric


def _key(sample: Sample, more: dict[str, str] | None = None) -> _SampleKey:
    return sample.name, tuple({**sample.labels, **(more or {})}.items())


def _samples(total: _Total) -> Iterable[Sample]:
    return (Sample(name, dict(labels), value) for (name, labels), value in total.values.items())
