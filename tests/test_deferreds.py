"""The helpers that read the result of a Deferred."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from airyd.deferreds import result_of


class ResultTests(SynchronousTestCase):
    """The result of Deferreds in each state."""

    def check(self, deferred: Deferred[str], wanted: str | None) -> None:
        """Check the result twice: reading it changes nothing."""
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
        """The Deferred keeps its failure."""
        failed = Deferred[str]()
        failed.errback(ValueError("x"))
        self.check(failed, None)
        self.failureResultOf(failed, ValueError)
