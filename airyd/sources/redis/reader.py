"""The reader of all watched streams: it delivers entries by a blocking XREAD, and finds gaps by the streams' counters.

Two tasks run side by side, each on a connection of its own. One sends XREAD with an XINFO for each stream behind it,
which Redis executes as soon as XREAD ends; so the counters come with the entries. If there are many streams, or large
entries, it sends XINFO after XREAD's reply instead, only for the streams with new entries. The other task checks the
counters of all streams every ``COUNTERS_EVERY`` seconds. The rules that detect a gap are in
``airyd.sources.redis.stream_position``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.interfaces import Lag
from airyd.limits import KIB
from airyd.sources.redis.batch_size import BatchSize
from airyd.sources.redis.connection import REPLY_PATIENCE, NotConnected, NotExecuted, RedisConnection, answer_of
from airyd.sources.redis.entries import Entries, read_entries
from airyd.sources.redis.linger import Linger
from airyd.sources.redis.protocol import RawEntry, RedisReply, Word, encode_command
from airyd.sources.redis.stream_counters import StreamCounters, encoded_xinfo, stream_info
from airyd.sources.redis.stream_position import (
    NO_STREAM,
    ResumePoint,
    Snapshot,
    Stream,
    StreamInfo,
    added_at,
    before,
    digest,
    end_of_stream,
    is_about_the_key,
    order,
)

#: Seconds that an XREAD blocks: limited, so that a dead connection is noticed.
BLOCK: Final = 5.0
#: Seconds between two checks of the streams' counters. A check finds a gap, or suspects one and leaves it to the next.
COUNTERS_EVERY: Final = 1.5
#: Seconds without an answer about a stream after which it counts as unanswered: a check was due twice.
_SILENCE: Final = 2 * COUNTERS_EVERY
#: Seconds until a retry: of a CLIENT UNBLOCK that reached Redis before the XREAD, and of a refused XREAD.
_RETRY_WAKE: Final = 0.01
_RETRY_READ: Final = 0.5
#: Streams that are asked about at once: the reply to XINFO contains up to two entries, which may be large.
_KEYS_AT_ONCE: Final = 16
#: The most streams with an XINFO behind each XREAD, and the bytes of the entries in the replies: one stream has new
#: entries, and the other replies are not needed.
_PIPELINED_STREAMS: Final = 8
_PIPELINED_BYTES: Final = 8 * KIB

T = TypeVar("T")
#: The streams of one XREAD, with their snapshots from before it.
Xread: TypeAlias = dict[bytes, tuple[Stream, Snapshot]]


class Reader:
    """Reads streams, delivers their entries and reports gaps.

    :param connection: the connection for the blocking XREAD, and for checks between two of them
    :param commands: the connection for commands while an XREAD blocks
    :param counters: asks for the counters in the regular checks
    :param linger: decides how long to wait before the next XREAD
    :param deliver: called with the entries of a reply, an :class:`Entries` per stream
    :param gap: called with a stream and the reason of a gap in it

    :ivar body_limit: bytes of an event's body
    :ivar trouble: why nothing is read over a working connection: Redis refuses XREAD, or airyd failed; None otherwise
    """

    _log = Logger()

    def __init__(
        self,
        connection: RedisConnection,
        commands: RedisConnection,
        counters: StreamCounters,
        linger: Linger,
        clock: IReactorTime,
        body_limit: int,
        deliver: Callable[[list[tuple[Stream, Entries]]], None],
        gap: Callable[[Stream, str], None],
    ) -> None:
        self.trouble: str | None = None
        self._connection = connection
        self._commands = commands
        self._counters = counters
        self._linger = linger
        self._clock = clock
        self.body_limit = body_limit
        self._deliver = deliver
        self._gap = gap
        self._streams: dict[bytes, Stream] = {}
        self._xread_in_flight: Xread | None = None
        self._waking: IDelayedCall | None = None
        self._idle: Deferred[None] | None = None
        self._batch_size = BatchSize()
        self._next = 0  # the index of the next stream to ask for, while one XREAD does not ask for all
        self._empty = 0  # streams that were asked for in a row without an entry
        self._replication_id = ""
        self._tasks: list[Deferred[None]] = []

    def start(self) -> None:
        """Start reading."""
        for work in (self._read(), self._keep_checking()):
            task = Deferred.fromCoroutine(work)
            task.addErrback(lambda failure: failure.trap(CancelledError, SourceUnavailable) and None)  # stopped
            task.addErrback(self._broken)
            self._tasks.append(task)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("reading from Redis has ended", failure)
        self.trouble = "reading has ended after an internal error, which is in the log; restart airyd"

    def stop(self) -> None:
        """Stop reading."""
        self._streams.clear()
        if self._waking is not None and self._waking.active():
            self._waking.cancel()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def add(self, stream: Stream) -> None:
        """Also read this stream, from its position on."""
        self._streams[stream.key] = stream
        stream.compared_at = self._clock.seconds()
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        elif self._xread_in_flight is not None:
            self._wake(self._xread_in_flight)

    def remove(self, key: bytes) -> None:
        """Stop reading this stream: none of its entries is delivered from now on."""
        self._streams.pop(key, None)

    def position(self, key: bytes) -> str | None:
        """Return the id up to which a stream has been delivered; None if it is not being read."""
        stream = self._streams.get(key)
        return None if stream is None else stream.read

    async def find_again(self, stream: Stream) -> None:
        """Move a stream whose key was not a stream, so that it is not read, to where reading continues.

        Raises ``SourceUnavailable`` if the key still is not a stream.
        """
        while True:
            await self._commands.connected()
            with suppress(NotConnected):
                (info,) = await self._infos(self._commands, [stream.key])
                if isinstance(info, SourceUnavailable):
                    raise info
                stream.seek(await self._find_resume_point(stream, info, self._commands), info)
                stream.is_readable = True
                return

    def lags(self, wall: float) -> dict[str, Lag]:
        """Return how far each stream's reader is behind, by destination.

        :param wall: the wall-clock time in seconds since 1970
        """
        now = self._clock.seconds()
        return {each.destination: each.lag_at(now, wall, _SILENCE) for each in self._streams.values()}

    def reaches(self, wall: float) -> dict[str, float]:
        """Return how old each stream's oldest entry is, by destination; a stream without entries is left out.

        :param wall: the wall-clock time in seconds since 1970
        """
        streams = self._streams.values()
        return {each.destination: max(wall - added_at(each.oldest), 0.0) for each in streams if each.oldest is not None}

    def _wake(self, xread: Xread) -> None:
        """Unblock the XREAD in flight, which lacks a new stream or has an outdated position."""
        if self._xread_in_flight is not xread:
            return

        def woken(reply: RedisReply) -> None:
            is_due = self._waking is not None and self._waking.active()
            if reply == 0 and self._xread_in_flight is xread and not is_due:  # the XREAD has not reached Redis yet
                self._waking = self._clock.callLater(_RETRY_WAKE, self._wake, xread)

        # If this is not allowed, or the connection is down, the XREAD ends by itself, after at most BLOCK seconds.
        self._commands.command("CLIENT", "UNBLOCK", self._connection.client_id).addCallbacks(
            woken, lambda failure: None
        )

    async def _read(self) -> None:
        """Read and deliver for ever; after each reconnect, first check what happened meanwhile."""
        checked_generation: int | None = None
        while True:
            await self._connection.connected()
            readable = {key: stream for key, stream in self._streams.items() if stream.is_readable}
            if not readable:  # wait for add(); streams with a gap count as readable, and are handled below
                self.trouble = None
                self._idle = Deferred()
                await self._idle
                continue
            asked: Xread = {}
            try:
                if checked_generation != self._connection.generation:
                    # Check what happened while there was no connection. No entries are in flight, so a missing entry
                    # is a gap for certain.
                    generation = self._connection.generation
                    self._batch_size.reconnected(len(self._streams))
                    if self._connection.replication_id != self._replication_id:
                        await self._check_new_master(self._connection.replication_id)
                    await self._check_counters(self._connection, is_certain=True)
                    checked_generation = generation
                    continue
                await self._resume_all(self._connection)
                asked = self._choose({key: stream for key, stream in readable.items() if stream.is_whole})
                if not asked:  # they were removed, or are not streams any more
                    continue
                most = self._batch_size.count if self._batch_size.streams is None else 0
                reply, *behind = await self._xread(asked)
                self.trouble = None
                if isinstance(reply, list):  # otherwise it timed out or was unblocked
                    self._empty = 0
                    arrived = cast(list[tuple[bytes, list[RawEntry]]], reply)
                    # Earlier entries may have been removed unread: check that before these are delivered.
                    infos = await self._infos_after(asked, behind, [key for key, _ in arrived])
                    self._process(asked, arrived, infos)
                    await self._wait_for_more([len(raw) for _, raw in arrived], most)
                else:
                    self._empty += len(asked)
                    if self._empty >= len(readable):
                        self._batch_size.all_read()
            except NotExecuted:
                continue
            except NotConnected:
                self._batch_size.reply_lost(len(asked) or self._keys_at_once)
            except SourceUnavailable:
                continue  # wait for a connection
            except ResponseError as error:
                self._xread_refused(error)
                await deferLater(self._clock, _RETRY_READ)
                checked_generation = None  # a key may not be a stream any more

    def _choose(self, readable: dict[bytes, Stream]) -> Xread:
        """Return the streams of the next XREAD with their snapshots: all, or the next few if replies were too large."""
        chosen = list(readable.items())
        streams = self._batch_size.streams
        if streams is not None and streams < len(chosen):
            begin = self._next % len(chosen)
            self._next = begin + streams
            chosen = (chosen + chosen)[begin : begin + streams]
        return {key: (stream, stream.snapshot()) for key, stream in chosen}

    async def _xread(self, asked: Xread) -> list[RedisReply]:
        """Return the reply to XREAD, then those to an XINFO for each stream, unless these would be too large."""
        ids = [known.read for _, known in asked.values()]
        limits: tuple[Word, ...] = ("COUNT", self._batch_size.count)
        reads_all = self._batch_size.streams is None
        if reads_all:  # otherwise do not block: the other streams wait
            limits += ("BLOCK", int(BLOCK * 1000))
        commands = [encode_command(("XREAD", *limits, "STREAMS", *asked, *ids))]
        size = sum(stream.info_size for stream, _ in asked.values())
        if reads_all and len(asked) <= _PIPELINED_STREAMS and size <= _PIPELINED_BYTES:
            commands += map(encoded_xinfo, asked)
        self._xread_in_flight = asked
        try:
            return await self._connection.pipeline(commands, patience=BLOCK + REPLY_PATIENCE)
        finally:
            self._xread_in_flight = None

    async def _infos_after(
        self, asked: Xread, behind: Sequence[RedisReply], keys: Sequence[bytes]
    ) -> list[StreamInfo | SourceUnavailable]:
        """Return what Redis says of streams after an XREAD: by the XINFOs behind it, if there were any."""
        known = dict(zip(asked, behind, strict=False))
        replies = [known.get(key) for key in keys]
        if all(isinstance(reply, list) for reply in replies):
            return [stream_info(reply) for reply in replies]
        return await self._infos(self._connection, keys)

    async def _wait_for_more(self, counts: Sequence[int], most: int) -> None:
        """Wait if entries come fast, unless a stream's number in the last reply is ``most``: then Redis has more."""
        pause = self._linger.after_reply(self._clock.seconds(), sum(counts), max(counts) >= most)
        if pause:
            await deferLater(self._clock, pause)

    def _xread_refused(self, error: ResponseError) -> None:
        trouble = str(error)
        if trouble != self.trouble and not is_about_the_key(error):
            self._log.warn("Redis refuses to read the streams: {error}", error=trouble)
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
            if self._streams.get(key) is not stream:  # it was unwatched, and perhaps watched again
                continue
            if stream.snapshot().seeks != known.seeks or not stream.is_whole:
                continue  # a gap was found: it is read from another position, or not at all
            if not raw:  # the new entry was trimmed in the same transaction; the next check finds out
                continue
            if not isinstance(info, StreamInfo):  # not a stream any more; the next check finds out
                continue
            entries = read_entries(stream.destination, raw, self.body_limit)
            most = max(most, len(raw))
            count += len(raw)
            size += entries.size
            stream.info_size = info.size
            ids = [raw_id.decode() for raw_id, _ in raw]
            why = stream.find_missing(ids, info)
            if why is None:
                why = stream.advance(ids)
            if why is not None:
                stream.missing = why  # the entries are read again after the gap was reported
                continue
            stream.remember(raw)
            stream.note_lag(self._clock.seconds())
            batch.append((stream, entries))
        if count:
            self._batch_size.reply_received(most=most, entries=count, size=size, streams=len(self._streams))
        if batch:
            self._deliver(batch)

    async def _keep_checking(self) -> None:
        """Check all streams every ``COUNTERS_EVERY`` seconds for ever, over the other connection."""
        while True:
            await deferLater(self._clock, COUNTERS_EVERY)
            await self._commands.connected()
            try:
                await self._check_counters(self._commands, is_certain=False)
            except NotExecuted:
                pass
            except NotConnected:
                self._batch_size.reply_lost(self._keys_at_once)
            except (SourceUnavailable, ResponseError):  # XREAD will fail in the same way
                pass

    async def _check_counters(self, connection: RedisConnection, is_certain: bool) -> None:
        """Compare the counters of all streams with what was read.

        :param is_certain: whether no entries are in flight, so that a missing one is a gap, and not only suspected
        """
        streams = list(self._streams.values())
        for each in _chunks(streams, self._keys_at_once):
            asked = [(stream, stream.snapshot()) for stream in each]
            replies = await self._counters.ask(connection, [stream.key for stream in each])
            infos = [stream_info(reply) for reply in replies]
            for (stream, known), info in zip(asked, infos, strict=True):
                if self._streams.get(stream.key) is stream and stream.missing is None:
                    if isinstance(info, StreamInfo):
                        stream.info_size = info.size
                    stream.oldest = info.oldest if isinstance(info, StreamInfo) else None
                    stream.missing = self._compare(stream, info, known, is_certain)
                    stream.note_lag(self._clock.seconds())
        await self._resume_all(connection)

    @property
    def _keys_at_once(self) -> int:
        return min(self._batch_size.streams or _KEYS_AT_ONCE, _KEYS_AT_ONCE)

    async def _infos(self, connection: RedisConnection, keys: Sequence[bytes]) -> list[StreamInfo | SourceUnavailable]:
        infos: list[StreamInfo | SourceUnavailable] = []
        for each in _chunks(keys, self._keys_at_once):
            replies = await all_of([answer_of(connection.command("XINFO", "STREAM", key)) for key in each])
            infos += [stream_info(reply) for reply in replies]
        return infos

    async def _check_new_master(self, replication_id: str) -> None:
        """Check whether a new master has the entries that were read from the old one."""
        asked = [(stream, stream.read) for stream in self._streams.values() if stream.is_whole]
        for each in _chunks(asked, self._keys_at_once):
            # XINFO comes first: entries added after it are later than its last id, and so do no harm.
            infos = await self._infos(self._connection, [stream.key for stream, _ in each])
            found = await all_of([self._connection.command("XRANGE", stream.key, read, read) for stream, read in each])
            for (stream, read), info, there in zip(each, infos, found, strict=True):
                if self._streams.get(stream.key) is not stream or stream.read != read or not stream.is_whole:
                    continue
                if isinstance(info, StreamInfo):  # otherwise the check that follows reports it
                    stream.missing = stream.find_lost(cast(list[RawEntry], there), info)
                    if stream.missing is not None:
                        await self._resume_after_gap(stream, info, self._connection)
        self._replication_id = replication_id

    async def _resume_all(self, connection: RedisConnection) -> None:
        """Continue reading all streams with a gap."""
        for stream in [stream for stream in self._streams.values() if stream.missing is not None]:
            (info,) = await self._infos(connection, [stream.key])
            await self._resume_after_gap(stream, info, connection)

    async def _resume_after_gap(
        self, stream: Stream, info: StreamInfo | SourceUnavailable, connection: RedisConnection
    ) -> None:
        """Continue reading a stream with a gap at its resume point, and report the gap.

        If the connection is lost meanwhile, ``stream.missing`` stays set and :meth:`_resume_all` tries again.
        """
        seeks = stream.snapshot().seeks
        point = await self._find_resume_point(stream, info, connection) if isinstance(info, StreamInfo) else None
        why = stream.missing
        if why is None or stream.snapshot().seeks != seeks or self._streams.get(stream.key) is not stream:
            return  # the other task has reported the gap already
        if point is None or not isinstance(info, StreamInfo):
            stream.is_readable = False
            stream.missing = None
        else:
            stream.is_readable = True
            stream.seek(point, info)
            self.add(stream)  # unblocks the XREAD, which waits at the old position
        self._gap(stream, why)

    async def _find_resume_point(self, stream: Stream, info: StreamInfo, connection: RedisConnection) -> ResumePoint:
        """Return the point after which reading continues: no entry after it was delivered.

        It is the newest entry read that the stream still has. If it has none, it is the reader's position, or the id
        just before the oldest entry if that is later. If the stream ends before the position, it is the stream's end.
        """
        try:
            point = await self._find_held(stream, info, connection)
            if point is None and order(info.last) >= order(stream.read):
                # Removed entries are part of this gap. The point is after them, so that they are not reported twice.
                oldest = stream.read if info.oldest is None else before(info.oldest)
                point = ResumePoint(max(oldest, stream.read, key=order), None, 0)
            if point is None:
                return end_of_stream(info)
            unread = await self._count_after(stream.key, point.position, info, connection)
        except ResponseError as error:  # for example NOPERM
            self._log.warn(
                "{destination}: events after a gap may be missing, because Redis refuses XRANGE: {error}",
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
        """Return the number of entries after a position, up to the last entry in ``info``."""
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
        if not was_readable:  # now a stream, or no key: all its entries came after the gap
            stream.seek_to_end(NO_STREAM)
            self.add(stream)
            return None
        return stream.compare(info, asked, is_certain)


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in chunks of at most ``most``."""
    for begin in range(0, len(items), most):
        yield items[begin : begin + most]
