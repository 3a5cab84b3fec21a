"""The baseline of the intake: redis-py with hiredis, reading a stream by XREAD in a loop.

``python -m bench.redis_reader PORT KEY COUNT`` prints the seconds and CPU seconds as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time

from redis import Redis

#: Entries per reply: with bodies of 320 bytes about 1 MiB, like airyd's replies.
_AT_ONCE = 3000


def main(port: int, key: str, wanted: int) -> None:
    """Read ``count`` entries, and print how long that took."""
    with Redis(port=port) as redis:
        redis.ping()
        last, count = b"0-0", 0
        begun, cpu = time.monotonic(), time.process_time()
        while count < wanted:
            ((_, entries),) = redis.xread({key: last}, count=_AT_ONCE)
            last = entries[-1][0]
            count += len(entries)
        result = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
