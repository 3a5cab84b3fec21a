"""The CPU of one Redis by arithmetic: how many events and reading processes it carries (docs/scaling.rst).

The constants are fitted to the rows of ``python -m bench.nodes``; a test compares both.
"""

from __future__ import annotations

from typing import Final

from airyd.sources.redis.address import DEFAULT_LINGER

#: Microseconds of CPU for an XADD: one by one, and many in a pipeline.
ADD: Final = 15.0
ADD_IN_BULK: Final = 2.5
#: Microseconds for each reply to a process, and for each entry in it (bodies of 320 bytes).
REPLY: Final = 45.0
ENTRY: Final = 1.0
#: Microseconds a second for each process, even if nothing is published.
REST: Final = 300.0
#: The part of its core that Redis should use at most.
MOST: Final = 0.6


def replies(rate: float) -> float:
    """Return how many replies a second a process gets at this many events a second.

    If fewer than two events come within the linger, each has a reply of its own.
    """
    return rate if rate * DEFAULT_LINGER < 2 else 1 / (DEFAULT_LINGER + 1 / rate)


def busy_ms(rate: float, processes: int, add: float = ADD) -> float:
    """Return how many milliseconds of CPU a second costs Redis.

    :param rate: events a second
    :param add: microseconds for each XADD
    """
    reading = processes * (REST + REPLY * replies(rate) + ENTRY * rate)
    return (add * rate + reading) / 1000


def most_events(processes: int, add: float = ADD) -> float:
    """Return how many events a second Redis carries with ``MOST`` of its core."""
    low, high = 0.0, 1e6
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if busy_ms(middle, processes, add) <= 1000 * MOST else (low, middle)
    return low
