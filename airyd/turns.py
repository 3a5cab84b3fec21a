"""Work that takes a while and may wait: so much of it per turn of the reactor, between the live events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

#: Seconds of a turn after which no more of this work is begun in it.
SHARE: Final = 0.002


class Turns:
    """Deals out the reactor's turns, in the order in which they were asked for.

    :param clock: monotonic time, and the reactor's turns
    """

    __slots__ = ("_clock", "_is_taken", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._is_taken = False
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, piece: Callable[[], None]) -> None:
        """Call back: at once if nobody has had this turn, else in one of the next."""
        if self._is_taken:
            self._waiting.append(piece)
        else:
            self._is_taken = True
            self._clock.callLater(0, self._next)
            piece()

    def _next(self) -> None:
        if not self._waiting:
            self._is_taken = False
            return
        self._clock.callLater(0, self._next)  # first: a piece that meets a bug must not keep the others waiting
        end = self._clock.seconds() + SHARE
        while self._waiting and self._clock.seconds() < end:
            self._waiting.popleft()()
