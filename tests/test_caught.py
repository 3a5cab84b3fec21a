"""Failures without a Deferred."""

from __future__ import annotations

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.caught import Caught


class CaughtTests(SynchronousTestCase):
    """What becomes of an exception."""

    def setUp(self) -> None:
        """Listen."""
        self.told: list[tuple[BaseException | None, str]] = []

    def tell(self, failure: Failure, about: str) -> None:
        """Take a failure down."""
        self.told.append((failure.value, about))

    def test_none(self) -> None:
        with Caught(self.tell, "x"):
            pass
        self.assertEqual(self.told, [])

    def test_exception(self) -> None:
        error = ValueError("no")
        with Caught(self.tell, "x"):
            raise error
        self.assertEqual(self.told, [(error, "x")])

    def test_what_ends_the_program(self) -> None:
        """It is none of the caller's business."""
        with self.assertRaises(KeyboardInterrupt), Caught(self.tell, "x"):
            raise KeyboardInterrupt
        self.assertEqual(self.told, [])
