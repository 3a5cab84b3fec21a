"""The arithmetic of docs/scaling.rst: its tables are those of the model, and the model is near what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from bench.nodes import MOST_WRITES
from bench.redis_load import busy_ms, most_events, replies
from bench.servers import ROOT

_PAGE = Path(ROOT / "docs" / "scaling.rst")
#: By how much a measured figure and the model may differ: a factor, or milliseconds a second.
_FACTOR = 2.0
_LEAST_MS = 4.0


class Table(NamedTuple):
    """A table of the page: the texts of its cells, with the head first."""

    rows: list[list[str]]

    @property
    def head(self) -> list[str]:
        return self.rows[0]


def tables() -> Iterator[Table]:
    """Yield the tables of the page."""
    document = publish_doctree(_PAGE.read_text(), settings_overrides={"report_level": 5})
    for table in document.findall(nodes.table):
        yield Table([[entry.astext() for entry in row.findall(nodes.entry)] for row in table.findall(nodes.row)])


def number(text: str) -> float:
    """Return a number as the page writes it."""
    return float(text.replace(",", ""))


class ScalingTests(SynchronousTestCase):
    """The tables."""

    def table(self, *head: str) -> list[list[str]]:
        """Return the rows of the one table whose head begins so."""
        (found,) = [table for table in tables() if tuple(table.head[: len(head)]) == head]
        return found.rows[1:]

    def test_measured_rows(self) -> None:
        """Each measured row is near the model: the CPU of Redis, and the replies to a process."""
        rows = self.table("Events/s", "P", "CPU of Redis, ms/s")
        self.assertGreaterEqual(len(rows), 12)
        for rate, processes, busy, of_replies, *_ in rows:
            expected = busy_ms(number(rate), int(processes), min(number(rate), MOST_WRITES))
            self.assertTrue(
                abs(number(busy) - expected) <= _LEAST_MS or 1 / _FACTOR <= number(busy) / expected <= _FACTOR,
                f"{rate} events/s, {processes} processes: {busy} ms, by the model {expected:.0f} ms",
            )
            if of_replies != "none":  # four a second more than replies: the checks whether a stream can be read
                self.assertLessEqual(number(of_replies), _FACTOR * replies(number(rate)) + 4, (rate, processes))

    def test_planned_rows(self) -> None:
        """The table for plans is the model's, to two digits."""
        rows = self.table("P", "Events/s, one by one")
        self.assertGreaterEqual(len(rows), 4)
        for processes, one_by_one, in_bulk, *_ in rows:
            for text, bulk in ((one_by_one, False), (in_bulk, True)):
                expected = most_events(int(processes), in_bulk=bulk)
                self.assertEqual(f"{expected:.1e}", f"{number(text):.1e}", processes)
