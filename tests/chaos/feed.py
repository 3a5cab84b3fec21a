"""One destination as a client sees it, over all its connections."""

from __future__ import annotations

from tests.chaos.ledger import Cursor, History, read_id


class Feed:
    """The runs of a subscription, and where the present one stands.

    :ivar cursor: follows the present run; None before the first subscription
    :ivar runs: all runs but the present one
    :ivar is_joining: whether a SUBSCRIBE waits for its RECEIPT
    :ivar is_live: whether a SUBSCRIBE has its RECEIPT
    :ivar asked: the position that the last SUBSCRIBE named, or ""
    :ivar forgets: whether the next SUBSCRIBE names none
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.cursor: Cursor | None = None
        self.runs: list[Cursor] = []
        self.is_joining = False
        self.is_live = False
        self.asked = ""
        self.forgets = False
        self._tag = ""

    @property
    def last_id(self) -> str:
        """The ``message-id`` from which this can be resumed, or "" before the first subscription."""
        return "" if self.cursor is None else f"{self._tag}-{self.cursor.last[0]}-{self.cursor.last[1]}"

    def begin(self, wire_id: str) -> None:
        """Begin a run at a position."""
        if self.cursor is not None:
            self.runs.append(self.cursor)
        self._tag = wire_id.partition("-")[0]
        self.cursor = Cursor(self.history, read_id(wire_id))

    @property
    def cursors(self) -> list[Cursor]:
        """All runs."""
        return self.runs if self.cursor is None else [*self.runs, self.cursor]
