"""The ledger of Pub/Sub names each fault in a client's events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.ledger import Cursor, Hole
from tests.chaos.passing import PassingHistory

NAME = "/queue/message"
POSITION = "c102d7ca-1795564803710-9f3c2a7be0d1-17"


class PassingTests(SynchronousTestCase):
    """A run with its RECEIPT at time 3, in a history of the events 1 to 9, each sent at the time of its number.

    Whether 5 was published is not known.
    """

    def setUp(self) -> None:
        self.history = PassingHistory(NAME)
        for number in range(1, 10):
            self.history.send(number, float(number))
            self.history.settle(number != 5)

    def follow(self, *numbers: int) -> Cursor:
        """Return a cursor that got these events."""
        cursor = self.history.follow(POSITION, 3.0)
        for number in numbers:
            cursor.take((1, number), number, float(number))
        cursor.check()
        return cursor

    def test_all(self) -> None:
        for numbers in ((4, 5, 6, 7, 8, 9), (4, 6, 7, 8, 9), (2, 3, 4, 6, 7, 8, 9)):
            cursor = self.follow(*numbers)
            self.assertEqual((cursor.faults, cursor.holes, cursor.checked), ([], [], len(numbers)))
            self.assertTrue(cursor.is_level)

    def test_not_all_yet(self) -> None:
        for numbers in ((), (4,), (2,)):
            cursor = self.follow(*numbers)
            self.assertEqual((cursor.faults, cursor.holes), ([], []))
            self.assertFalse(cursor.is_level)
        self.assertIn("6 events of the ledger did not come: [3, 4, 6, 7, 8]", cursor.standing)

    def test_missing(self) -> None:
        self.assertEqual(self.follow(4, 8, 9).holes, [Hole(NAME, (6, 0), (7, 0), 8.0)])

    def test_missing_at_the_beginning(self) -> None:
        self.assertEqual(self.follow(6).holes, [Hole(NAME, (4, 0), (4, 0), 6.0)])

    def test_twice_and_out_of_order(self) -> None:
        for numbers in ((4, 4), (4, 6, 5)):
            (fault,) = self.follow(*numbers).faults
            self.assertTrue(fault.startswith(f"{NAME}: {numbers[-1]} again or too late"), fault)

    def test_unknown(self) -> None:
        self.assertEqual(self.follow(4, 77).faults, [f"{NAME}: 77 is in no ledger"])

    def test_not_settled_yet(self) -> None:
        """Events are not judged before their publisher has Redis' answer."""
        self.history.send(10, 10.0)
        self.history.send(11, 11.0)
        cursor = self.follow(4, 6, 7, 8, 9, 11)
        self.assertFalse(cursor.is_level)
        self.history.settle(False)
        self.history.settle(True)
        cursor.check()
        self.assertEqual((cursor.faults, cursor.holes), ([], []))
        self.assertTrue(cursor.is_level)

    def test_ids(self) -> None:
        """Ids of one node are ordered by its connections to Redis, then by number."""
        ids = [
            "c102d7ca-1795564803710-ffffffffffff-17",
            "c102d7ca-1795564803711-000000000000-2",
            "c102d7ca-1795564803711-000000000000-10",
        ]
        keys = [self.history.read(each) for each in ids]
        self.assertEqual(keys, sorted(set(keys)))
