"""The ledger names each fault in a client's events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.ledger import Cursor, History, Hole, Loss, read_id

NAME = "/queue/message"


class CursorTests(SynchronousTestCase):
    """A run from the position 2-0 in a history with 1-0 to 9-0."""

    def setUp(self) -> None:
        self.history = History(NAME)
        for number in range(1, 10):
            self.history.add((number, 0), number)

    def follow(self, *numbers: int) -> Cursor:
        """Return a cursor that got these events, at the times of their numbers."""
        cursor = Cursor(self.history, (2, 0))
        for number in numbers:
            cursor.take((number, 0), number, float(number))
        cursor.check()
        return cursor

    def test_all(self) -> None:
        cursor = self.follow(3, 4, 5, 6, 7, 8, 9)
        self.assertEqual((cursor.faults, cursor.holes, cursor.checked), ([], [], 7))
        self.assertTrue(cursor.is_level)

    def test_not_all_yet(self) -> None:
        cursor = self.follow(3, 4)
        self.assertEqual((cursor.faults, cursor.holes), ([], []))
        self.assertFalse(cursor.is_level)
        self.assertIn("5 events of the ledger did not come", cursor.standing)

    def test_dropped(self) -> None:
        cursor = self.follow(3, 6, 7, 8, 9)
        self.assertEqual(cursor.holes, [Hole(NAME, (4, 0), (5, 0), 6.0)])
        self.assertEqual(cursor.faults, [])

    def test_twice(self) -> None:
        cursor = self.follow(3, 4, 4, 5)
        self.assertEqual(cursor.faults, [f"{NAME}: (4, 0) (number 4) again or too late; the last was (4, 0)"])

    def test_out_of_order(self) -> None:
        cursor = self.follow(4, 3)
        self.assertEqual(cursor.holes, [Hole(NAME, (3, 0), (3, 0), 4.0)])
        self.assertEqual(cursor.faults, [f"{NAME}: (3, 0) (number 3) again or too late; the last was (4, 0)"])

    def test_from_before_the_position(self) -> None:
        self.assertEqual(len(self.follow(2, 3).faults), 1)

    def test_unknown(self) -> None:
        cursor = self.follow(3)
        cursor.take((3, 5), 77, 0.0)
        cursor.check()
        self.assertEqual(cursor.faults, [f"{NAME}: (3, 5) (number 77) is in no ledger"])

    def test_another_body(self) -> None:
        cursor = self.follow()
        cursor.take((3, 0), 4, 0.0)
        cursor.check()
        self.assertEqual(cursor.faults, [f"{NAME}: (3, 0) has the body of 4, not of 3"])

    def test_acknowledged_late(self) -> None:
        """A client may get an event before its publisher gets the acknowledgement."""
        cursor = self.follow(3, 4, 5, 6, 7, 8, 9, 10)
        self.assertFalse(cursor.is_level)
        self.history.add((10, 0), 10)
        cursor.check()
        self.assertTrue(cursor.is_level)
        self.assertEqual(cursor.faults, [])

    def test_a_position_that_is_acknowledged_late(self) -> None:
        cursor = Cursor(self.history, (11, 0))
        cursor.take((12, 0), 12, 0.0)
        for number in (10, 11, 12):
            self.history.add((number, 0), number)
        cursor.check()
        self.assertTrue(cursor.is_level)
        self.assertEqual((cursor.faults, cursor.holes), ([], []))


class HistoryTests(SynchronousTestCase):
    """Published and destroyed events."""

    def setUp(self) -> None:
        self.history = History(NAME)
        for number in range(1, 6):
            self.history.add((number, 0), number)
        self.history.losses.append(Loss((4, 0), 10.0, is_told=True))

    def test_missed(self) -> None:
        for last, missed in (((1, 0), 3), ((3, 0), 1), ((4, 0), 0), ((5, 0), 0)):
            self.assertEqual(self.history.missed(last, self.history.losses_until(11.0)), missed)
        self.assertEqual(self.history.missed((1, 0), self.history.losses_until(9.0)), 0)

    def test_order(self) -> None:
        """Ids must increase, because the comparison relies on it."""
        self.assertRaises(AssertionError, self.history.add, (5, 0), 6)

    def test_ids(self) -> None:
        self.assertEqual(read_id("12-3"), (12, 3))
        self.assertEqual(read_id("c102d7ca-12-3"), (12, 3))
