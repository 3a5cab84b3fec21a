"""Publishes each line of standard input, a JSON object, and prints its id: python publish.py DESTINATION."""

from __future__ import annotations

import json
import os
import sys

from redis import Redis


def publish(redis: Redis, destination: str, event: object) -> str:
    """Add an event to the stream of its destination; return its id."""
    entry_id = redis.xadd(f"airyd:{destination}", {"payload": json.dumps(event)}, maxlen=10_000, approximate=True)
    return entry_id.decode()


if __name__ == "__main__":
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    login = {"username": os.environ.get("REDIS_USER"), "password": os.environ.get("REDIS_PASSWORD")}
    with Redis.from_url(url, **login) as redis:
        for line in sys.stdin:
            print(publish(redis, sys.argv[1], json.loads(line)))
