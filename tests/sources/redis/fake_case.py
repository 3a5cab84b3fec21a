"""A source over a Redis in memory, whose replies the test sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.interfaces import IEventSource, SourceContext
from airyd.limits import Limits
from airyd.sources.redis.client import RedisClient
from tests.sources.redis.fakes import FakeEndpoint, address_of
from tests.sources.support import START, RecordingSink

S = TypeVar("S", bound=IEventSource)


class FakeRedisCase(SynchronousTestCase):
    """A test with one source, which has connected and is not logged in.

    :ivar endpoint: Redis' end of its connections
    :ivar started: what its start has returned
    """

    source: IEventSource

    def start_source(
        self,
        make: Callable[[RedisClient, SourceContext], S],
        destinations: Sequence[str] = (),
        sink: RecordingSink | None = None,
        body_limit: int = Limits().body,
    ) -> S:
        """Return a source that was started; it is stopped at the end."""
        self.clock = Clock()
        self.endpoint = FakeEndpoint(self.clock)
        context = SourceContext(
            cast(Any, self.clock), lambda: START + self.clock.seconds(), destinations, body_limit=body_limit
        )
        source = make(RedisClient(address_of(self.endpoint), context.reactor), context)
        self.started = source.start(sink or RecordingSink())
        self.addCleanup(self.stop)
        return source

    def stop(self) -> None:
        """Stop the source; no timer is left."""
        stopped = self.source.stop()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
