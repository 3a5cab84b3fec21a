"""What random histories have around them, whatever happens to the data: connections that are slow, or cut, and time."""

from __future__ import annotations

from twisted.internet.task import Clock

from airyd.sources.redis.reader import COUNTERS_EVERY
from tests.sources.redis import model


class Surroundings:
    """A Redis in memory, what connects to it, and a clock."""

    redis: model.Redis
    clock: Clock

    def cut(self, which: int) -> None:
        """Lose a connection, with what was on its way; it is back after a while."""
        if which < len(self.redis.clients):
            client = self.redis.clients[which]
            client.answers.clear()
            client.session.lose()
            self.redis.serve()

    def flow(self, which: int) -> None:
        """Let through what one connection has to bring."""
        self.redis.serve()
        if which < len(self.redis.clients):
            self.redis.clients[which].flow()
        self.redis.serve()

    def tick(self, seconds: float) -> None:
        """Let time pass; no answer is under way for as long as the pause between two looks."""
        self.redis.flow()
        self.clock.advance(seconds)
        self.redis.serve()

    def quiet(self) -> None:
        """Let time pass in which nothing happens but what is due."""
        for _ in range(10):
            self.tick(COUNTERS_EVERY)
            self.redis.time_out()
            self.redis.flow()
