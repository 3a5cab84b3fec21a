"""A client that listens to ``/airyd/status``: a gap is no end of its connection, and begins other runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tests.chaos.client import HISTORY_LOST, Client
from tests.chaos.ledger import Cursor, History, Id, read_id
from tests.integration.wire import TEXT, decode, encode

_SUBSCRIBE = encode("SUBSCRIBE", {"id": "status", "destination": "/airyd/status"})


class Told(NamedTuple):
    """A gap that the client was told of.

    :ivar since: up to where nothing is missing
    """

    history: History
    since: Id
    when: float

    @property
    def is_right(self) -> bool:
        """Whether something after that was destroyed, or nobody can know."""
        losses = self.history.losses_until(self.when)
        return self.history.missed(self.since, losses) > 0 or any(not loss.is_told for loss in losses)

    def __repr__(self) -> str:
        return f"{self.history.destination} since {self.since}"


class OpenCursor(Cursor):
    """Follows a run that begins with the first event that comes after a gap."""

    def __init__(self, history: History, since: Id) -> None:
        super().__init__(history, since)
        self._at = len(history)
        self._has_begun = False

    def take(self, event_id: Id, number: int, when: float) -> None:
        """Note what a client got; the first is where this begins."""
        if not self._has_begun:
            self._has_begun = True
            first, second = event_id
            self._position = (first, second - 1) if second else (first - 1, 1 << 64)
            self._at = self._history.after(self._position)
        super().take(event_id, number, when)


class Listener(Client):
    """A client that is told.

    :ivar told: the gaps
    :ivar states: how often it was told of the state of the sources
    """

    def __init__(self, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        super().__init__(ports, histories, random)
        self.told: list[Told] = []
        self.states = 0

    def _send(self, *frames: bytes) -> None:
        if frames and frames[0].startswith(b"CONNECT\n"):
            login, *others = frames
            frames = (login, _SUBSCRIBE, *others)
        super()._send(*frames)

    def _take(self, first: int, payload: bytes) -> None:
        if not payload.startswith(b"MESSAGE\nsubscription:status\n"):
            super()._take(first, payload)
            return
        said = json.loads(decode(payload, TEXT, "1.2").body)
        if said["type"] == "gap":
            self._gap(said["destinations"], said["since"])
        else:
            self.states += said["type"] == "source"

    def _gap(self, destinations: list[str], since: str) -> None:
        for feed in self.feeds:
            if feed.history.destination in destinations and feed.cursor is not None:
                self.told.append(Told(feed.history, read_id(since), time.monotonic()))
                feed.runs.append(feed.cursor)
                feed.cursor = OpenCursor(feed.history, read_id(since))

    @property
    def complaints(self) -> list[str]:
        """What is wrong with what it was told, or wasn't."""
        needless = [f"a gap that is none: {told}" for told in self.told if not told.is_right]
        return [*needless, *(f"closed for a gap: {each}" for each in self.endings if each.error == HISTORY_LOST)]
