"""The blocking reader: one XREAD over all watched streams, and a look at what XREAD doesn't tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.sources.redis.batch_size import BatchSize
from airyd.sources.redis.connection import REPLY_PATIENCE, NotConnected, NotExecuted, RedisConnection
from airyd.sources.redis.entries import Entries, read_entries
from airyd.sources.redis.protocol import RawEntry, RedisReply, Word
from airyd.sources.redis.stream_position import (
    NO_STREAM,
    ResumePoint,
    Snapshot,
    Stream,
    StreamInfo,
    before,
    digest,
    end_of_stream,
    is_about_the_key,
    order,
    read_info,
)

#: Seconds that an XREAD waits for entries. Not for ever, so that a connection which swallows everything is noticed.
BLOCK: Final = 5.0
#: Seconds between two looks at the streams' counters: a gap is said within twice that.
COUNTERS_EVERY: Final = 1.5
#: Seconds after which a wake-up that came too early is tried again, and an XREAD that Redis refused.
_RETRY_WAKE: Final = 0.01
_RETRY_READ: Final = 0.5
#: Streams whose counters are asked for at once: an answer has up to two entries of each.
_KEYS_AT_ONCE: Final = 16

T = TypeVar("T")
#: The streams of one XREAD, and what was known of them.
Xread: TypeAlias = dict[bytes, tuple[Stream, Snapshot]]


class Reader:
    """Reads the streams that it is given.

    :param connection: for the blocking XREAD alone
    :param commands: for everything else
    :param deliver: called with what a reply brought, an :class:`Entries` per stream
    :param gap: called with a stream and the reason why entries of it were missed

    :ivar trouble: why Redis refuses to be read, though it can be reached; None otherwise
    """

    _log = Logger()

    def __init__(
        self,
        connection: RedisConnection,
        commands: RedisConnection,
        clock: IReactorTime,
        body_limit: int,
        deliver: Callable[[list[tuple[Stream, Entries]]], None],
        gap: Callable[[Stream, str], None],
    ) -> None:
        self.trouble: str | None = None
        self._connection = connection
        self._commands = commands
        self._clock = clock
        self._body_limit = body_limit
        self._deliver = deliver
        self._gap = gap
        self._streams: dict[bytes, Stream] = {}
        self._xread_in_flight: Xread | None = None
        self._waking: IDelayedCall | None = None
        self._idle: Deferred[None] | None = None
        self._batch_size = BatchSize()
        self._next = 0
        self._empty = 0
        self._replication_id = ""
        self._tasks: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin to read."""
        for work in (self._read(), self._keep_checking()):
            task = Deferred.fromCoroutine(work)
            task.addErrback(lambda failure: failure.trap(CancelledError, SourceUnavailable) and None)  # stopped
            task.addErrback(lambda failure: self._log.failure("reading from Redis has ended", failure))
            self._tasks.append(task)

    def stop(self) -> None:
        """Read no more."""
        self._streams.clear()
        if self._waking is not None and self._waking.active():
            self._waking.cancel()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def add(self, stream: Stream) -> None:
        """Read this stream, too, from its position on."""
        self._streams[stream.key] = stream
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        elif self._xread_in_flight is not None:
            self._wake(self._xread_in_flight)

    def remove(self, key: bytes) -> None:
        """Read this stream no more; nothing of it is delivered from now on."""
        self._streams.pop(key, None)

    def position(self, key: bytes) -> str | None:
        """Return the id up to which a stream was delivered; None if it isn't being read."""
        stream = self._streams.get(key)
        return None if stream is None else stream.read

    def _wake(self, xread: Xread) -> None:
        """End the XREAD that waits without the new stream, or at a position that no longer holds."""
        if self._xread_in_flight is not xread:
            return

        def woken(reply: RedisReply) -> None:
            is_due = self._waking is not None and self._waking.active()
            if reply == 0 and self._xread_in_flight is xread and not is_due:  # the XREAD had not reached Redis yet
                self._waking = self._clock.callLater(_RETRY_WAKE, self._wake, xread)

        # Where this isn't allowed, or the connection is down, the XREAD ends by itself a little later.
        self._commands.command("CLIENT", "UNBLOCK", self._connection.client_id).addCallbacks(
            woken, lambda failure: None
        )

    async def _read(self) -> None:
        checked_generation: int | None = None
        while True:
            await self._connection.connected()
            readable = {key: stream for key, stream in self._streams.items() if stream.is_readable}
            if not readable:  # also those of which entries are missing
                self.trouble = None
                self._idle = Deferred()
                await self._idle
                continue
            asked: Xread = {}
            try:
                if checked_generation != self._connection.generation:
                    # What happened while there was no connection? Nothing is on its way, so that this is certain.
                    generation = self._connection.generation
                    self._batch_size.reconnected(len(self._streams))
                    if self._connection.replication_id != self._replication_id:
                        await self._check_new_master(self._connection.replication_id)
                    await self._check_counters(self._connection, is_certain=True)
                    checked_generation = generation
                    continue
                await self._resume_all(self._connection)
                asked = self._choose({key: stream for key, stream in readable.items() if stream.is_whole})
                if not asked:  # they have left, or became something else
                    continue
                reply = await self._xread(asked)
                self.trouble = None
                if isinstance(reply, list):  # else the time was over, or somebody woke it up
                    self._empty = 0
                    arrived = cast(list[tuple[bytes, list[RawEntry]]], reply)
                    # What came before these may be gone: find out before anybody gets them.
                    self._process(asked, arrived, await self._infos(self._connection, [key for key, _ in arrived]))
                else:
                    self._empty += len(asked)
                    if self._empty >= len(readable):
                        self._batch_size.all_read()
            except NotExecuted:
                continue
            except NotConnected:
                self._batch_size.reply_lost(len(asked) or self._keys_at_once)
            except SourceUnavailable:
                continue  # until there is a connection
            except ResponseError as error:
                self._xread_refused(error)
                await deferLater(self._clock, _RETRY_READ)
                checked_generation = None  # one of the streams may have become something else

    def _choose(self, readable: dict[bytes, Stream]) -> Xread:
        """Return the streams to read next and their positions: all of them, or some in turn."""
        chosen = list(readable.items())
        streams = self._batch_size.streams
        if streams is not None and streams < len(chosen):
            begin = self._next % len(chosen)
            self._next = begin + streams
            chosen = (chosen + chosen)[begin : begin + streams]
        return {key: (stream, stream.snapshot()) for key, stream in chosen}

    async def _xread(self, asked: Xread) -> RedisReply:
        ids = [known.read for _, known in asked.values()]
        limits: tuple[Word, ...] = ("COUNT", self._batch_size.count)
        if self._batch_size.streams is None:  # else the next streams in turn must not wait for these
            limits += ("BLOCK", int(BLOCK * 1000))
        self._xread_in_flight = asked
        try:
            return await self._connection.command(
                "XREAD", *limits, "STREAMS", *asked, *ids, patience=BLOCK + REPLY_PATIENCE
            )
        finally:
            self._xread_in_flight = None

    def _xread_refused(self, error: ResponseError) -> None:
        trouble = str(error)
        if trouble != self.trouble and not is_about_the_key(error):
            self._log.warn("Redis refuses to be read: {error}", error=trouble)
            self.trouble = trouble

    def _process(
        self,
        asked: Xread,
        arrived: list[tuple[bytes, list[RawEntry]]],
        infos: list[StreamInfo | SourceUnavailable],
    ) -> None:
        batch: list[tuple[Stream, Entries]] = []
        most = count = size = 0
        for (key, raw), info in zip(arrived, infos, strict=True):
            stream, known = asked[key]
            if self._streams.get(key) is not stream:  # unwatched meanwhile, and perhaps watched anew
                continue
            if stream.snapshot().seeks != known.seeks or not stream.is_whole:
                continue  # a gap was found meanwhile: it is read from another position, or not
            if not raw:  # what woke the XREAD up was trimmed within the same transaction; the next look finds out
                continue
            if not isinstance(info, StreamInfo):  # something else by now; the next look finds out
                continue
            entries = read_entries(stream.destination, raw, self._body_limit)
            most = max(most, len(raw))
            count += len(raw)
            size += entries.size
            ids = [raw_id.decode() for raw_id, _ in raw]
            why = stream.find_missing(ids, info)
            if why is None:
                why = stream.advance(ids)
            if why is not None:
                stream.missing = why  # they are read again, when those who miss something know
                continue
            stream.remember(raw)
            batch.append((stream, entries))
        if count:
            self._batch_size.reply_received(most=most, entries=count, size=size, streams=len(self._streams))
        if batch:
            self._deliver(batch)

    async def _keep_checking(self) -> None:
        while True:
            await deferLater(self._clock, COUNTERS_EVERY)
            await self._commands.connected()
            try:
                await self._check_counters(self._commands, is_certain=False)
                await self._resume_all(self._commands)
            except NotExecuted:
                pass
            except NotConnected:
                self._batch_size.reply_lost(self._keys_at_once)
            except (SourceUnavailable, ResponseError):  # XREAD will be refused, too
                pass

    async def _check_counters(self, connection: RedisConnection, is_certain: bool) -> None:
        """Ask for the counters of all streams, and compare."""
        streams = list(self._streams.values())
        for each in _chunks(streams, self._keys_at_once):
            asked = [(stream, stream.snapshot()) for stream in each]
            infos = await all_of([_info(connection.command("XINFO", "STREAM", stream.key)) for stream in each])
            for (stream, known), info in zip(asked, infos, strict=True):
                if self._streams.get(stream.key) is stream and stream.missing is None:
                    stream.missing = self._compare(stream, info, known, is_certain)
                    if stream.missing is not None:
                        await self._resume_after_gap(stream, info, connection)

    @property
    def _keys_at_once(self) -> int:
        return min(self._batch_size.streams or _KEYS_AT_ONCE, _KEYS_AT_ONCE)

    async def _infos(self, connection: RedisConnection, keys: Sequence[bytes]) -> list[StreamInfo | SourceUnavailable]:
        infos: list[StreamInfo | SourceUnavailable] = []
        for each in _chunks(keys, self._keys_at_once):
            infos += await all_of([_info(connection.command("XINFO", "STREAM", key)) for key in each])
        return infos

    async def _check_new_master(self, replication_id: str) -> None:
        """Ask a master that is new whether it has what was read from the one before."""
        asked = [(stream, stream.read) for stream in self._streams.values() if stream.is_whole]
        for each in _chunks(asked, self._keys_at_once):
            # The counters first: what is added in between is of no matter then.
            infos = await self._infos(self._connection, [stream.key for stream, _ in each])
            found = await all_of([self._connection.command("XRANGE", stream.key, read, read) for stream, read in each])
            for (stream, read), info, there in zip(each, infos, found, strict=True):
                if self._streams.get(stream.key) is not stream or stream.read != read or not stream.is_whole:
                    continue
                if isinstance(info, StreamInfo):  # else the look that follows tells of it
                    stream.missing = stream.find_lost(cast(list[RawEntry], there), info)
                    if stream.missing is not None:
                        await self._resume_after_gap(stream, info, self._connection)
        self._replication_id = replication_id

    async def _resume_all(self, connection: RedisConnection) -> None:
        """Read on all streams of which entries are missing."""
        for stream in [stream for stream in self._streams.values() if stream.missing is not None]:
            (info,) = await self._infos(connection, [stream.key])
            await self._resume_after_gap(stream, info, connection)

    async def _resume_after_gap(
        self, stream: Stream, info: StreamInfo | SourceUnavailable, connection: RedisConnection
    ) -> None:
        """Find out where to read on a stream of which entries are missing, and tell the gap.

        If the connection is lost meanwhile, the entries stay missing, and :meth:`_resume_all` tries again.
        """
        seeks = stream.snapshot().seeks
        point = await self._find_resume_point(stream, info, connection) if isinstance(info, StreamInfo) else None
        why = stream.missing
        if why is None or stream.snapshot().seeks != seeks or self._streams.get(stream.key) is not stream:
            return  # the other connection was faster
        if point is None or not isinstance(info, StreamInfo):
            stream.is_readable = False
            stream.missing = None
        else:
            stream.is_readable = True
            stream.seek(point, info)
            self.add(stream)  # the XREAD that waits, waits for entries after the old position
        self._gap(stream, why)

    async def _find_resume_point(self, stream: Stream, info: StreamInfo, connection: RedisConnection) -> ResumePoint:
        """Find the point after which a stream holds what was not sent yet.

        It is behind the greatest of the last ids that were read which it holds; else behind the last one that was
        read; if the stream ends before that, behind its end.
        """
        try:
            point = await self._find_held(stream, info, connection)
            if point is None and order(info.last) >= order(stream.read):
                # From a position on nothing may be missing: it is behind what is gone.
                oldest = stream.read if info.oldest is None else before(info.oldest)
                point = ResumePoint(max(oldest, stream.read, key=order), None, 0)
            if point is None:
                return end_of_stream(info)
            unread = await self._count_after(stream.key, point.position, info, connection)
        except ResponseError as error:  # a right is missing, say
            self._log.warn(
                "{destination}: events after a gap may be left out, Redis refuses XRANGE: {error}",
                destination=stream.destination,
                error=str(error),
                once_a_minute=f"after a gap {stream.destination}",
            )
            return end_of_stream(info)
        return point._replace(unread=unread) if unread else end_of_stream(info)

    async def _find_held(self, stream: Stream, info: StreamInfo, connection: RedisConnection) -> ResumePoint | None:
        if info.oldest is None or info.newest is None:
            return None
        for part in stream.recent(info.oldest, info.newest):
            found = await all_of([connection.command("XRANGE", stream.key, each, each) for each, _ in part])
            for (event_id, known), reply in zip(part, found, strict=True):
                entries = cast(list[RawEntry], reply)
                if entries and digest(entries[0][1]) == known:
                    return ResumePoint(event_id.decode(), entries[0][1], 0)
        return None

    async def _count_after(self, key: bytes, position: str, info: StreamInfo, connection: RedisConnection) -> int:
        """Return how many entries a stream holds after a position, up to its last one by ``info``."""
        if position == info.last or info.oldest is None:
            return 0
        if order(info.oldest) > order(position):
            return info.length
        count = 0
        while True:
            most = self._batch_size.count
            after = f"({position}"
            found = cast(list[RawEntry], await connection.command("XRANGE", key, after, info.last, "COUNT", most))
            count += len(found)
            if len(found) < most:
                return count
            size = sum(sum(map(len, fields or ())) for _, fields in found)
            self._batch_size.reply_received(most=most, entries=most, size=size, streams=len(self._streams))
            position = found[-1][0].decode()

    def _compare(
        self, stream: Stream, info: StreamInfo | SourceUnavailable, asked: Snapshot, is_certain: bool
    ) -> str | None:
        was_readable = stream.is_readable
        stream.is_readable = isinstance(info, StreamInfo)
        if isinstance(info, SourceUnavailable):
            return str(info) if was_readable else None
        if not was_readable:  # a stream again, or nothing: all that is in it came after the gap
            stream.seek_to_end(NO_STREAM)
            self.add(stream)
            return None
        return stream.compare(info, asked, is_certain)


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of so many at most."""
    for begin in range(0, len(items), most):
        yield items[begin : begin + most]


def _info(asking: Deferred[RedisReply]) -> Deferred[StreamInfo | SourceUnavailable]:
    """Make of a reply what it says, and of a key that is no stream its reason."""

    def refused(failure: Failure) -> RedisReply:
        failure.trap(ResponseError)
        error = cast(Exception, failure.value)
        if not is_about_the_key(error):
            raise error
        return error

    def read(reply: RedisReply) -> StreamInfo | SourceUnavailable:
        try:
            return read_info(reply)
        except SourceUnavailable as error:
            return error

    return asking.addErrback(refused).addCallback(read)
