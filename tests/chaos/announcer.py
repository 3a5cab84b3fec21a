"""The publisher of Pub/Sub. Nobody can find out later whether an event without acknowledgement was published."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from tests.chaos.bodies import body_of
from tests.chaos.ledger import History
from tests.chaos.passing import PassingHistory
from tests.chaos.publisher import PATIENCE, Publisher, key_of
from tests.sources.redis.server import RedisServer


class Announcer(Publisher):
    """Publishes to channels at a steady rate, whatever happens to Redis."""

    def __init__(self, redis: RedisServer, histories: Sequence[PassingHistory], rate: float, random: Random) -> None:
        super().__init__(redis, histories, rate, random)
        self._pending: tuple[PassingHistory, int] | None = None

    def _publish(self, history: History, count: int) -> None:
        assert isinstance(history, PassingHistory)
        try:
            self._settle()
            assert self._connection is not None
            sent = self._next(history, count)
            for each in sent:
                history.send(each.number, time.monotonic())
            self._pending = (history, count)
            replies = self._connection.pipeline(
                [("PUBLISH", key_of(history.destination), body_of(history.destination, each.number)) for each in sent]
            )
        except OSError:
            self._hang_up()
            self._ends.wait(0.05)
            return
        self._pending = None
        for reply in replies:
            if not isinstance(reply, int) and not str(reply).startswith("LOADING"):
                raise AssertionError(f"Redis refused an event: {reply}")
            history.settle(isinstance(reply, int))

    def _settle(self) -> None:
        """Connect if necessary; events that were in flight on a lost connection stay uncertain."""
        if self._pending is not None:
            history, count = self._pending
            self._pending = None
            for _ in range(count):
                history.settle(False)
        if self._connection is None:
            self._connection = self._redis.connect(PATIENCE)
