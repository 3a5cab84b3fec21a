"""The ledger of Pub/Sub: what was published, in its order; its events have no ids but those that each node gives."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from tests.chaos.ledger import Cursor, History, Hole, Id

#: How the ids of Pub/Sub are written: the second part is hexadecimal.
_DIGITS: Final = 16


class PassingHistory(History):
    """All events of one destination that were handed to Redis, in that order; one thread writes, others may read.

    :ivar begun: when each was handed over, in monotonic time
    :ivar is_certain: whether each was published; the others may have been, or not
    :ivar settled: how many are known to be the one or the other
    """

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self.begun: list[float] = []
        self.is_certain: list[bool] = []
        self.settled = 0
        self._indices: dict[int, int] = {}

    def send(self, number: int, when: float) -> None:
        """Note an event that is about to be handed over."""
        self.begun.append(when)
        self.is_certain.append(False)
        self._indices[number] = len(self.numbers)
        self.numbers.append(number)
        self.ids.append((number, 0))

    def settle(self, is_certain: bool) -> None:
        """Note what became of the first event of which that was unknown."""
        self.is_certain[self.settled] = is_certain
        self.settled += 1

    def index(self, number: int) -> int | None:
        """Return the place of an event."""
        return self._indices.get(number)

    def certain(self, begin: int, end: int) -> list[int]:
        """Return the numbers of the events in these places that were surely published."""
        return [self.numbers[index] for index in range(begin, end) if self.is_certain[index]]

    def read(self, wire_id: str) -> Id:
        """Return what orders the ids of one node."""
        epoch, digits, number = wire_id.split("-")[-3:]
        return (int(epoch) << 48) + int(digits, _DIGITS), int(number)

    def follow(self, wire_id: str, when: float) -> Cursor:
        """Return a cursor that follows a run."""
        return PassingCursor(self, self.read(wire_id), when)


class PassingCursor(Cursor):
    """Follows one run: all that was handed to Redis after its RECEIPT must come, once, in order.

    What was on its way at that time may come or not; from the first event on nothing may be left out.
    """

    def __init__(self, history: PassingHistory, position: Id, since: float) -> None:
        super().__init__(history, position)
        self._passing = history
        self._since = since
        self._next: int | None = None

    @property
    def _begin(self) -> int:
        return bisect_right(self._passing.begun, self._since) if self._next is None else self._next

    def check(self) -> None:
        """Compare what came with the ledger, as far as that is settled; for the thread that also takes."""
        history, came = self._passing, self._came
        while came:
            _, number, when = came[0]
            index = history.index(number)
            if index is not None and index >= history.settled:
                return
            came.popleft()
            if index is None:
                self._fault(f"{number} is in no ledger")
                continue
            if self._next is not None and index < self._next:
                self._fault(f"{number} again or too late; the last was {history.numbers[self._next - 1]}")
                continue
            missing = history.certain(self._begin, index)
            if missing:
                self.holes.append(Hole(history.destination, (missing[0], 0), (missing[-1], 0), when))
            self._next = index + 1
            self.checked += 1

    @property
    def is_level(self) -> bool:
        """Whether everything that is in the ledger came, and was compared."""
        history = self._passing
        end = len(history)
        return history.settled == end and not self._came and not history.certain(self._begin, end)

    @property
    def standing(self) -> str:
        """Say how far it is, in words."""
        history = self._passing
        lacking = history.certain(self._begin, history.settled)
        return f"{history.destination}: at {self.last}, {len(lacking)} events of the ledger did not come: {lacking[:5]}"
