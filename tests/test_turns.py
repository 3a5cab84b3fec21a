"""Work in turns: in its order, and no more of it in one turn than its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.turns import SHARE, Turns


class TurnsTests(SynchronousTestCase):
    """When calls are made; :meth:`work` makes one that takes its time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def work(self, name: str, seconds: float = 0.0) -> Callable[[], None]:
        """Return a call that keeps the reactor so long."""

        def call() -> None:
            self.clock.rightNow += seconds
            self.done.append(name)

        return call

    def turn(self) -> list[str]:
        """Let one turn of the reactor pass; return what was done in it."""
        self.done.clear()
        calls: list[Any] = list(self.clock.getDelayedCalls())
        for call in calls:  # advance() would also make those that are added meanwhile
            make = call.func
            call.cancel()
            make()
        return list(self.done)

    def test_in_order_and_not_at_once(self) -> None:
        for name in "abc":
            self.turns.later(self.work(name))
        self.assertEqual(self.done, [])
        self.assertEqual(self.turn(), ["a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [], "idle, it costs nothing")

    def test_share_of_a_turn(self) -> None:
        for name in "abcde":
            self.turns.later(self.work(name, SHARE * 0.6))
        self.assertEqual([self.turn(), self.turn(), self.turn(), self.turn()], [["a", "b"], ["c", "d"], ["e"], []])

    def test_long_one(self) -> None:
        """One call that takes more than the share is made all the same, alone."""
        self.turns.later(self.work("long", SHARE * 9))
        self.turns.later(self.work("other"))
        self.assertEqual([self.turn(), self.turn()], [["long"], ["other"]])

    def test_added_meanwhile(self) -> None:
        """What a call asks for comes in another turn, behind those that wait already."""
        self.turns.later(lambda: self.turns.later(self.work("again")))
        self.turns.later(self.work("a", SHARE))
        self.turns.later(self.work("b"))
        self.assertEqual([self.turn(), self.turn(), self.turn()], [["a"], ["b", "again"], []])

    def test_bug(self) -> None:
        """A call that raises costs the others a turn, no more."""

        def bug() -> None:
            raise ZeroDivisionError

        self.turns.later(self.work("a"))
        self.turns.later(bug)
        self.turns.later(self.work("b"))
        self.assertRaises(ZeroDivisionError, self.turn)
        self.assertEqual(self.turn(), ["b"])
