"""The latency of events by Redis: Redis Streams and Redis Pub/Sub, in the same run.

airyd and its Redis share the server's core.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import LoadFailed, Measurement, Wsload, finished, judge
from bench.scenarios import Contender, Scenario
from bench.servers import Server, ServerFailed, on_core, running
from tests.sources.redis.server import RedisServer


@dataclass(frozen=True, slots=True)
class RedisLight:
    """Measures airyd with a Redis; a contender's load is the query of the source's URL."""

    wsload: Wsload

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        with on_core(self.wsload.server_core):
            redis = RedisServer()
        try:
            url = f"redis://127.0.0.1:{redis.port}/0{''.join(contender.load)}"
            source = Server(server.name, (*server.command, "--source", url))
            with running(source, self.wsload.server_core) as target:
                values, error = finished(self.wsload.start(scenario.load, target))
        except (ServerFailed, LoadFailed) as failure:
            return Measurement({}, faults=(str(failure),))
        finally:
            redis.close()
        return judge(values, error, scenario.saturates)
