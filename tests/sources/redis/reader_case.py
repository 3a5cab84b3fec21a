"""A blocking reader over a Redis in memory, for its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import MIB
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import Entries
from airyd.sources.redis.linger import Linger
from airyd.sources.redis.reader import BLOCK, Reader
from airyd.sources.redis.stream_counters import StreamCounters
from airyd.sources.redis.stream_position import Stream, StreamInfo
from tests.sources.redis.fakes import Answer, FakeEndpoint, Session, address, counters, stream_info, words

A, B = b"p:/a", b"p:/b"
#: An id after all others.
FAR = f"{2**40}-0"


def entry(event_id: str, body: bytes = b"{}") -> Answer:
    """Return an entry of an answer."""
    return [event_id.encode(), [b"payload", body]]


class ReaderCase(SynchronousTestCase):
    """A reader whose two connections the test answers.

    :cvar linger: how many seconds the reader waits for more when events come fast
    :ivar reading: the server side of the connection that reads
    :ivar commands: the server side of the other one
    :ivar on_delivery: called after each delivery
    :ivar on_gap: called after each gap
    """

    linger: ClassVar[float] = 0.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [FakeEndpoint(self.clock), FakeEndpoint(self.clock)]
        self.connections = [RedisConnection(address(), endpoint, self.clock, "tests") for endpoint in self.endpoints]
        self.delivered: list[tuple[str, list[str]]] = []
        self.gaps: list[tuple[str, str]] = []
        self.on_delivery: Callable[[], object] = lambda: None
        self.on_gap: Callable[[], object] = lambda: None
        reading, commands = self.connections
        asking, linger = StreamCounters(self.clock), Linger(self.linger)
        self.reader = Reader(reading, commands, asking, linger, self.clock, MIB, self.deliver, self.gap)
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
        """Assert that the reader sent one XREAD after these positions, and XINFOs behind it; return its COUNT."""
        command, *behind = self.reading.asked()
        keys, ids = [f"p:/{name}" for name in positions], list(positions.values())
        self.assertEqual(command[:2], words("XREAD", "COUNT"), command)
        self.assertEqual(command[3:], words("BLOCK", int(BLOCK * 1000), "STREAMS", *keys, *ids))
        self.assertEqual(behind, [words("XINFO", "STREAM", key) for key in keys] if behind else [])
        return int(command[2])

    def begin(self, *streams: Stream) -> None:
        """Add the first streams and answer the check on a new connection."""
        for stream in streams:
            self.reader.add(stream)
        while check := self.reading.asked(b"EVAL_RO"):
            (command,) = check
            self.reading.answer(counters(*[self.as_it_was(streams, key) for key in command[3:]]))
        self.first_ask = self.reading.asked()

    def answer_check(self, session: Session, *answers: Answer) -> None:
        """Answer a check of the counters, and the XINFO of each stream in which the reader then sees a gap.

        :param answers: what XINFO says of each stream
        """
        ((command, _, count, *keys),) = session.asked(b"EVAL_RO")
        self.assertEqual((command, int(count), len(keys)), (b"EVAL_RO", len(answers), len(answers)))
        session.answer(counters(*answers))
        of_keys = dict(zip(keys, answers, strict=True))
        while about := session.asked(b"XINFO"):
            session.answer(*[of_keys[key] for _, _, key in about])

    def answer_read(self, reply: Answer, *infos: Answer) -> None:
        """Answer the XREAD in flight, and the XINFOs behind it.

        :param infos: what XINFO says of each stream; by default that there is more to read
        """
        self.reading.asked()
        ((name, *_), *behind) = self.reading.unanswered
        self.assertEqual(name, b"XREAD")
        more = stream_info(FAR, 10**6, newest=FAR, oldest="1-0", length=10**6)
        answers = infos or tuple(more for _ in behind)
        self.assertIn(len(behind), (0, len(answers)))
        self.reading.answer(reply, *answers[: len(behind)])
        if not behind and isinstance(reply, list):
            self.assertEqual(len(self.reading.asked(b"XINFO")), len(reply))
            self.reading.answer(*(infos or [more for _ in reply]))

    def bring(self, *arrivals: tuple[bytes, list[Answer]]) -> None:
        """Reply with entries, none of which was removed before."""
        self.answer_read([[key, entries] for key, entries in arrivals])

    def as_it_was(self, streams: tuple[Stream, ...], key: bytes) -> Answer:
        """Return the XINFO of an unchanged stream."""
        (stream,) = [each for each in streams if each.key == key]
        known = stream.snapshot()
        return stream_info(known.read, known.added, newest=known.read)
