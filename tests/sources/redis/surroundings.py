"""The environment of random histories: slow and lost connections, and time."""

from __future__ import annotations

from twisted.internet.task import Clock

from airyd.sources.redis.reader import COUNTERS_EVERY
from tests.sources.redis import model


class Surroundings:
    """A Redis in memory, what connects to it, and a clock."""

    redis: model.Redis
    clock: Clock

    def cut(self, which: int) -> None:
        """Lose a connection with its replies in flight; it comes back later."""
        if which < len(self.redis.clients):
            client = self.redis.clients[which]
            client.answers.clear()
            client.session.lose()
            self.redis.serve()

    def flow(self, which: int) -> None:
        """Release the replies of one connection."""
        self.redis.serve()
        if which < len(self.redis.clients):
            self.redis.clients[which].flow()
        self.redis.serve()

    def tick(self, seconds: float) -> None:
        """Advance the clock; no reply stays in flight as long as the pause between two checks."""
        self.redis.flow()
        self.clock.advance(seconds)
        self.redis.serve()

    def quiet(self) -> None:
        """Advance the clock with no other events."""
        for _ in range(10):
            self.tick(COUNTERS_EVERY)
            self.redis.time_out()
            self.redis.flow()
