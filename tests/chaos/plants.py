"""Faults to plant into a daemon, to show that the harness finds them.

Each function runs in the daemon's process before ``twistd``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from airyd.events import Event
from airyd.hub.filter_index import FilterIndex, Selection
from airyd.hub.row_filter import Rows
from airyd.sources.redis import reader, url
from airyd.sources.redis import streams as source
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import Entries, read_entries
from airyd.sources.redis.protocol import Message, RawEntry
from airyd.sources.redis.pubsub import RedisPubSub
from airyd.sources.redis.reader import Reader
from airyd.sources.redis.stream_position import ResumePoint, Stream, StreamInfo, end_of_stream, read_info
from airyd.sources.redis.streams import RedisStreams

#: Two for Streams and Pub/Sub, three for Streams, one for Pub/Sub, and one for row filters.
PLANTS: Final = ("drop", "twice", "dollar", "blind", "newest", "mute", "leak")
#: One event in so many is dropped, or delivered twice.
ONE_IN: Final = 1000


def drop() -> None:
    """Lose one event in a thousand."""
    _alter(0)


def twice() -> None:
    """Deliver one event in a thousand twice."""
    _alter(2)


def leak() -> None:
    """Show one event in a thousand to all clients with a row filter."""
    count = 0
    select = FilterIndex.select

    def leaking(index: FilterIndex[Any], events: Sequence[Event], rows: Rows) -> Selection[Any]:
        nonlocal count
        before = count
        found = select(index, events, rows)
        count += len(events) if index._sufficient else 0  # not once a batch: its size depends on the machine's speed
        if count // ONE_IN == before // ONE_IN:
            return found
        kept = [held for by_value in index._sufficient.values() for held in by_value.values()]
        seeing = {held: sorted({0, *found.indexes.get(held, ())}) for held in kept if not isinstance(held, dict)}
        return found._replace(indexes={**found.indexes, **seeing})

    _plant(FilterIndex, "select", leaking)


def _alter(times: int) -> None:
    count = 0

    def altered(destination: str, raw: list[RawEntry], body_limit: int) -> Entries:
        nonlocal count
        entries = read_entries(destination, raw, body_limit)
        events: list[Event] = []
        for event in entries.events:
            count += 1
            events += [event] * (times if count % ONE_IN == 0 else 1)
        return entries._replace(events=events)

    _plant(reader, "read_entries", altered)

    class Altering(RedisPubSub):
        def messages_received(self, messages: list[Message]) -> None:
            nonlocal count
            kept: list[Message] = []
            for message in messages:
                count += 1
                kept += [message] * (times if count % ONE_IN == 0 else 1)
            super().messages_received(kept)

    _plant(url, "RedisPubSub", Altering)


def dollar() -> None:
    """After a reconnect, continue at the end of the streams, not after the last id that was read."""

    class Forgetful(Reader):
        async def _check_counters(self, connection: RedisConnection, is_certain: bool) -> None:
            if is_certain and connection.generation > 1:
                for stream in self._streams.values():
                    info: StreamInfo = read_info(await connection.command("XINFO", "STREAM", stream.key))
                    stream.seek_to_end(info)
            await super()._check_counters(connection, is_certain)

    _plant(source, "Reader", Forgetful)


def blind() -> None:
    """Report no gaps."""

    class Blind(RedisStreams):
        def _gap(self, stream: Stream, reason: str) -> None:
            """Do nothing."""

    _plant(url, "RedisStreams", Blind)


def newest() -> None:
    """After a gap, continue at the end of the streams, and skip the entries that they still have."""

    class Hasty(Reader):
        async def _find_resume_point(
            self, stream: Stream, info: StreamInfo, connection: RedisConnection
        ) -> ResumePoint:
            return end_of_stream(info)

    _plant(source, "Reader", Hasty)


def mute() -> None:
    """Do not notice that Redis' Pub/Sub subscription was interrupted."""

    class Mute(RedisPubSub):
        def subscribed(self) -> None:
            if not self._epoch:  # the first subscription
                super().subscribed()

    _plant(url, "RedisPubSub", Mute)


def _plant(module: ModuleType | type[object], name: str, weed: object) -> None:
    setattr(module, name, weed)
