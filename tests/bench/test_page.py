"""Tests for bench.page: what is written of a run."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import page
from bench.measure import Measurement
from bench.page import filled, sections, slim, write
from bench.results import Results, read
from bench.scenarios import CPU

MARKERS = "".join(
    f".. begin {name}\n.. end {name}\n\n" for name in ("machine", "targets", "figures", "profile", "instructions")
)


def run(**values: float) -> Measurement:
    """Return a measurement of these values, and one that no page shows."""
    return Measurement({**values, "handshake_ms_p50": 1.0})


RESULTS = Results(
    "2026-01-01T00:00:00+00:00",
    "full",
    {"processor": "Z80"},
    {
        "own-ids": {"airyd": [run(**{CPU: 6.0}), run(**{CPU: 8.0})], "C each": [run(**{CPU: 3.0})]},
        "profile": {"saturated": [run(**{"self: send (libc.so.6)": 80.0})]},
    },
)


class SectionTests(SynchronousTestCase):
    """The generated parts."""

    def setUp(self) -> None:
        """Make them."""
        self.parts = sections(RESULTS, {"delivery": 2.2})

    def test_the_machine(self) -> None:
        self.assertIn("   * - processor\n     - Z80\n", self.parts["machine"])

    def test_a_target_that_is_not_kept(self) -> None:
        rows = self.parts["targets"].split("   * - ")
        self.assertEqual(rows[-1].split("\n     - ")[1:], ["2.33x of C each", "at most 2x", "**not kept**\n"])

    def test_a_figure_with_its_spread_and_ratio(self) -> None:
        self.assertIn(
            "   * - server CPU per delivery, µs\n     - airyd\n     - 7.00\n     - 6.00 to 8.00\n     - 2.33\n",
            self.parts["figures"],
        )

    def test_the_profile(self) -> None:
        self.assertIn("   * - saturated\n     - ``send (libc.so.6)``\n     - 80.0\n", self.parts["profile"])

    def test_instructions(self) -> None:
        self.assertIn("   * - delivery\n     - 2.20\n", self.parts["instructions"])

    def test_nothing_measured(self) -> None:
        parts = sections(Results("", "full", {}, {}), {})
        self.assertEqual(parts["profile"], "Not measured in this run.\n")


class FillingTests(SynchronousTestCase):
    """Parts go between their markers."""

    def test_what_was_there_is_replaced(self) -> None:
        text = "before\n.. begin one\nold\n.. end one\nafter\n"
        self.assertEqual(filled(text, {"one": "new\n"}), "before\n.. begin one\n\nnew\n\n.. end one\nafter\n")

    def test_it_can_be_done_again(self) -> None:
        once = filled(MARKERS, sections(RESULTS, {}))
        self.assertEqual(filled(once, sections(RESULTS, {})), once)

    def test_markers_that_are_not_there(self) -> None:
        self.assertRaises(ValueError, filled, "nothing", {"one": "new\n"})


class WritingTests(SynchronousTestCase):
    """A page, the run beside it, and its pictures."""

    def test_the_run_is_kept_without_what_is_not_shown(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        text, kept, source = directory / "page.rst", directory / "kept", directory / "source.json"
        text.write_text(MARKERS)
        RESULTS.write(source)
        self.patch(page, "PAGE", text)
        self.patch(page, "KEPT", kept)
        self.patch(page, "RUN", kept / "run.json")
        self.assertEqual(write(source), [kept / "run.json", text])
        self.assertEqual(read(kept / "run.json"), slim(RESULTS))
        self.assertNotIn("handshake_ms_p50", (kept / "run.json").read_text())
        self.assertIn("Z80", text.read_text())
