"""Random histories over several masters, each with the data replicated to it: every loss is reported.

A new master has all writes of the old one up to some moment, and continues with its own clock, which may be behind.
A gap must be reported for delivered entries that the new master lacks, and for entries that were not delivered.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import MIB
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import Entries
from airyd.sources.redis.linger import Linger
from airyd.sources.redis.reader import COUNTERS_EVERY, Reader
from airyd.sources.redis.stream_counters import StreamCounters
from airyd.sources.redis.stream_position import Stream, StreamInfo
from tests.sources.redis import model
from tests.sources.redis.fakes import address
from tests.sources.redis.surroundings import Surroundings

KEYS: Final = (b"p:/a", b"p:/b")
#: Writes that a replica may be behind.
LAG: Final = 8


class World(Surroundings):
    """A reader, two streams, and masters that come and go.

    :ivar written: per stream, the numbers of all entries in the history of the present master, trimmed or not
    :ivar told: per stream, the last entry that the last gap covers
    :ivar runs: per stream, the numbers of the entries delivered between two gaps
    :ivar gaps: the number of gaps of each stream
    :ivar trimmed: streams that were trimmed
    :ivar causes: how many each stream has had: losses, and what looks like one
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.milliseconds = 1000
        self.number = 0
        self.redis = model.Redis(self.clock)
        for key in KEYS:
            stream = model.Stream()
            stream.add((1000, 0), b"{}")
            self.redis.streams[key] = stream
        self.written: dict[bytes, set[int]] = {key: set() for key in KEYS}
        self.past = deque([self.copy()], LAG + 1)
        self.told = dict.fromkeys(KEYS, 0)
        self.runs: dict[bytes, list[list[int]]] = {key: [[]] for key in KEYS}
        self.gaps = dict.fromkeys(KEYS, 0)
        self.causes = dict.fromkeys(KEYS, 0)
        self.trimmed: set[bytes] = set()
        self.connections = [
            RedisConnection(address(), self.redis.endpoint, self.clock, "tests", must_be_master=True) for _ in range(2)
        ]
        reading, commands = self.connections
        counters = StreamCounters(self.clock)
        self.reader = Reader(reading, commands, counters, Linger(0), self.clock, MIB, self.deliver, self.gap)
        for connection in self.connections:
            connection.start()
            self.redis.flow()
        self.reader.start()
        for key in KEYS:
            self.reader.add(
                Stream(key.decode(), key, StreamInfo("1000-0", 1, "0-0", "1000-0", fields=[b"payload", b"{}"]))
            )
        self.redis.flow()

    def deliver(self, batch: list[tuple[Stream, Entries]]) -> None:
        """Note what was delivered."""
        for stream, entries in batch:
            self.runs[stream.key][-1] += [int(event.body[5:-1]) for event in entries.events]

    def gap(self, stream: Stream, reason: str) -> None:
        """Note the gap."""
        self.runs[stream.key].append([])
        self.gaps[stream.key] += 1
        self.told[stream.key] = self.number

    def copy(self) -> tuple[dict[bytes, model.Stream | None], dict[bytes, set[int]]]:
        """Return the data as they are now."""
        return deepcopy((self.redis.streams, self.written))

    # What may happen.

    def add(self, key: bytes, count: int) -> None:
        """XADD, with the id that Redis gives."""
        stream = self.redis.streams[key]
        assert stream is not None
        for _ in range(count):
            self.number += 1
            self.milliseconds += 1
            milliseconds, sequence = stream.last
            event_id = max((self.milliseconds, 0), (milliseconds, sequence + 1))
            stream.add(event_id, b'{"n":%d}' % self.number)
            self.written[key].add(self.number)
            self.past.append(self.copy())
        self.redis.touched()

    def trim(self, key: bytes, keep: int) -> None:
        """XTRIM; a gap follows if the removed entries were not read, or if the position is among them at a failover."""
        stream = self.redis.streams[key]
        assert stream is not None
        if stream.trim(keep):
            self.causes[key] += 2
            self.trimmed.add(key)
            self.past.append(self.copy())

    def fail_over(self, lag: int, skew: int) -> None:
        """Kill the master; a replica that is so many writes behind takes its place, by its own clock."""
        for client in list(self.redis.clients):
            client.answers.clear()
            client.session.lose()
        before = self.written
        self.redis.streams, self.written = self.past[-1 - min(lag, len(self.past) - 1)]
        self.past = deque([self.copy()], LAG + 1)
        self.redis.replication_id = f"{int(self.redis.replication_id) + 1}"
        self.milliseconds = max(1000, self.milliseconds - skew)
        for key in KEYS:
            self.causes[key] += before[key] != self.written[key]
        self.redis.serve()

    def stop(self) -> None:
        """End it."""
        self.reader.stop()
        for connection in self.connections:
            connection.stop()
        self.clock.advance(0)


_KEY = st.sampled_from(KEYS)
_STEP = st.one_of(
    st.tuples(st.just("add"), _KEY, st.integers(1, 3)),
    st.tuples(st.just("add"), _KEY, st.integers(1, 3)),
    st.tuples(st.just("trim"), _KEY, st.integers(0, 3)),
    st.tuples(st.just("fail_over"), st.integers(0, LAG), st.integers(0, 6)),
    st.tuples(st.just("cut"), st.integers(0, 1)),
    st.tuples(st.just("flow"), st.integers(0, 1)),
    st.tuples(st.just("flow"), st.integers(0, 1)),
    st.tuples(st.just("tick"), st.sampled_from([0.3, COUNTERS_EVERY])),
)


class MasterTests(SynchronousTestCase):
    """What must hold, whatever happens."""

    @settings(max_examples=150)
    @given(st.lists(_STEP, max_size=30))
    def test_random(self, steps: list[tuple[object, ...]]) -> None:
        world = World()
        for name, *arguments in steps:
            getattr(world, str(name))(*arguments)
        world.quiet()
        for key in KEYS:
            self.check(world, key)
        for key in KEYS:  # and reading goes on
            world.add(key, 2)
        world.quiet()
        for key in KEYS:
            self.assertEqual(world.runs[key][-1][-2:], sorted(world.written[key])[-2:])
        world.stop()
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def check(self, world: World, key: bytes) -> None:
        """Look at one stream when all has come to rest."""
        for run in world.runs[key]:
            self.assertEqual(run, sorted(set(run)), "twice, or out of order")
        last = set(world.runs[key][-1])
        self.assertEqual(last - world.written[key], set(), "delivered, lost, and not told")
        stream = world.redis.streams[key]
        assert stream is not None
        there = {int(entry.body[5:-1]) for entry in stream.entries if entry.body != b"{}"}
        self.assertEqual({each for each in there - last if each > world.told[key]}, set(), "missed, and not told")
        if key not in world.trimmed:
            delivered = {each for run in world.runs[key] for each in run}
            self.assertEqual(there - delivered, set(), "left out, and not lost")
        self.assertLessEqual(world.gaps[key], world.causes[key], "a false alarm")
