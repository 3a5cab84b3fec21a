"""One destination as a client sees it, over all its connections."""

from __future__ import annotations

from tests.chaos.ledger import Cursor, History


class Feed:
    """The runs of a subscription, and the state of the present one.

    A run is the series of events from one RECEIPT on; a resume that is recovered continues it.

    :ivar cursor: the present run; None before the first subscription
    :ivar runs: all earlier runs
    :ivar is_joining: whether a SUBSCRIBE waits for its RECEIPT
    :ivar is_live: whether a SUBSCRIBE has its RECEIPT
    :ivar asked: the position in the last SUBSCRIBE, or ""
    :ivar forgets: whether the next SUBSCRIBE has no position
    :ivar last_id: the ``message-id`` to resume after, or "" before the first subscription
    :ivar seen: the node that gave ``last_id``, and when
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.cursor: Cursor | None = None
        self.runs: list[Cursor] = []
        self.is_joining = False
        self.is_live = False
        self.asked = ""
        self.forgets = False
        self.last_id = ""
        self.seen = (0, 0.0)

    def begin(self, wire_id: str, node: int, when: float) -> None:
        """Begin a run at a position."""
        if self.cursor is not None:
            self.runs.append(self.cursor)
        self.cursor = self.history.follow(wire_id, when)
        self.last_id, self.seen = wire_id, (node, when)

    def take(self, wire_id: str, number: int, node: int, when: float) -> None:
        """Add an event to the present run."""
        assert self.cursor is not None
        self.cursor.take(self.history.read(wire_id), number, when)
        self.last_id, self.seen = wire_id, (node, when)

    @property
    def cursors(self) -> list[Cursor]:
        """All runs."""
        return self.runs if self.cursor is None else [*self.runs, self.cursor]
