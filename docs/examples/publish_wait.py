"""Publishes each line of standard input by way of Sentinel: python publish_wait.py DESTINATION.

Prints the id of each event once a replica has it, too.
"""

from __future__ import annotations

import json
import os
import sys

from redis import ConnectionError, Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ReadOnlyError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

#: A failover may take this long: some 20 attempts, at most 2 seconds apart.
PATIENCE = Retry(ExponentialBackoff(cap=2), 20, (ConnectionError, TimeoutError, ReadOnlyError))


def publish(master: Redis, destination: str, event: object) -> str:
    """Add an event to the stream of its destination; return its id when one replica at least has it."""

    def attempt() -> str:
        with master.pipeline(transaction=False) as both:  # WAIT is for what the same connection has written
            both.xadd(f"airyd:{destination}", {"payload": json.dumps(event)}, maxlen=10_000, approximate=True)
            both.wait(1, 1000)
            entry_id, replicas = both.execute()
        if not replicas:
            raise TimeoutError("no replica has it")
        return entry_id.decode()

    return PATIENCE.call_with_retry(attempt, lambda error: None)


if __name__ == "__main__":
    places = [each.rsplit(":", 1) for each in os.environ.get("SENTINELS", "127.0.0.1:26379").split(",")]
    login = {"username": os.environ.get("REDIS_USER"), "password": os.environ.get("REDIS_PASSWORD")}
    sentinel = Sentinel([(host, int(port)) for host, port in places], socket_timeout=1)
    with sentinel.master_for(os.environ.get("MASTER", "mymaster"), socket_timeout=3, **login) as master:
        for line in sys.stdin:
            print(publish(master, sys.argv[1], json.loads(line)), flush=True)
