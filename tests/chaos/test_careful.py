"""The ledger for Sentinel: an event that was lost with its master may come, but none after it without a notice."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.careful import UnsureCursor, UnsureHistory

NAME = "/queue/message"


class UnsureTests(SynchronousTestCase):
    """A run from the position 2-0 in a history with 1-0 to 5-0; the events 50 to 52 were lost with their master."""

    def setUp(self) -> None:
        self.history = UnsureHistory(NAME)
        for number in range(1, 6):
            self.history.add((number, 0), number)
        self.history.doomed = {50, 51, 52}

    def follow(self, *came: int) -> UnsureCursor:
        """Return a cursor that got these events, one after the other."""
        cursor = self.history.follow("c102d7ca-2-0", 0.0)
        for when, number in enumerate(came):
            cursor.take((number, 0), number, float(when))
        cursor.check()
        return cursor

    def test_none_came(self) -> None:
        cursor = self.follow(3, 4, 5)
        self.assertEqual((cursor.faults, cursor.holes, cursor.doomed, cursor.is_level), ([], [], [], True))

    def test_some_came_at_the_end(self) -> None:
        cursor = self.follow(3, 4, 5, 50, 51)
        self.assertEqual((cursor.faults, cursor.holes, cursor.is_level), ([], [], True))
        self.assertEqual(cursor.doomed, [((50, 0), 3.0), ((51, 0), 4.0)])

    def test_an_event_after_them(self) -> None:
        (fault,) = self.follow(3, 50, 4, 5).faults[:1]
        self.assertEqual(fault, f"{NAME}: (4, 0) (number 4) after (50, 0), which was lost, and not told")
