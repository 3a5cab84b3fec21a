"""Redis Streams as an event source: watch, publish, gaps, and the proof that a resume has missed nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError
from zope.interface import implementer

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.events import Event, HistoryPage, InvalidEntry
from airyd.interfaces import (
    IBrowsableSource,
    IEventSink,
    IHistorySource,
    IMeasuredSource,
    IReloadable,
    IRevocationKeeper,
    Lag,
    Reload,
    SourceContext,
)
from airyd.sources.history import UNKNOWN
from airyd.sources.redis.address import DEFAULT_LINGER
from airyd.sources.redis.batch_size import REPLY_BYTES, BatchSize
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.connection import NotConnected, NotExecuted
from airyd.sources.redis.dead_letters import DeadLetters
from airyd.sources.redis.entries import PAYLOAD, POSITION, Entries, read_entries
from airyd.sources.redis.linger import Linger
from airyd.sources.redis.protocol import RawEntry, RedisReply
from airyd.sources.redis.reader import Reader
from airyd.sources.redis.requirements import Requirements
from airyd.sources.redis.revocation_stream import RevocationStream
from airyd.sources.redis.stream_counters import StreamCounters
from airyd.sources.redis.stream_position import Stream, StreamInfo, added_at, before, order, read_info


class _PageRequest(NamedTuple):
    """A request for a page of history; equal requests share one page.

    :ivar position: the id up to which the destination's events had been delivered
    """

    destination: str
    after: str
    limit: int
    position: str | None


@implementer(IMeasuredSource, IBrowsableSource, IHistorySource, IRevocationKeeper, IReloadable)
class RedisStreams:
    """Reads one stream per destination, ``<prefix><destination>``, whose entries have a field ``payload``.

    Event ids are entry ids. A destination's position is the id of the stream's last entry; airyd adds an entry to an
    empty stream for that, which is not an event (docs/protocol.rst, "Positions").

    :param prefix: the prefix of the keys
    :param maxlen: about how many entries a stream keeps when airyd adds one
    :param linger: how many seconds the reader waits for more when events come fast
    :ivar revocations: see ``IRevocationKeeper``
    """

    _log = Logger()

    def __init__(
        self, redis: RedisClient, prefix: str, maxlen: int, context: SourceContext, *, linger: float = DEFAULT_LINGER
    ) -> None:
        clock = cast(IReactorTime, context.reactor)
        self._redis = redis
        self._prefix = prefix
        self._maxlen = maxlen
        self._body_limit = context.body_limit
        self._wall = context.wall
        self._commands = redis.connection("commands", keep_alive=True)
        self._reading = redis.connection("reader", is_numbered=True, keep_alive=True)
        counters = StreamCounters(clock)
        self._reader = Reader(
            self._reading, self._commands, counters, Linger(linger), clock, context.body_limit, self._deliver, self._gap
        )
        keys = [self._key(name) for name in context.destinations]
        self._requirements = Requirements(self._commands, counters, clock, prefix, keys)
        self._dead_letters = DeadLetters(self._commands, prefix, "stream", clock)
        self.revocations = RevocationStream(redis, self._commands, prefix, clock, context.wall)
        self._sink: IEventSink | None = None
        # The streams with a gap since they were watched, by destination: each until the next watch.
        self._with_gap: dict[str, Stream] = {}
        self._page_size = BatchSize()
        self._pages: dict[_PageRequest, list[Deferred[HistoryPage]]] = {}

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start (``IEventSource``)."""
        self._sink = sink
        self._redis.start()
        for connection in (self._commands, self._reading):
            connection.start()
        self._reader.start()
        all_is_known = all_of([self._commands.connected(), self._reading.connected(), self._requirements.start()])
        return Deferred.fromCoroutine(all_is_known).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        """Stop (``IEventSource``)."""
        self._sink = None
        self._with_gap.clear()
        self._reader.stop()
        self._requirements.stop()
        ends = [self.revocations.stop(), self._commands.stop(), self._reading.stop(), self._redis.stop()]
        return gatherResults(ends).addCallback(lambda _: None)

    def prepare_reload(self, fresh: RedisStreams) -> Reload:
        """Prepare to use new passwords, TLS files and the new limit of bodies (``IReloadable``)."""
        reload = self._redis.prepare_reload(fresh._redis)

        def apply_all() -> None:
            reload.apply()
            self._body_limit = self._reader.body_limit = fresh._body_limit

        return Reload(reload.changes, apply_all)

    def extend(self, destinations: Sequence[str]) -> None:
        """Also check the streams of these destinations (``IEventSource``)."""
        self._requirements.extend([self._key(name) for name in destinations])

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        stream = self._with_gap.pop(destination, None)
        if after_gap and stream is not None:
            return Deferred.fromCoroutine(self._watch_after_gap(stream))
        return Deferred.fromCoroutine(self._watch(destination))

    def unwatch(self, destination: str) -> None:
        """Stop delivering this destination's events (``IEventSource``)."""
        self._reader.remove(self._key(destination))

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read a page of history (``IEventSource``); concurrent equal requests share one page."""
        # A page must have all events delivered before the request, so requests share it only at an equal position.
        request = _PageRequest(destination, after, limit, self._reader.position(self._key(destination)))
        page: Deferred[HistoryPage] = Deferred()
        sharing = self._pages.setdefault(request, [])
        sharing.append(page)
        if len(sharing) == 1:
            reading = Deferred.fromCoroutine(self._page(destination, after, limit))
            reading.addBoth(self._answer_page, request)
        return page

    def _answer_page(self, result: HistoryPage | Failure, request: _PageRequest) -> None:
        for page in self._pages.pop(request):
            page.callback(result)  # a Failure makes it an errback

    def keeps_history(self, destination: str) -> bool:
        """Return whether past events are kept (``IHistorySource``)."""
        return True

    def newest(self, destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events (``IBrowsableSource``), about a megabyte at most."""
        return Deferred.fromCoroutine(self._newest(destination, limit))

    def find(self, destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an entry, or its dead letter (``IBrowsableSource``)."""
        return Deferred.fromCoroutine(self._find(destination, event_id))

    def order(self, destination: str, event_id: str) -> tuple[int, int]:
        """Return the two numbers of an id (``IEventSource``)."""
        return order(event_id)

    def age(self, destination: str, event_id: str) -> float:
        """Return how many seconds ago Redis gave an entry its id, by airyd's clock (``IMeasuredSource``)."""
        return max(self._wall() - added_at(event_id), 0.0)

    def lags(self) -> Mapping[str, Lag]:
        """Return how far the reader is behind each stream (``IMeasuredSource``)."""
        return self._reader.lags(self._wall())

    def reaches(self) -> Mapping[str, float]:
        """Return the age of the oldest entry of each stream, when it was last checked (``IMeasuredSource``)."""
        return self._reader.reaches(self._wall())

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event (``IEventSource``)."""
        return Deferred.fromCoroutine(self._add(destination, PAYLOAD, body))

    def health(self) -> Sequence[str]:
        """Return which connection is missing, or what Redis refuses, and why (``IEventSource``)."""
        missing = self._requirements.trouble
        refused = None if missing else self._reader.trouble  # an unmet requirement is also why reads are refused
        troubles = {"commands": self._commands.trouble or missing, "reading": self._reading.trouble or refused}
        return [f"{self._redis.name} ({purpose}): {trouble}" for purpose, trouble in troubles.items() if trouble]

    def _key(self, destination: str) -> bytes:
        return f"{self._prefix}{destination}".encode()

    async def _watch(self, destination: str) -> str:
        info = await self._stream_info(destination)
        if info.newest is None or info.newest != info.last:
            # There is no last entry that a later resume could refer to: add one.
            info = await self._add_position(destination, info)
        stream = Stream(destination, self._key(destination), info)
        self._reader.add(stream)
        return info.last

    async def _watch_after_gap(self, stream: Stream) -> str:
        """Watch again after a gap, at the reader's position: the entries after it have not been delivered yet."""
        if not stream.is_readable:
            await self._reader.find_again(stream)
        position = stream.read
        if stream.needs_position:
            with suppress(SourceUnavailable):  # as for a new watch: airyd may lack the right to write
                mark = await self._add(stream.destination, POSITION, b"")
                between = await self._ask_until_answered("XRANGE", stream.key, f"({position}", f"({mark}", "COUNT", 1)
                if isinstance(between, list):  # the position is later than all entries that were removed
                    first = cast(list[RawEntry], between)[:1]
                    position = before(first[0][0].decode()) if first else mark
        self._reader.add(stream)
        return position

    async def _stream_info(self, destination: str) -> StreamInfo:
        return read_info(await self._ask_until_answered("XINFO", "STREAM", self._key(destination)))

    async def _add_position(self, destination: str, info: StreamInfo) -> StreamInfo:
        try:
            await self._add(destination, POSITION, b"")
        except SourceUnavailable as error:
            self._log.info(
                "{destination} has no position to resume from: {error}", destination=destination, error=str(error)
            )
            return info
        return await self._stream_info(destination)

    async def _add(self, destination: str, field: bytes, value: bytes) -> str:
        key = self._key(destination)
        while True:
            await self._commands.connected()
            # Not repeated after a lost connection: the entry may have been added.
            with suppress(NotExecuted):
                reply = await self._reply("XADD", key, "MAXLEN", "~", self._maxlen, "*", field, value)
                break
        if not isinstance(reply, bytes):
            raise self._refusal(reply)
        return reply.decode()

    async def _page(self, destination: str, after: str, limit: int) -> HistoryPage:
        try:
            order(after)
        except ValueError:
            return UNKNOWN
        events: list[Event] = []
        size = 0
        while True:
            wanted = min(limit - len(events), self._page_size.count)
            try:
                raw = await self._entries_after(destination, after, wanted + 1)
            except NotExecuted:
                continue
            except NotConnected:
                self._page_size.reply_lost(1)
                continue
            if raw is None:
                return UNKNOWN
            more = len(raw) > wanted
            if raw:
                entries = read_entries(destination, raw[:wanted], self._body_limit)
                count = min(len(raw), wanted)
                self._page_size.reply_received(most=count, entries=count, size=entries.size, streams=1)
                events += entries.events
                size += entries.size
                after = entries.last
            if not more or len(events) == limit or (events and size >= REPLY_BYTES):
                return HistoryPage(tuple(events), complete=True, more=more)

    async def _newest(self, destination: str, limit: int) -> Sequence[Event]:
        events: list[Event] = []
        size = 0
        end = "+"
        while len(events) < limit and size < REPLY_BYTES:
            wanted = min(limit - len(events), self._page_size.count)
            raw = await self._read_entries("XREVRANGE", self._key(destination), end, "-", "COUNT", wanted)
            if not raw:
                break
            entries = read_entries(destination, raw[::-1], self._body_limit)
            self._page_size.reply_received(most=len(raw), entries=len(raw), size=entries.size, streams=1)
            events[:0] = entries.events
            size += entries.size
            end = f"({raw[-1][0].decode()}"
        return events

    async def _find(self, destination: str, event_id: str) -> Event | InvalidEntry | None:
        key = self._key(destination)
        try:
            order(event_id)
        except ValueError:
            return None
        raw = await self._read_entries("XRANGE", key, event_id, event_id)
        if not raw:
            return await self._dead_letters.find(key, event_id)
        entries = read_entries(destination, raw, self._body_limit)
        if entries.refused:
            return InvalidEntry(str(entries.refused[0].refusal))
        return entries.events[0] if entries.events else None

    async def _read_entries(self, *words: str | bytes | int) -> list[RawEntry]:
        reply = await self._ask_until_answered(*words)
        if isinstance(reply, ResponseError):
            raise SourceUnavailable(f"{self._redis.name}: {reply}")
        return cast("list[RawEntry]", reply)

    async def _entries_after(self, destination: str, after: str, count: int) -> list[RawEntry] | None:
        """Return the entries after an id; None if they may be incomplete.

        Trimming removes the oldest entries first: if the entry ``after`` still exists, or was the last one, only XDEL
        can have removed entries after it, and XINFO shows that.
        """
        key = self._key(destination)
        itself, about, following = await self._transaction(
            ("XRANGE", key, after, after),
            ("XINFO", "STREAM", key),
            ("XRANGE", key, f"({after}", "+", "COUNT", count),
        )
        if isinstance(about, ResponseError) or not isinstance(following, list):
            return None
        info = read_info(about)
        if not itself and info.last != after:
            return None
        if order(info.deleted) > order(after):
            return None
        return cast(list[RawEntry], following)

    async def _ask_until_answered(self, *words: str | bytes | int) -> RedisReply:
        """Send a command, again on each new connection, until there is a reply; an error of Redis is a reply."""
        while True:
            await self._commands.connected()
            with suppress(NotConnected):
                return await self._reply(*words)

    async def _transaction(self, *commands: Sequence[str | bytes | int]) -> list[RedisReply]:
        await self._commands.connected()
        try:
            return await self._commands.transaction(*commands)
        except ResponseError as error:
            self._log.warn("Redis refuses a transaction: {error}", error=str(error))
            raise SourceUnavailable(f"{self._redis.name}: {error}") from None

    async def _reply(self, *words: str | bytes | int) -> RedisReply:
        try:
            return await self._commands.command(*words)
        except ResponseError as error:
            refusal: Exception = error
            return refusal

    def _refusal(self, reply: RedisReply) -> SourceUnavailable:
        return SourceUnavailable(f"{self._redis.name} refuses the event: {reply!s}")

    def _deliver(self, batch: list[tuple[Stream, Entries]]) -> None:
        sink = self._sink
        if sink is None:
            return
        events: list[Event] = []
        for stream, entries in batch:
            events += entries.events
            for refused in entries.refused:
                sink.refused(stream.destination, refused.event_id, refused.refusal)
                self._dead_letters.copy(stream.key, refused)
        if events:
            sink.deliver(events)

    def _gap(self, stream: Stream, reason: str) -> None:
        if self._sink is None:
            return
        self._with_gap[stream.destination] = stream
        self._sink.gap([stream.destination], reason)
