"""The ledger of Pub/Sub: the published events in order. Redis gives them no ids; each node gives its own."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from tests.chaos.ledger import Cursor, History, Hole, Id

#: The base of the second part of Pub/Sub's ids.
_DIGITS: Final = 16


class PassingHistory(History):
    """All events of one destination that were sent to Redis, in order; one thread writes, others may read.

    :ivar begun: monotonic time just before each was sent
    :ivar is_certain: whether each was published for certain
    :ivar settled: for how many ``is_certain`` is final
    """

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self.begun: list[float] = []
        self.is_certain: list[bool] = []
        self.settled = 0
        self._indices: dict[int, int] = {}

    def send(self, number: int, when: float) -> None:
        """Add an event that is about to be sent."""
        self.begun.append(when)
        self.is_certain.append(False)
        self._indices[number] = len(self.numbers)
        self.numbers.append(number)
        self.ids.append((number, 0))

    def settle(self, is_certain: bool) -> None:
        """Record whether the first unsettled event was published for certain."""
        self.is_certain[self.settled] = is_certain
        self.settled += 1

    def index(self, number: int) -> int | None:
        """Return the index of an event; None if it was never sent."""
        return self._indices.get(number)

    def certain(self, begin: int, end: int) -> list[int]:
        """Return the numbers of those events in a range of indices that were published for certain."""
        return [self.numbers[index] for index in range(begin, end) if self.is_certain[index]]

    def read(self, wire_id: str) -> Id:
        """Return a value by which ids of one node are ordered."""
        epoch, digits, number = wire_id.split("-")[-3:]
        return (int(epoch) << 48) + int(digits, _DIGITS), int(number)

    def follow(self, wire_id: str, when: float) -> Cursor:
        """Return a cursor that checks a run."""
        return PassingCursor(self, self.read(wire_id), when)


class PassingCursor(Cursor):
    """Checks one run: all events that were sent to Redis after its RECEIPT must come once and in order.

    Events that were in flight then may come or not; after the first one that comes, none may be missing.
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
        """Compare the recorded events with the settled ones; call it only in the thread that calls :meth:`take`."""
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
        """Whether all events of the ledger came and were compared."""
        history = self._passing
        end = len(history)
        return history.settled == end and not self._came and not history.certain(self._begin, end)

    @property
    def standing(self) -> str:
        """The state of the comparison, as text."""
        history = self._passing
        lacking = history.certain(self._begin, history.settled)
        return f"{history.destination}: at {self.last}, {len(lacking)} events of the ledger did not come: {lacking[:5]}"
