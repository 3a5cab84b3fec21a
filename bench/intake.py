"""How fast a Redis stream is read in bulk: by airyd with one subscriber and with many, and by redis-py.

airyd watches the stream and is stopped (SIGSTOP) while the stream is filled. Then the time and the CPU are measured
until every subscriber has every event. redis-py reads the same entries with XREAD in a loop, and does nothing with
them. Redis and the subscribers have the other core.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, NamedTuple

from bench.clients import ClientFailed, close, drain, subscribed
from bench.machine import core_time, cpu_seconds, machine_time
from bench.measure import Measurement, judge, stolen_since
from bench.scenarios import MESSAGE, Contender, Scenario
from bench.servers import Server, ServerFailed, on_core, running
from tests.sources.redis.server import Connection, RedisServer

KEY: Final = f"airyd:{MESSAGE}"
#: Bytes of an event's body.
BODY: Final = 320
#: Seconds within which the last event must come.
PATIENCE: Final = 120.0
#: Commands per pipeline while the stream is filled.
_AT_ONCE: Final = 1000


class Reading(NamedTuple):
    """The cost of reading all events.

    :ivar cpu: CPU seconds of the process that read
    :ivar load_busy: how busy the core of Redis and the subscribers was, in per cent; 0 if that was not measured
    """

    seconds: float
    cpu: float
    load_busy: float


@dataclass(frozen=True, slots=True)
class Intake:
    """Measures programs that read a stream; a contender's load is the numbers of events and of airyd's subscribers.

    :ivar server_core: for airyd or redis-py; Redis and the subscribers have :attr:`load_core`
    """

    server_core: int
    load_core: int

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        events, subscribers = (int(word) for word in contender.load)
        before = machine_time()
        try:
            with on_core(self.load_core):
                redis = RedisServer()
                try:
                    if subscribers:
                        reading = self._airyd(server, redis, events, subscribers)
                    else:
                        reading = self._redis_py(server, redis, events)
                finally:
                    redis.close()
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        values = {
            "events_per_s": events / reading.seconds,
            "cpu_us_per_event": reading.cpu / events * 1e6,
            "server_cpu_pct": 100.0 * reading.cpu / reading.seconds,
            "client_cpu_pct": reading.load_busy,
            "machine_steal_pct": stolen_since(before),
        }
        return judge(values, "", scenario.saturates)

    def _redis_py(self, server: Server, redis: RedisServer, events: int) -> Reading:
        fill(redis.connect(), events)
        with on_core(self.server_core):
            done = subprocess.run(  # noqa: S603  # a command of bench.servers, no shell
                [*server.command, str(redis.port), KEY, str(events)], capture_output=True, timeout=PATIENCE
            )
        if done.returncode:
            raise ClientFailed(f"{server.name}: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}")
        result = json.loads(done.stdout)
        return Reading(result["seconds"], result["cpu"], 0.0)

    def _airyd(self, server: Server, redis: RedisServer, events: int, subscribers: int) -> Reading:
        source = Server(server.name, (*server.command, "--source", f"redis://127.0.0.1:{redis.port}/0"))
        with running(source, self.server_core) as target:
            sockets = [subscribed(target.port, target.path).socket for _ in range(subscribers)]
            try:
                os.kill(target.pid, signal.SIGSTOP)
                fill(redis.connect(), events)
                cpu, core, begun = cpu_seconds(target.pid), core_time(self.load_core), time.monotonic()
                os.kill(target.pid, signal.SIGCONT)
                drain(dict.fromkeys(sockets, events), b"\0")
                seconds = time.monotonic() - begun
                busy, whole = (now - then for now, then in zip(core_time(self.load_core), core, strict=True))
                return Reading(seconds, cpu_seconds(target.pid) - cpu, 100.0 * busy / max(whole, 1))
            finally:
                os.kill(target.pid, signal.SIGCONT)
                close(sockets)


def missing() -> str | None:
    """Return what is missing for the measurement, or None."""
    if shutil.which("redis-server") is None:
        return "the program redis-server is missing"
    if find_spec("redis") is None:
        return "the Python package redis is missing: make test installs it"
    return None


def fill(redis: Connection, events: int) -> None:
    """Add events to the stream."""
    body = json.dumps({"conversation_id": "c", "message": {"id": "m", "content": ""}})
    body = json.dumps({"conversation_id": "c", "message": {"id": "m", "content": "x" * (BODY - len(body))}})
    for start in range(0, events, _AT_ONCE):
        redis.pipeline([("XADD", KEY, "*", "payload", body)] * min(_AT_ONCE, events - start))
    redis.close()
