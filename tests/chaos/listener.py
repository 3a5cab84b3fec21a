"""A client that listens to ``/airyd/status``: after a gap it must get all that Redis has not lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tests.chaos.client import HISTORY_LOST, Client
from tests.chaos.ledger import History, Hole, Id, read_id
from tests.integration.wire import TEXT, decode, encode


class Told(NamedTuple):
    """A notice of a gap that the client got.

    :ivar since: the last id before the gap
    """

    history: History
    since: Id
    when: float

    @property
    def is_right(self) -> bool:
        """Whether events after ``since`` were destroyed, or may have been."""
        losses = self.history.losses_until(self.when)
        return self.history.missed(self.since, losses) > 0 or any(not loss.is_told for loss in losses)

    def __repr__(self) -> str:
        return f"{self.history.destination} since {self.since}"


class Listener(Client):
    """A client that subscribes to ``/airyd/status``.

    :ivar told: the notices of gaps
    :ivar states: how many notices of the sources' state it got
    """

    _first_frames = (encode("SUBSCRIBE", {"id": "status", "destination": "/airyd/status"}),)

    def __init__(self, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        super().__init__(ports, histories, random)
        self.told: list[Told] = []
        self.states = 0

    def _take(self, frame: bytes) -> None:
        if not frame.startswith(b"MESSAGE\nsubscription:status\n"):
            super()._take(frame)
            return
        said = json.loads(decode(frame, TEXT, "1.2").body)
        if said["type"] == "gap":
            self._gap(said["destinations"], said["since"])
        else:
            self.states += said["type"] == "source"

    def _gap(self, destinations: list[str], since: str) -> None:
        for feed in self.feeds:
            if feed.history.destination in destinations and feed.cursor is not None:
                self.told.append(Told(feed.history.whole, read_id(since), self._now))
                feed.cursor.tell(self._now)

    def is_told(self, hole: Hole) -> bool:
        """Return whether the notice of a gap came after the loss of these events and before later events."""
        lost = [loss.when for each in self.told for loss in each.history.losses if hole.last <= loss.upto]
        return any(
            told.history.destination == hole.destination and min(lost, default=hole.when) <= told.when <= hole.when
            for told in self.told
        )

    @property
    def closes(self) -> list[str]:
        """Gaps for which it was closed, although it should have got a notice."""
        return [f"closed for a gap: {each}" for each in self.endings if each.error == HISTORY_LOST]


def let_some_listen(clients: list[Client], ports: Sequence[int], seed: int) -> None:
    """Replace every second client by a listener."""
    for number, client in enumerate(clients[::2]):
        histories = [feed.history for feed in client.feeds]
        clients[2 * number] = Listener(ports, histories, Random(seed + number))
