"""The ledger: which events were published and destroyed, and hence which a client must get."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import Final, NamedTuple

#: The two numbers of a stream entry's id.
Id = tuple[int, int]
#: The most faults that a cursor records.
MOST_FAULTS: Final = 5


def read_id(text: str) -> Id:
    """Return the two numbers of an id of Redis or of a ``message-id``."""
    first, second = text.split("-")[-2:]
    return int(first), int(second)


class Loss(NamedTuple):
    """The destruction of all entries of a stream so far.

    :ivar upto: the last id before it
    :ivar when: monotonic time just after it
    :ivar is_told: whether Redis' counters still show how many entries there were (XTRIM), so that a node that has read
        all of them knows that nothing was missed; after DEL, FLUSHALL and SET it cannot know
    """

    upto: Id
    when: float
    is_told: bool


class Hole(NamedTuple):
    """Events that a client did not get, although it got later ones.

    :ivar last: the id of the last missing event
    :ivar when: monotonic time of the event after them
    """

    destination: str
    first: Id
    last: Id
    when: float


class History:
    """All acknowledged events of one destination, in order; one thread writes, others may read.

    :ivar ids: the ids of the entries
    :ivar numbers: the numbers in the events' bodies
    """

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.ids: list[Id] = []
        self.numbers: list[int] = []
        self.losses: list[Loss] = []

    @property
    def whole(self) -> History:
        """The history of all events of the destination, of which this may be a share."""
        return self

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, event_id: Id, number: int) -> None:
        """Add an event that Redis acknowledged."""
        if self.ids and event_id <= self.ids[-1]:
            raise AssertionError(f"Redis gave {event_id} after {self.ids[-1]}")
        self.numbers.append(number)
        self.ids.append(event_id)  # last, because readers go by its length

    def read(self, wire_id: str) -> Id:
        """Return the id in a ``message-id``."""
        return read_id(wire_id)

    def follow(self, wire_id: str, when: float) -> Cursor:
        """Return a cursor that checks a run.

        :param wire_id: the position in the RECEIPT
        :param when: monotonic time of the RECEIPT
        """
        return Cursor(self, self.read(wire_id))

    def after(self, event_id: Id) -> int:
        """Return the index of the first event after an id."""
        return bisect_right(self.ids, event_id)

    def missed(self, last: Id, losses: list[Loss]) -> int:
        """Return how many events after ``last`` these losses destroyed."""
        if not losses:
            return 0
        return max(0, bisect_right(self.ids, max(loss.upto for loss in losses)) - self.after(last))

    def losses_until(self, when: float) -> list[Loss]:
        """Return the losses before a time."""
        return [loss for loss in self.losses if loss.when <= when]


class Cursor:
    """Checks one run: from a position on, a client must get every event once and in order.

    :ivar last: the id of the last event; at first, the position
    :ivar faults: the first few things that were wrong, apart from holes, as texts
    :ivar holes: the events that did not come
    :ivar checked: how many events were compared with the ledger
    """

    def __init__(self, history: History, position: Id) -> None:
        self.last = position
        self.faults: list[str] = []
        self.holes: list[Hole] = []
        self.checked = 0
        self._history = history
        self._position = position
        self._at = history.after(position)
        self._came: deque[tuple[Id, int, float]] = deque()
        self._told: list[float] = []

    def tell(self, when: float) -> None:
        """Record the notice of a gap; after it only lost events may be missing."""
        self._told.append(when)

    def take(self, event_id: Id, number: int, when: float) -> None:
        """Record an event that the client got, and when; the ledger may get it later than the client."""
        self.last = event_id
        self._came.append((event_id, number, when))

    def check(self) -> None:
        """Compare the recorded events with the ledger so far; call it only in the thread that calls :meth:`take`."""
        ids, came = self._history.ids, self._came
        end = len(ids)
        while self._at < end and ids[self._at] <= self._position:  # acknowledged late
            self._at += 1
        while came and self._at < end:
            event_id, number, when = came.popleft()
            if event_id == ids[self._at] and number == self._history.numbers[self._at]:
                self._at += 1
                self.checked += 1
            else:
                self._compare(event_id, number, when)

    def _compare(self, event_id: Id, number: int, when: float) -> None:
        """Record what is wrong with an event that is not the expected one, and continue after it."""
        ids, expected = self._history.ids, self._at
        index = bisect_left(ids, event_id)
        if index == len(ids) or ids[index] != event_id:
            self._fault(f"{event_id} (number {number}) is in no ledger")
        elif self._history.numbers[index] != number:
            self._fault(f"{event_id} has the body of {number}, not of {self._history.numbers[index]}")
        elif index > expected:
            self.holes.append(Hole(self._history.destination, ids[expected], ids[index - 1], when))
            self._at = index + 1
        else:
            self._fault(f"{event_id} (number {number}) again or too late; the last was {ids[expected - 1]}")

    def _fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(f"{self._history.destination}: {text}")

    @property
    def is_level(self) -> bool:
        """Whether all events of the ledger came and were compared, except those whose loss was reported."""
        if self._came:
            return False
        if self._at == len(self._history.ids):
            return True
        losses = self._history.losses_until(self._told[-1]) if self._told else []
        return any(self._history.ids[-1] <= loss.upto for loss in losses)

    @property
    def standing(self) -> str:
        """The state of the comparison, as text."""
        return (
            f"{self._history.destination}: at {self.last}, {len(self._history.ids) - self._at} events of the ledger "
            f"did not come, {len(self._came)} came that it doesn't have"
        )
