"""A blocking reader over a Redis in memory, for its tests."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import MIB
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import Entries
from airyd.sources.redis.reader import BLOCK, Reader
from airyd.sources.redis.stream_position import Stream, StreamInfo
from tests.sources.redis.fakes import Answer, FakeEndpoint, Session, address, stream_info, words

A, B = b"p:/a", b"p:/b"
#: An id after all others.
FAR = f"{2**40}-0"


def entry(event_id: str, body: bytes = b"{}") -> Answer:
    """Return an entry of an answer."""
    return [event_id.encode(), [b"payload", body]]


class ReaderCase(SynchronousTestCase):
    """A reader whose two connections the test answers.

    :ivar reading: the server side of the connection that reads
    :ivar commands: the server side of the other one
    :ivar on_delivery: called after each delivery
    :ivar on_gap: called after each gap
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [FakeEndpoint(self.clock), FakeEndpoint(self.clock)]
        self.connections = [RedisConnection(address(), endpoint, self.clock, "tests") for endpoint in self.endpoints]
        self.delivered: list[tuple[str, list[str]]] = []
        self.gaps: list[tuple[str, str]] = []
        self.on_delivery: Callable[[], object] = lambda: None
        self.on_gap: Callable[[], object] = lambda: None
        self.reader = Reader(self.connections[0], self.connections[1], self.clock, MIB, self.deliver, self.gap)
        for connection in self.connections:
            connection.start()
        for endpoint, number in zip(self.endpoints, (7, 8), strict=True):
            endpoint.sessions[0].log_in(number)
        self.reader.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop everything; no timer is left."""
        self.reader.stop()
        for connection in self.connections:
            connection.stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def reading(self) -> Session:
        return self.endpoints[0].sessions[-1]

    @property
    def commands(self) -> Session:
        return self.endpoints[1].sessions[-1]

    def deliver(self, batch: list[tuple[Stream, Entries]]) -> None:
        """Keep the ids."""
        self.on_delivery()
        self.delivered += [(stream.destination, [event.id for event in entries.events]) for stream, entries in batch]

    def gap(self, stream: Stream, reason: str) -> None:
        """Keep the gap."""
        self.on_gap()
        self.gaps.append((stream.destination, reason))

    def stream(self, key: bytes = A, read: str = "5-0", added: int = 5) -> Stream:
        """Return a stream that was read up to this id."""
        return Stream(key.decode().removeprefix("p:"), key, StreamInfo(read, added, "0-0", read))

    def assert_reads(self, **positions: str) -> int:
        """Assert that the reader sent one XREAD after these positions; return its COUNT."""
        (command,) = self.reading.asked()
        keys, ids = [f"p:/{name}" for name in positions], list(positions.values())
        self.assertEqual(command[:2], words("XREAD", "COUNT"), command)
        self.assertEqual(command[3:], words("BLOCK", int(BLOCK * 1000), "STREAMS", *keys, *ids))
        return int(command[2])

    def begin(self, *streams: Stream) -> None:
        """Add the first streams and answer the check on a new connection."""
        for stream in streams:
            self.reader.add(stream)
        asked = self.reading.asked()
        while asked and asked[0][0] == b"XINFO":
            self.reading.answer(*[self.as_it_was(streams, command[2]) for command in asked])
            again = self.reading.asked()
            asked = again
        self.first_ask = asked

    def bring(self, *arrivals: tuple[bytes, list[Answer]]) -> None:
        """Reply with entries; answer the check that none before them was removed."""
        self.reading.asked()
        self.reading.answer([[key, entries] for key, entries in arrivals])
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", key) for key, _ in arrivals])
        about = stream_info(FAR, 10**6, newest=FAR, oldest="1-0", length=10**6)  # there is more to read
        self.reading.answer(*[about for _ in arrivals])

    def as_it_was(self, streams: tuple[Stream, ...], key: bytes) -> Answer:
        """Return the XINFO of an unchanged stream."""
        (stream,) = [each for each in streams if each.key == key]
        known = stream.snapshot()
        return stream_info(known.read, known.added, newest=known.read)
