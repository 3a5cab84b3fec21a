"""Work that takes a while and may wait: one piece of it per turn of the reactor, between live events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime


class Turns:
    """Deals out the reactor's turns, in the order in which they were asked for.

    :ivar clock: the reactor's
    """

    __slots__ = ("_is_taken", "_waiting", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._is_taken = False
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, piece: Callable[[], None]) -> None:
        """Call back: at once if this turn is free, else in one that is."""
        if self._is_taken:
            self._waiting.append(piece)
        else:
            self._is_taken = True
            self.clock.callLater(0, self._next)
            piece()

    def _next(self) -> None:
        if not self._waiting:
            self._is_taken = False
            return
        self.clock.callLater(0, self._next)
        self._waiting.popleft()()
