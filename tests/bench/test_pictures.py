"""Tests for bench.pictures: what is drawn, and that it is the same each time."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import Measurement
from bench.pictures import PICTURES, draw
from bench.results import Results
from bench.scenarios import CROWDS, FULL, LATENCIES, MEMORY, RATE


def results(*scenarios: str) -> Results:
    """Return a run of these scenarios, with two contenders that differ."""
    values = {figure.key: 1000.0 * number for number, figure in enumerate(LATENCIES, 1)} | {RATE: 1e6, MEMORY: 2.5}
    runs = {"airyd": [Measurement(values)], "autobahn": [Measurement({k: 2 * v for k, v in values.items()})]}
    return Results("2026-01-01T00:00:00+00:00", "full", {}, dict.fromkeys(scenarios, runs))


ALL = ("light", *(f"saturated-{crowd}" for crowd in CROWDS), *(f"idle-{number}" for number in FULL.idle))


class DrawTests(SynchronousTestCase):
    """SVG files in a directory."""

    def drawn(self, run: Results) -> dict[str, str]:
        """Return the pictures of a run, by the names of their files."""
        directory = Path(self.mktemp())
        return {path.name: path.read_text() for path in draw(run, directory)}

    def test_each_names_who_took_part(self) -> None:
        pictures = self.drawn(results(*ALL))
        self.assertEqual(set(pictures), {f"{name}.svg" for name in PICTURES})
        for picture in pictures.values():
            words = {"".join(element.itertext()).strip() for element in ElementTree.fromstring(picture).iter()}  # noqa: S314
            self.assertLessEqual({"airyd", "autobahn"}, words)
            self.assertNotIn("<dc:date>", picture)  # it would differ each time

    def test_the_same_run_gives_the_same_bytes(self) -> None:
        self.assertEqual(self.drawn(results("light")), self.drawn(results("light")))

    def test_what_was_not_measured_is_not_drawn(self) -> None:
        self.assertEqual(set(self.drawn(results("light"))), {"latency.svg"})
