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

from airyd.errors import SourceUnavailable
from airyd.sources.redis.batch_size import BatchSize
from airyd.sources.redis.connection import REPLY_PATIENCE, Link, LinkDown, NotTaken, all_of
from airyd.sources.redis.entries import Entries, read_entries
from airyd.sources.redis.protocol import RawEntry, Reply, Word
from airyd.sources.redis.stream_position import (
    NO_STREAM,
    Asked,
    Place,
    Stream,
    StreamInfo,
    before,
    digest,
    is_about_the_key,
    newest_place,
    order,
    read_info,
)

#: Seconds that an XREAD waits for entries. Not for ever, so that a link which swallows everything is noticed.
BLOCK: Final = 5.0
#: Seconds between two looks at the streams' counters: a gap is said within twice that.
LOOK_EVERY: Final = 1.5
#: Seconds after which a wake-up that came too early is tried again, and an XREAD that Redis refused.
_RETRY_WAKE: Final = 0.01
_RETRY_READ: Final = 0.5
#: Streams whose counters are asked for at once: an answer has up to two entries of each.
_LOOK_AT_ONCE: Final = 16

T = TypeVar("T")
#: The streams of one XREAD, and what was known of them.
Round: TypeAlias = dict[bytes, tuple[Stream, Asked]]


class Reader:
    """Reads the streams that it is given.

    :param link: for the blocking XREAD alone
    :param commands: for everything else
    :param deliver: called with what a reply brought, an :class:`Entries` per stream
    :param gap: called with a stream and the reason why entries of it were missed

    :ivar trouble: why Redis refuses to be read, though it can be reached; None otherwise
    """

    _log = Logger()

    def __init__(
        self,
        link: Link,
        commands: Link,
        clock: IReactorTime,
        body_limit: int,
        deliver: Callable[[list[tuple[Stream, Entries]]], None],
        gap: Callable[[Stream, str], None],
    ) -> None:
        self.trouble: str | None = None
        self._link = link
        self._commands = commands
        self._clock = clock
        self._body_limit = body_limit
        self._deliver = deliver
        self._gap = gap
        self._streams: dict[bytes, Stream] = {}
        self._round: Round | None = None
        self._waking: IDelayedCall | None = None
        self._idle: Deferred[None] | None = None
        self._batch_size = BatchSize()
        self._next = 0
        self._empty = 0
        self._reign = ""
        self._tasks: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin to read."""
        for work in (self._read(), self._watch_over()):
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
        elif self._round is not None:
            self._wake(self._round)

    def remove(self, key: bytes) -> None:
        """Read this stream no more; nothing of it is delivered from now on."""
        self._streams.pop(key, None)

    def position(self, key: bytes) -> str | None:
        """Return the id up to which a stream was delivered; None if it isn't being read."""
        stream = self._streams.get(key)
        return None if stream is None else stream.read

    def _wake(self, a_round: Round) -> None:
        """End the XREAD that waits without the new stream, or at a position that no longer holds."""
        if self._round is not a_round:
            return

        def woken(reply: Reply) -> None:
            is_due = self._waking is not None and self._waking.active()
            if reply == 0 and self._round is a_round and not is_due:  # the XREAD had not reached Redis yet
                self._waking = self._clock.callLater(_RETRY_WAKE, self._wake, a_round)

        # Where this isn't allowed, or the link is down, the XREAD ends by itself a little later.
        self._commands.command("CLIENT", "UNBLOCK", self._link.client_id).addCallbacks(woken, lambda failure: None)

    async def _read(self) -> None:
        looked_at = 0
        while True:
            await self._link.connected()
            readable = {key: stream for key, stream in self._streams.items() if stream.is_readable}
            if not readable:  # also those of which entries are missing
                self.trouble = None
                self._idle = Deferred()
                await self._idle
                continue
            asked: Round = {}
            try:
                if looked_at != self._link.generation:
                    # What happened while there was no connection? Nothing is on its way, so that this is certain.
                    generation = self._link.generation
                    self._batch_size.begin(len(self._streams))
                    if self._link.reign != self._reign:
                        await self._look_for_lost(self._link.reign)
                    await self._look(self._link, is_certain=True)
                    looked_at = generation
                    continue
                await self._go_on(self._link)
                asked = self._choose({key: stream for key, stream in readable.items() if stream.is_whole})
                if not asked:  # they have left, or became something else
                    continue
                reply = await self._ask(asked)
                self.trouble = None
                if isinstance(reply, list):  # else the time was over, or somebody woke it up
                    self._empty = 0
                    arrived = cast(list[tuple[bytes, list[RawEntry]]], reply)
                    # What came before these may be gone: find out before anybody gets them.
                    self._take(asked, arrived, await self._infos(self._link, [key for key, _ in arrived]))
                else:
                    self._empty += len(asked)
                    if self._empty >= len(readable):
                        self._batch_size.nothing_waits()
            except NotTaken:
                continue
            except LinkDown:
                self._batch_size.lost(len(asked) or self._look_at_once)
            except SourceUnavailable:
                continue  # until there is a connection
            except ResponseError as error:
                self._refused(error)
                await deferLater(self._clock, _RETRY_READ)
                looked_at = 0  # one of the streams may have become something else

    def _choose(self, readable: dict[bytes, Stream]) -> Round:
        """Return the streams to read next and their positions: all of them, or some in turn."""
        chosen = list(readable.items())
        streams = self._batch_size.streams
        if streams is not None and streams < len(chosen):
            begin = self._next % len(chosen)
            self._next = begin + streams
            chosen = (chosen + chosen)[begin : begin + streams]
        return {key: (stream, stream.asked()) for key, stream in chosen}

    async def _ask(self, asked: Round) -> Reply:
        ids = [known.read for _, known in asked.values()]
        limits: tuple[Word, ...] = ("COUNT", self._batch_size.count)
        if self._batch_size.streams is None:  # else the next streams in turn must not wait for these
            limits += ("BLOCK", int(BLOCK * 1000))
        self._round = asked
        try:
            return await self._link.command("XREAD", *limits, "STREAMS", *asked, *ids, patience=BLOCK + REPLY_PATIENCE)
        finally:
            self._round = None

    def _refused(self, error: ResponseError) -> None:
        trouble = str(error)
        if trouble != self.trouble and not is_about_the_key(error):
            self._log.warn("Redis refuses to be read: {error}", error=trouble)
            self.trouble = trouble

    def _take(
        self,
        asked: Round,
        arrived: list[tuple[bytes, list[RawEntry]]],
        infos: list[StreamInfo | SourceUnavailable],
    ) -> None:
        batch: list[tuple[Stream, Entries]] = []
        most = count = size = 0
        for (key, raw), info in zip(arrived, infos, strict=True):
            stream, known = asked[key]
            if self._streams.get(key) is not stream:  # unwatched meanwhile, and perhaps watched anew
                continue
            if stream.asked().life != known.life or not stream.is_whole:
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
            stream.missing = stream.find_missing(ids, info) or stream.advance(ids)
            if stream.missing is None:  # else they are read again, when those who miss something know
                stream.remember(raw)
                batch.append((stream, entries))
        if count:
            self._batch_size.came(most=most, entries=count, size=size, streams=len(self._streams))
        if batch:
            self._deliver(batch)

    async def _watch_over(self) -> None:
        while True:
            await deferLater(self._clock, LOOK_EVERY)
            await self._commands.connected()
            try:
                await self._look(self._commands, is_certain=False)
                await self._go_on(self._commands)
            except NotTaken:
                pass
            except LinkDown:
                self._batch_size.lost(self._look_at_once)
            except (SourceUnavailable, ResponseError):  # XREAD will be refused, too
                pass

    async def _look(self, link: Link, is_certain: bool) -> None:
        """Ask for the counters of all streams, and compare."""
        streams = list(self._streams.values())
        for each in _parts(streams, self._look_at_once):
            asked = [(stream, stream.asked()) for stream in each]
            infos = await all_of([_info(link.command("XINFO", "STREAM", stream.key)) for stream in each])
            for (stream, known), info in zip(asked, infos, strict=True):
                if self._streams.get(stream.key) is stream and stream.missing is None:
                    stream.missing = self._compare(stream, info, known, is_certain)
                    if stream.missing is not None:
                        await self._go_on_with(stream, info, link)

    @property
    def _look_at_once(self) -> int:
        return min(self._batch_size.streams or _LOOK_AT_ONCE, _LOOK_AT_ONCE)

    async def _infos(self, link: Link, keys: Sequence[bytes]) -> list[StreamInfo | SourceUnavailable]:
        infos: list[StreamInfo | SourceUnavailable] = []
        for each in _parts(keys, self._look_at_once):
            infos += await all_of([_info(link.command("XINFO", "STREAM", key)) for key in each])
        return infos

    async def _look_for_lost(self, reign: str) -> None:
        """Ask a master that is new whether it has what was read from the one before."""
        asked = [(stream, stream.read) for stream in self._streams.values() if stream.is_whole]
        for each in _parts(asked, self._look_at_once):
            # The counters first: what is added in between is of no matter then.
            infos = await self._infos(self._link, [stream.key for stream, _ in each])
            found = await all_of([self._link.command("XRANGE", stream.key, read, read) for stream, read in each])
            for (stream, read), info, there in zip(each, infos, found, strict=True):
                if self._streams.get(stream.key) is not stream or stream.read != read or not stream.is_whole:
                    continue
                if isinstance(info, StreamInfo):  # else the look that follows tells of it
                    stream.missing = stream.find_lost(cast(list[RawEntry], there), info)
                    if stream.missing is not None:
                        await self._go_on_with(stream, info, self._link)
        self._reign = reign

    async def _go_on(self, link: Link) -> None:
        """Read on all streams of which entries are missing."""
        for stream in [stream for stream in self._streams.values() if stream.missing is not None]:
            (info,) = await self._infos(link, [stream.key])
            await self._go_on_with(stream, info, link)

    async def _go_on_with(self, stream: Stream, info: StreamInfo | SourceUnavailable, link: Link) -> None:
        """Find out where to read on a stream of which entries are missing, and tell the gap.

        If the connection is lost meanwhile, the entries stay missing, and :meth:`_go_on` tries again.
        """
        life = stream.asked().life
        place = await self._find_place(stream, info, link) if isinstance(info, StreamInfo) else None
        why = stream.missing
        if why is None or stream.asked().life != life or self._streams.get(stream.key) is not stream:
            return  # the other connection was faster
        if place is None or not isinstance(info, StreamInfo):
            stream.is_readable = False
            stream.missing = None
        else:
            stream.is_readable = True
            stream.go_on(place, info)
            self.add(stream)  # the XREAD that waits, waits for entries after the old position
        self._gap(stream, why)

    async def _find_place(self, stream: Stream, info: StreamInfo, link: Link) -> Place:
        """Find the place after which a stream holds what was not sent yet.

        It is behind the greatest of the last ids that were read which it holds; else behind the last one that was
        read; if the stream ends before that, behind its end.
        """
        try:
            place = await self._find_held(stream, info, link)
            if place is None and order(info.last) >= order(stream.read):
                # From a position on nothing may be missing: it is behind what is gone.
                oldest = stream.read if info.oldest is None else before(info.oldest)
                place = Place(max(oldest, stream.read, key=order), None, 0)
            if place is None:
                return newest_place(info)
            unread = await self._count_after(stream.key, place.position, info, link)
        except ResponseError as error:  # a right is missing, say
            self._log.warn(
                "{destination}: events after a gap may be left out, Redis refuses XRANGE: {error}",
                destination=stream.destination,
                error=str(error),
                once_a_minute=f"after a gap {stream.destination}",
            )
            return newest_place(info)
        return place._replace(unread=unread) if unread else newest_place(info)

    async def _find_held(self, stream: Stream, info: StreamInfo, link: Link) -> Place | None:
        if info.oldest is None or info.newest is None:
            return None
        for part in stream.recent(info.oldest, info.newest):
            found = await all_of([link.command("XRANGE", stream.key, each, each) for each, _ in part])
            for (event_id, known), reply in zip(part, found, strict=True):
                entries = cast(list[RawEntry], reply)
                if entries and digest(entries[0][1]) == known:
                    return Place(event_id.decode(), entries[0][1], 0)
        return None

    async def _count_after(self, key: bytes, position: str, info: StreamInfo, link: Link) -> int:
        """Return how many entries a stream holds after a position, up to its last one by ``info``."""
        if position == info.last or info.oldest is None:
            return 0
        if order(info.oldest) > order(position):
            return info.length
        count = 0
        while True:
            most = self._batch_size.count
            after = f"({position}"
            found = cast(list[RawEntry], await link.command("XRANGE", key, after, info.last, "COUNT", most))
            count += len(found)
            if len(found) < most:
                return count
            size = sum(sum(map(len, fields or ())) for _, fields in found)
            self._batch_size.came(most=most, entries=most, size=size, streams=len(self._streams))
            position = found[-1][0].decode()

    def _compare(
        self, stream: Stream, info: StreamInfo | SourceUnavailable, asked: Asked, is_certain: bool
    ) -> str | None:
        was_readable = stream.is_readable
        stream.is_readable = isinstance(info, StreamInfo)
        if isinstance(info, SourceUnavailable):
            return str(info) if was_readable else None
        if not was_readable:  # a stream again, or nothing: all that is in it came after the gap
            stream.resume(NO_STREAM)
            self.add(stream)
            return None
        return stream.compare(info, asked, is_certain)


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of so many at most."""
    for begin in range(0, len(items), most):
        yield items[begin : begin + most]


def _info(asking: Deferred[Reply]) -> Deferred[StreamInfo | SourceUnavailable]:
    """Make of a reply what it says, and of a key that is no stream its reason."""

    def refused(failure: Failure) -> Reply:
        failure.trap(ResponseError)
        error = cast(Exception, failure.value)
        if not is_about_the_key(error):
            raise error
        return error

    def read(reply: Reply) -> StreamInfo | SourceUnavailable:
        try:
            return read_info(reply)
        except SourceUnavailable as error:
            return error

    return asking.addErrback(refused).addCallback(read)
