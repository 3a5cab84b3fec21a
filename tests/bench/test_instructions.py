"""Tests for bench.instructions: what is counted, and what is made of counts. ``bench.check`` counts."""

from __future__ import annotations

import contextlib
import gc
import io
import shutil

from twisted.trial.unittest import SynchronousTestCase

from bench import counted, instructions
from bench.counted import FLOOR, Counted, Crowd
from bench.instructions import CannotCount, exceeded, kept, main, ratios, table

LIMITS = {"delivery": 2.0, "connection": 500.0}


class CountedTests(SynchronousTestCase):
    """What runs under Callgrind, without it and in small."""

    def test_each_piece_has_a_limit(self) -> None:
        for name, small in (("MEMBERS", 3), ("TURNS", 2), ("BURST", 2), ("BURSTS", 2), ("CONNECTIONS", 2)):
            self.patch(counted, name, small)
        self.addCleanup(gc.unfreeze)
        crowd = Crowd()
        self.addCleanup(crowd.close)
        run = Counted(crowd)
        run.all()
        self.assertEqual(set(run.pieces), {FLOOR} | {name.replace("16 events", "2 events") for name in kept()})
        self.assertEqual((run.pieces["delivery, same id"], run.pieces[FLOOR]), (3 * 2, 3 * 2))


class ComparingTests(SynchronousTestCase):
    """Counts are compared as multiples of a bare send."""

    def test_multiples_of_a_bare_send(self) -> None:
        self.assertEqual(ratios({"delivery": 3000.0, FLOOR: 1500.0}), {"delivery": 2.0})

    def test_five_per_cent_more_is_too_much(self) -> None:
        (line,) = exceeded({"delivery": 2.1, "connection": 500.0}, LIMITS)
        self.assertEqual(line, "delivery: 2.100 bare sends, 5.0 % more than the 2.000 kept")

    def test_what_builds_of_python_differ_by_is_not(self) -> None:
        self.assertEqual([], exceeded({"delivery": 2.04, "connection": 490.0}, LIMITS))

    def test_a_piece_that_is_not_counted_any_more(self) -> None:
        self.assertEqual(["connection: only counted or only kept"], exceeded({"delivery": 2.0}, LIMITS))

    def test_a_piece_that_is_not_kept_yet(self) -> None:
        self.assertEqual(["new: only counted or only kept"], exceeded({**LIMITS, "new": 1.0}, LIMITS))

    def test_the_table(self) -> None:
        _, delivery, floor = table({"delivery": 3150.0, FLOOR: 1500.0}, LIMITS)
        self.assertEqual(delivery.split(), ["delivery", "3,150", "2.100", "2.000", "+5.0", "%"])
        self.assertEqual(floor.split(), ["bare", "send", "1,500"])


class ReadingTests(SynchronousTestCase):
    """What Callgrind writes."""

    def test_its_summary(self) -> None:
        dump = "version: 1\nevents: Ir\nsummary: 28177150\n\nfn=(1) main\n"
        self.assertEqual(instructions.instructions(dump), 28177150)

    def test_without_one(self) -> None:
        self.assertRaises(CannotCount, instructions.instructions, "version: 1\n")


class CommandTests(SynchronousTestCase):
    """``python -m bench.instructions``."""

    def run_with(self, counts: dict[str, float]) -> tuple[int, str]:
        """Run it where these counts are found; return the exit status and what it printed."""
        self.patch(instructions, "count", lambda: counts)
        self.patch(instructions, "kept", lambda: LIMITS)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = main([])
        return status, said.getvalue()

    def test_within_the_limits(self) -> None:
        status, said = self.run_with({"delivery": 3000.0, "connection": 750_000.0, FLOOR: 1500.0})
        self.assertEqual(status, 0)
        self.assertNotIn("MORE", said)

    def test_beyond_them(self) -> None:
        status, said = self.run_with({"delivery": 3150.0, "connection": 750_000.0, FLOOR: 1500.0})
        self.assertEqual(status, 1)
        self.assertIn("MORE THAN ALLOWED: delivery", said)

    def test_without_valgrind(self) -> None:
        self.patch(shutil, "which", lambda _: None)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = main([])
        self.assertEqual((status, said.getvalue()), (2, "bench.instructions: the program valgrind is missing\n"))
