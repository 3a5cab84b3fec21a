"""One piece of work per turn of the reactor."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.hub.turns import Turns


class Reactor(Clock):
    """A clock that, like a real reactor, leaves for the next turn what a timed call asks for."""

    def turn(self) -> None:
        """Make the timed calls that wait now."""
        waiting, self.calls = self.calls, []
        for call in waiting:
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnsTests(SynchronousTestCase):
    """What is done when."""

    def setUp(self) -> None:
        self.clock = Reactor()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def take(self, name: str, *then: str) -> None:
        """Take a turn for this, which takes more turns."""

        def piece() -> None:
            self.done.append(name)
            for other in then:
                self.take(other)

        self.turns.take(piece)

    def test_alone(self) -> None:
        """Nobody waits for nothing."""
        self.take("a")
        self.assertEqual(self.done, ["a"])
        self.clock.turn()
        self.take("b")
        self.assertEqual(self.done, ["a", "b"])

    def test_one_after_the_other(self) -> None:
        for name in "abc":
            self.take(name)
        for done in ("a", "ab", "abc"):
            self.assertEqual("".join(self.done), done)
            self.clock.turn()

    def test_who_has_more_comes_after_the_others(self) -> None:
        self.take("a", "a2")
        self.take("b", "b2")
        for done in ("a", "aa2", "aa2b", "aa2bb2"):
            self.assertEqual("".join(self.done), done)
            self.clock.turn()

    def test_idle(self) -> None:
        """Without work there is no timer."""
        self.take("a", "b")
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
