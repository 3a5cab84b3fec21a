"""Clients with a token and a row filter of their own: each must get its share of the events, and nothing else."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from airyd.cli.token import mint
from tests.chaos.bodies import SHARES
from tests.chaos.feed import Feed
from tests.chaos.ledger import History, Id
from tests.chaos.nodes import Node
from tests.chaos.publisher import Publisher
from tests.chaos.stage import DESTINATIONS, Stage

_SECRET: Final = b"a secret of the chaos tests, of 32 bytes or more"
_LIFETIME: Final = 86_400


class Share(History):
    """One share of a destination's events; its losses are those of the whole."""

    def __init__(self, whole: History) -> None:
        super().__init__(whole.destination)
        self.losses = whole.losses
        self._whole = whole

    @property
    def whole(self) -> History:
        """See ``History``."""
        return self._whole


class SharedHistory(History):
    """A history with shares.

    :ivar shares: the shares, by their number
    """

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self.shares = [Share(self) for _ in range(SHARES)]

    def add(self, event_id: Id, number: int) -> None:
        """See ``History``."""
        super().add(event_id, number)
        self.shares[number % SHARES].add(event_id, number)


class PrivateStage(Stage):
    """A stage on which each client sees one share of each destination, by a row filter that no other client has."""

    def __init__(
        self, *, clients: int, rate: float, seed: int, scale: float = 1.0, slack: float = 1.0, plant: str = ""
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="airyd-chaos-")
        super().__init__(clients=clients, rate=rate, seed=seed, scale=scale, slack=slack, plant=plant)
        for number, client in enumerate(self.crowd.clients):
            share = number % SHARES
            histories = [each for each in self.shared if any(feed.history is each for feed in client.feeds)]
            client.feeds = [Feed(history.shares[share]) for history in histories]
            only = {"share": [str(share), f"of client {number}"]}
            client.token = mint(_SECRET, False, f"user-{number}", time.time(), _LIFETIME, {"only": only})

    def make_node(self, plant: str) -> Node:
        """See ``Stage``."""
        secret = Path(self._directory.name, "secret")
        secret.write_bytes(_SECRET)
        return Node(self.redis.port, plant, options=[f"--auth=jwt:secret-file={secret}"])

    def make_feed(self, rate: float, random: Random) -> None:
        """See ``Stage``."""
        self.shared = [SharedHistory(destination) for destination in DESTINATIONS]
        self.histories = [*self.shared]
        self.publisher = Publisher(self.redis, self.histories, rate, random)

    def close(self) -> None:
        """See ``Stage``."""
        super().close()
        self._directory.cleanup()
