"""The CPU of one Redis by arithmetic: how many events and reading processes it carries (docs/scaling.rst).

The constants are fitted to the rows of ``python -m bench.nodes``; a test compares both.
"""

from __future__ import annotations

from typing import Final

from airyd.sources.redis.address import DEFAULT_LINGER

#: Microseconds of CPU for each XADD, and for each write of a publisher: one XADD, or many in a pipeline.
ADD: Final = 2.5
WRITE: Final = 25.0
#: Microseconds for each reply to a process, and for each entry in it (bodies of 320 bytes).
REPLY: Final = 30.0
ENTRY: Final = 0.2
#: Microseconds a second for each process, even if nothing is published.
REST: Final = 800.0
#: The part of its core that Redis should use at most.
MOST: Final = 0.6


def replies(rate: float) -> float:
    """Return how many replies a second a process gets at this many events a second.

    If fewer than two events come within the linger, each has a reply of its own.
    """
    return rate if rate * DEFAULT_LINGER < 2 else 1 / (DEFAULT_LINGER + 1 / rate)


def busy_ms(rate: float, processes: int, writes: float) -> float:
    """Return how many milliseconds of CPU a second costs Redis.

    :param rate: events a second
    :param writes: the writes of publishers that carry them, a second
    """
    reading = processes * (REST + REPLY * replies(rate) + ENTRY * rate)
    return (WRITE * writes + ADD * rate + reading) / 1000


def most_events(processes: int, *, in_bulk: bool) -> float:
    """Return how many events a second Redis carries with ``MOST`` of its core.

    :param in_bulk: whether publishers write many at once; otherwise each event is a write
    """
    low, high = 0.0, 1e6
    while high - low > 1:
        middle = (low + high) / 2
        fits = busy_ms(middle, processes, 0.0 if in_bulk else middle) <= 1000 * MOST
        low, high = (middle, high) if fits else (low, middle)
    return low
