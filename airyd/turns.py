"""Work that must not hold up the reactor: so much of it per turn, the rest in the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

#: Seconds of a turn after which no more of this work is begun in it.
SHARE: Final = 0.005


class Turns:
    """Makes calls in later turns, in their order; those that find a turn's share used up wait for the next one.

    :param clock: monotonic time, and the reactor's turns
    """

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def later(self, call: Callable[[], None]) -> None:
        """Make the call in another turn."""
        if not self._waiting:
            self._clock.callLater(0, self._turn)
        self._waiting.append(call)

    def _turn(self) -> None:
        waiting, self._waiting = self._waiting, deque()  # what these calls add is for another turn
        end = self._clock.seconds() + SHARE
        try:
            while waiting and self._clock.seconds() < end:
                waiting.popleft()()
        finally:  # a call that met a bug must not keep the others waiting for ever
            if waiting:
                if not self._waiting:
                    self._clock.callLater(0, self._turn)
                self._waiting.extendleft(reversed(waiting))
