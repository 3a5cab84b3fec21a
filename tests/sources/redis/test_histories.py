"""Random histories of two streams, read over slow connections that break: every loss is reported as a gap.

The model (``tests.sources.redis.model``) knows which entries were removed before they could be read. Two invariants
hold: without a gap every entry was delivered, and a gap is reported only after a loss or a replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import MIB
from airyd.sources.redis import stream_position as stream_module
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import Entries
from airyd.sources.redis.linger import Linger
from airyd.sources.redis.reader import COUNTERS_EVERY, Reader
from airyd.sources.redis.stream_counters import StreamCounters
from tests.sources.redis import model
from tests.sources.redis.fakes import address
from tests.sources.redis.surroundings import Surroundings

KEYS: Final = (b"p:/a", b"p:/b")
#: Entries that a stream has had when it is first looked at: more than one history adds.
BEFORE: Final = 1000
#: Seconds within which the same gap may be reported again: a reply to an older command was in flight.
SAME_GAP: Final = 2 * COUNTERS_EVERY + 0.5


@dataclass
class Record:
    """The history of one stream's entries; their bodies are numbers.

    :ivar added: at which step each was added
    :ivar destroyed: which entries each step destroyed, read or not
    :ivar deleted: those that an XDEL destroyed
    :ivar got: those delivered, in order, between two gaps
    :ivar gaps: the step and the time of each gap
    :ivar replaced: at which steps the stream was deleted or became something else
    :ivar low: entries that got an id below those that were read, in a stream that came after another
    """

    added: dict[int, int] = field(default_factory=dict)
    destroyed: dict[int, set[int]] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    got: list[list[int]] = field(default_factory=lambda: [[]])
    gaps: list[tuple[int, float]] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    low: set[int] = field(default_factory=set)


class World(Surroundings):
    """Two streams, a reader, and what may happen to them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.step = 0
        self.milliseconds = 1000
        self.number = 0
        self.redis = model.Redis(self.clock)
        self.records = {key: Record() for key in KEYS}
        for key in KEYS:
            stream = model.Stream(BEFORE - 1)
            stream.add((1000, 0), b"{}")
            self.redis.streams[key] = stream
        connections = [RedisConnection(address(), self.redis.endpoint, self.clock, "tests") for _ in range(2)]
        reading, commands = connections
        counters = StreamCounters(self.clock)
        self.reader = Reader(reading, commands, counters, Linger(0), self.clock, MIB, self.deliver, self.gap)
        for connection in connections:
            connection.start()
            self.redis.flow()
        self.connections = connections
        self.reader.start()
        for key in KEYS:
            info = stream_module.StreamInfo("1000-0", BEFORE, "0-0", "1000-0")
            self.reader.add(stream_module.Stream(key.decode(), key, info))
        self.redis.flow()

    def deliver(self, batch: list[tuple[stream_module.Stream, Entries]]) -> None:
        """Note what was delivered."""
        for stream, entries in batch:
            self.records[stream.key].got[-1] += [int(event.body[5:-1]) for event in entries.events]

    def gap(self, stream: stream_module.Stream, reason: str) -> None:
        """Note the gap."""
        record = self.records[stream.key]
        record.got.append([])
        record.gaps.append((self.step, self.clock.seconds()))

    # What may happen. A key that is not a stream takes no entries.

    def stream(self, key: bytes) -> model.Stream | None:
        """Return the stream, which may have to be made; None if the key is something else."""
        return self.redis.streams.setdefault(key, model.Stream())

    def add(self, key: bytes, count: int) -> None:
        """XADD; a stream that is deleted comes into being again."""
        stream = self.stream(key)
        if stream is not None:
            for _ in range(count):
                self.number += 1
                self.milliseconds += 1
                stream.add((self.milliseconds, 0), b'{"n":%d}' % self.number)
                self.records[key].added[self.number] = self.step

    def add_low(self, key: bytes) -> None:
        """XADD with an id of the publisher's own, as low as it may be."""
        stream = self.stream(key)
        if stream is not None:
            self.number += 1
            if self.is_young(key):
                self.records[key].low.add(self.number)
            stream.add((stream.last[0], max(stream.last[1], self.number)), b'{"n":%d}' % self.number)
            self.records[key].added[self.number] = self.step

    def destroy(self, key: bytes, entries: list[model.Entry]) -> None:
        """Note that these were removed."""
        self.records[key].destroyed[self.step] = {int(entry.body[5:-1]) for entry in entries if entry.body != b"{}"}

    def trim(self, key: bytes, keep: int) -> None:
        """XTRIM."""
        stream = self.redis.streams.get(key)
        if stream is not None:
            self.destroy(key, stream.trim(keep))

    def delete_entry(self, key: bytes, index: int) -> None:
        """XDEL."""
        stream = self.redis.streams.get(key)
        if stream is not None and stream.entries:
            self.destroy(key, [stream.delete(index % len(stream.entries))])
            self.records[key].deleted |= self.records[key].destroyed[self.step]

    def is_young(self, key: bytes) -> bool:
        """Return whether this stream replaced another one; then the history must not replace it again.

        Otherwise the counters could by chance be the expected ones, and Redis has no other evidence; and a stream
        could appear and vanish without the reader's knowledge.
        """
        stream = self.redis.streams.get(key)
        return stream is not None and stream.added < BEFORE

    def delete(self, key: bytes) -> None:
        """DEL."""
        if key in self.redis.streams and not self.is_young(key):
            stream = self.redis.streams.pop(key)
            self.destroy(key, [] if stream is None else stream.entries)
            self.records[key].replaced.append(self.step)

    def overwrite(self, key: bytes) -> None:
        """SET."""
        if self.is_young(key):
            return
        self.delete(key)
        self.redis.streams[key] = None
        self.records[key].replaced.append(self.step)


_KEY = st.sampled_from(KEYS)
_STEP = st.one_of(
    st.tuples(st.just("add"), _KEY, st.integers(1, 5)),
    st.tuples(st.just("add"), _KEY, st.integers(1, 5)),
    st.tuples(st.just("add_low"), _KEY),
    st.tuples(st.just("trim"), _KEY, st.integers(0, 4)),
    st.tuples(st.just("delete_entry"), _KEY, st.integers(0, 5)),
    st.tuples(st.just("delete"), _KEY),
    st.tuples(st.just("overwrite"), _KEY),
    st.tuples(st.just("cut"), st.integers(0, 1)),
    st.tuples(st.just("flow"), st.integers(0, 1)),
    st.tuples(st.just("flow"), st.integers(0, 1)),
    st.tuples(st.just("tick"), st.sampled_from([0.3, COUNTERS_EVERY])),
)
#: What is done in one MULTI: a blocked reader sees only its result.
_STEPS = st.lists(st.lists(_STEP, min_size=1, max_size=3), max_size=25)


class HistoryTests(SynchronousTestCase):
    """The two invariants."""

    @settings(max_examples=150)
    @given(_STEPS)
    def test_random(self, steps: list[list[tuple[object, ...]]]) -> None:
        world = World()
        for transaction in steps:
            for name, *arguments in transaction:
                world.step += 1
                getattr(world, str(name))(*arguments)
            world.redis.touched()
        world.step += 1
        world.quiet()
        for key in KEYS:
            self.check(world, key)
        world.reader.stop()
        for connection in world.connections:
            connection.stop()
        world.clock.advance(0)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def check(self, world: World, key: bytes) -> None:
        """Check one stream after everything has settled."""
        record = world.records[key]
        for got in record.got:
            self.assertEqual(got, sorted(set(got)), f"twice, or out of order: {record}")
        missed = set(record.added) - {number for got in record.got for number in got}
        last_gap = max((step for step, _ in record.gaps), default=-1)
        untold = {number for number in missed if record.added[number] > last_gap}
        self.assertEqual(untold, set(), f"missed and not told: {record}")
        # A gap is reported before later entries are delivered, except after an XDEL.
        for number, got in enumerate(record.got):
            told = record.gaps[number - 1][0] if number else -1
            if record.deleted:
                break
            late = {each for each in missed if record.added[each] > told and each < max(got, default=0)}
            self.assertEqual(late, set(), f"told too late: {record}")
        gone = record.low.union(*record.destroyed.values())
        self.assertEqual(missed - gone, set(), f"left out, and not lost: {record}")
        losses = [step for step, numbers in record.destroyed.items() if numbers & missed]
        causes = sorted({*record.replaced, *losses})
        count, before = 0, -SAME_GAP
        for step, when in record.gaps:
            if when > before + SAME_GAP:
                count += 1
                self.assertLessEqual(count, sum(cause <= step for cause in causes), f"a false alarm: {record}")
            before = when
