"""What a Deferred has brought, if it has."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.deferreds import Caught, result_of


class ResultTests(SynchronousTestCase):
    """Of each kind of Deferred."""

    def check(self, deferred: Deferred[str], wanted: str | None) -> None:
        """Look at it twice: that changes nothing."""
        for _ in range(2):
            self.assertEqual(result_of(deferred), wanted)

    def test_fired(self) -> None:
        self.check(succeed("x"), "x")
        self.check(succeed("x").addCallback(str.upper), "X")

    def test_not_fired(self) -> None:
        self.check(Deferred(), None)

    def test_waits_for_another(self) -> None:
        other = Deferred[str]()
        waiting = succeed("x").addCallback(lambda _: other)
        self.check(waiting, None)
        other.callback("y")
        self.check(waiting, "y")

    def test_failed(self) -> None:
        """The failure stays with it."""
        failed = Deferred[str]()
        failed.errback(ValueError("x"))
        self.check(failed, None)
        self.failureResultOf(failed, ValueError)


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
