"""The position of one watched stream, and the detection of gaps by the counters of XINFO STREAM.

Redis doesn't tell a blocked reader that a stream was deleted, replaced or trimmed. But it counts the entries
ever added (``entries-added``) and keeps the last id (``last-generated-id``). A reader that has read all
entries up to an id knows their number, so that a difference reveals a gap.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.interfaces import Lag
from airyd.sources.redis.protocol import RawEntry, RedisReply

#: The id before all entries.
NOTHING: Final = "0-0"

#: Ids of read entries to remember per stream, to find out after a gap which of them Redis still has.
RECENT: Final = 1000
#: The maximum number of these ids to look up at once, because each reply contains an entry.
_PART: Final = 16

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\Z")
_LARGEST: Final = (1 << 64) - 1


def order(event_id: str) -> tuple[int, int]:
    """Return the two numbers of a stream id; raises ``ValueError`` if it is not one."""
    match = _ID.match(event_id)
    numbers = match and (int(match[1]), int(match[2]))
    if not numbers or max(numbers) > _LARGEST:
        raise ValueError("not an id of a Redis stream")
    return numbers


def added_at(event_id: str) -> float:
    """Return when the entry of an id was added, in seconds since 1970: Redis begins an id with its clock."""
    return order(event_id)[0] / 1000


def before(event_id: str) -> str:
    """Return the greatest id that is smaller than ``event_id``."""
    first, second = order(event_id)
    return f"{first}-{second - 1}" if second else f"{max(first - 1, 0)}-{_LARGEST if first else 0}"


class StreamInfo(NamedTuple):
    """The reply to ``XINFO STREAM``, or to the script of ``stream_counters``, which leaves out the fields.

    :ivar last: the last id given to an entry
    :ivar added: the number of entries ever added
    :ivar deleted: the largest id deleted by XDEL (trimming does not count)
    :ivar newest: the id of the newest entry; None if the stream is empty
    :ivar oldest: the id of the oldest entry; None if the stream is empty
    :ivar length: the number of entries
    :ivar fields: the fields of the newest entry; None also if the script has left them out
    :ivar size: the bytes of the fields of the newest and the oldest entry
    :ivar exists: whether the key exists
    """

    last: str
    added: int
    deleted: str
    newest: str | None
    oldest: str | None = None
    length: int = 0
    fields: list[bytes] | None = None
    size: int = 0
    exists: bool = True


#: The info of a key that doesn't exist.
NO_STREAM: Final = StreamInfo(NOTHING, 0, NOTHING, None, exists=False)


def is_about_the_key(error: Exception) -> bool:
    """Return whether an error means that the key is missing or not a stream, unlike LOADING or NOPERM."""
    return str(error).startswith(("ERR no such key", "WRONGTYPE"))


def read_info(reply: RedisReply) -> StreamInfo:
    """Parse the reply to ``XINFO STREAM``; the error "no such key" gives ``NO_STREAM``.

    Raises ``SourceUnavailable`` if the key is not a stream, or Redis is older than 7.0.
    """
    if isinstance(reply, ResponseError):
        if "no such key" in str(reply):
            return NO_STREAM
        raise SourceUnavailable(f"Redis: {reply}")
    flat = cast("list[bytes | int | list[object] | None]", reply)
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    added = facts.get(b"entries-added")
    if not isinstance(added, int):
        raise SourceUnavailable("Redis 7.0 or newer is needed, for the counters of XINFO STREAM")
    newest, oldest = facts[b"last-entry"], facts[b"first-entry"]
    newest_id, fields, newest_size = _read_entry(newest)
    oldest_id, _, oldest_size = _read_entry(oldest)
    return StreamInfo(
        last=_text(facts[b"last-generated-id"]),
        added=added,
        deleted=_text(facts[b"max-deleted-entry-id"]),
        newest=newest_id,
        oldest=oldest_id,
        length=cast(int, facts[b"length"]),
        fields=fields,
        size=newest_size + oldest_size,
    )


def _read_entry(entry: object) -> tuple[str | None, list[bytes] | None, int]:
    """Return an entry's id, its fields and their bytes; the script gives the bytes in place of the fields."""
    if not isinstance(entry, list):
        return None, None, 0
    event_id, fields = entry
    if isinstance(fields, int):
        return _text(event_id), None, fields
    return _text(event_id), fields, sum(map(len, fields))


def _text(value: object) -> str:
    return cast(bytes, value).decode()


class ResumePoint(NamedTuple):
    """The point at which reading continues after a gap.

    :ivar position: the id after which to read
    :ivar fields: the fields of the entry with this id; None if there is none
    :ivar unread: the number of entries after it
    """

    position: str
    fields: list[bytes] | None
    unread: int


def end_of_stream(info: StreamInfo) -> ResumePoint:
    """Return the point after all entries of a stream."""
    return ResumePoint(info.last, info.fields if info.newest == info.last else None, 0)


def digest(fields: Sequence[bytes] | None) -> int:
    """Return a hash that distinguishes two entries with the same id, valid in this process only."""
    return hash(tuple(fields or ()))


class Snapshot(NamedTuple):
    """The state of a stream when a command about it was sent.

    :ivar seeks: how often reading has moved to another position
    """

    read: str
    added: int
    seeks: int


class Stream:
    """One stream that is being read.

    :ivar key: the stream's key
    :ivar read: the id of the last entry read, or the position after which reading starts
    :ivar newest: the fields of the entry ``read``; None if there is no entry at that position
    :ivar is_readable: False while the key is not a stream
    :ivar oldest: the id of the oldest entry at the last check; None if there was none
    :ivar info_size: the bytes of the entries in the last reply to XINFO
    :ivar missing: the reason of a gap, until the point at which reading continues is known; None otherwise
    :ivar behind_since: when the first of the checks in a row found entries that were not read yet, in seconds of the
        reactor; None if the last check found none, or all were read since
    :ivar compared_at: when Redis last said how many entries there are, in seconds of the reactor
    """

    __slots__ = (
        "_added",
        "_checkpoint",
        "_count",
        "_digests",
        "_ids",
        "_known_last",
        "_seeks",
        "_suspect",
        "_unread",
        "behind_since",
        "compared_at",
        "destination",
        "info_size",
        "is_readable",
        "key",
        "missing",
        "newest",
        "oldest",
        "read",
    )

    def __init__(self, destination: str, key: bytes, info: StreamInfo) -> None:
        self.destination = destination
        self.key = key
        self.is_readable = True
        self.missing: str | None = None
        self.behind_since: float | None = None
        self.compared_at = 0.0
        self.oldest = info.oldest
        self.info_size = info.size
        self._seeks = 0
        self._ids: deque[bytes] = deque(maxlen=RECENT)
        self._digests: deque[int] = deque(maxlen=RECENT)
        self.seek_to_end(info)

    def seek_to_end(self, info: StreamInfo) -> None:
        """Continue reading at the end of the stream."""
        self.seek(end_of_stream(info), info)

    def seek(self, point: ResumePoint, info: StreamInfo) -> None:
        """Continue reading at another position.

        :param info: the info of the stream from when ``point.unread`` was counted
        """
        self.read = point.position
        self.newest = point.fields
        position = point.position.encode()
        while self._ids and self._ids[-1] != position:  # later entries are gone
            self._ids.pop()
            self._digests.pop()
        if point.fields is not None and not self._ids:
            self._remember(position, point.fields)
        self._count = info.added - point.unread  # entries up to `read`
        self._added = info.added  # entries ever added, at the last check
        self._unread = point.unread
        self._known_last = info.last
        self._checkpoint: tuple[str, int] | None = None
        self._suspect: str | None = None
        self.missing = None
        self._seeks += 1

    @property
    def is_whole(self) -> bool:
        """Whether the key is a stream, without a gap that is still to be reported."""
        return self.is_readable and self.missing is None

    @property
    def lag(self) -> int:
        """How many entries were not read yet, as of the last check; 0 in an unresolved gap."""
        return max(self._added - self._count, 0) if self.is_whole else 0

    def note_lag(self, now: float) -> None:
        """Note that Redis has said now how many entries there are."""
        self.compared_at = now
        if not self.lag:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now

    def lag_at(self, now: float, wall: float, silence: float) -> Lag:
        """Return how far the reader is behind.

        The entry after the position is the oldest that was not read. It was added after the entry at the position, and
        perhaps long before a check found it, or long after the position if the stream was quiet: the smaller of both
        bounds counts. While Redis does not answer, it is the time since its last answer: so much may be unread.

        :param now: the time in seconds of the reactor
        :param wall: the wall-clock time in seconds since 1970
        :param silence: seconds without an answer after which they count
        """
        seconds = 0.0
        if self.lag and self.behind_since is not None:
            seconds = max(min(now - self.behind_since, wall - added_at(self.read)), 0.0)
        silent = now - self.compared_at
        if self.is_whole and silent > silence:
            seconds = max(seconds, silent)
        return Lag(self.lag, seconds)

    @property
    def needs_position(self) -> bool:
        """Whether there is no entry at this position or after it from which a client could resume later."""
        return self.newest is None and not self._unread

    def remember(self, raw: Sequence[RawEntry]) -> None:
        """Remember the ids of read entries; called after :meth:`advance`."""
        for event_id, fields in raw:
            self._remember(event_id, fields)
        last, fields = raw[-1]
        self.newest = fields if last.decode() == self.read else None

    def _remember(self, event_id: bytes, fields: Sequence[bytes] | None) -> None:
        self._ids.append(event_id)
        self._digests.append(digest(fields))

    def recent(self, oldest: str, newest: str) -> Iterator[list[tuple[bytes, int]]]:
        """Yield the ids and digests of the last entries read, newest first, in growing chunks.

        :param oldest: the smallest id to yield
        :param newest: the largest id to yield
        """
        part: list[tuple[bytes, int]] = []
        most = 1
        for event_id, known in list(zip(reversed(self._ids), reversed(self._digests), strict=True)):
            numbers = order(event_id.decode())
            if numbers < order(oldest):
                break
            if numbers <= order(newest):
                part.append((event_id, known))
            if len(part) == most:
                yield part
                part, most = [], min(2 * most, _PART)
        if part:
            yield part

    def snapshot(self) -> Snapshot:
        """Return the current state, to compare with a later reply."""
        return Snapshot(self.read, self._added, self._seeks)

    def find_lost(self, there: Sequence[RawEntry], info: StreamInfo) -> str | None:
        """Return why a new master may lack entries that were read, or None if it has them; called before it is read.

        Replication copies writes in order, up to some moment. So a master that has the last entry read has all
        entries before it; its own new entries come after it, and will be read. The id alone proves nothing: if its
        clock is behind, a new master may give the id of a lost entry to another one.

        :param there: the master's entries with the id ``read``: one or none
        :param info: the master's info of the stream, from the same time
        """
        if self.read == NOTHING:
            return None
        if not there:  # lost, trimmed or deleted, unless there never was one
            if self.newest is None and info.last == self.read:
                return None
            return f"the new master does not have {self.read}, which was read"
        if there[0][1] != self.newest:
            return f"the new master has another entry {self.read}"
        return None

    def find_missing(self, ids: Sequence[str], info: StreamInfo) -> str | None:
        """Return why entries up to ``info.last`` must be missing, or None; called before :meth:`advance`.

        :param ids: the ids of the entries just read
        :param info: the info after that, over the same connection: no entries are in flight
        """
        read = order(ids[-1])
        if not info.exists:
            return "the stream is gone"
        if order(info.last) < read:
            return f"the stream was replaced: its last id {info.last} is before {ids[-1]}, which was read"
        if info.added < self._count + len(ids):
            return "the stream was replaced: it has had fewer entries than were read"
        if order(info.deleted) >= order(ids[0]):
            return None  # XDEL leaves holes before or after these: the next checks decide
        if info.newest is None or info.oldest is None or order(info.newest) <= read:
            unread = 0
        elif order(info.oldest) > read:
            unread = info.length
        elif info.oldest in ids:
            unread = info.length - len(ids) + ids.index(info.oldest)
        else:
            return None  # trimming removes the oldest first, and an entry read earlier still exists
        return _missing(info.added - self._count - len(ids) - unread, info.last)

    def advance(self, ids: Sequence[str]) -> str | None:
        """Advance the position over the read entries, or return why entries before them must be missing."""
        missing: str | None = None
        if self._checkpoint is not None and order(ids[-1]) >= order(self._checkpoint[0]):
            last, added = self._checkpoint
            upto = sum(order(event_id) <= order(last) for event_id in ids)
            if last not in ids:
                missing = f"the entry {last} was removed before it was read"
            else:
                missing = _missing(added - self._count - upto, last)
            self._checkpoint = None
        if missing is not None:
            return missing
        self.read = ids[-1]
        self._count += len(ids)
        self._suspect = None
        if self._unread:
            self._unread = max(0, self._unread - len(ids))
            if not self._unread and order(self.read) < order(self._known_last):
                self.read = self._known_last  # later entries were already gone at the seek
        return None

    def compare(self, info: StreamInfo, known: Snapshot, is_certain: bool) -> str | None:
        """Compare the counters with the position; return why entries must be missing, or None.

        Two connections ask, so that a reply may be older than the position.

        :param known: the state when XINFO was sent; the reader may have advanced since then
        :param is_certain: whether no entries are in flight to the reader
        """
        if known.seeks != self._seeks:
            return None
        last = order(info.last)
        if not info.exists and known.read != NOTHING:
            return "the stream is gone"
        if last < order(known.read):
            return f"the stream was replaced: its last id {info.last} is before {known.read}, which was read"
        if info.added < known.added:
            return f"the stream was replaced: it has had {info.added} entries, and had {known.added} before"
        self._added = max(self._added, info.added)
        read = order(self.read)
        if last == read:
            self._suspect = None
            return _missing(info.added - self._count, info.last)
        if last > read:
            self._checkpoint = (info.last, info.added)
            if info.newest is None or order(info.newest) <= read:
                # The entries after `read` are gone from Redis, but they may be in a reply in flight.
                if is_certain or self._suspect == self.read:
                    return f"the entries after {self.read} were removed before they were read"
                self._suspect = self.read
        return None


def _missing(count: int, upto: str) -> str | None:
    if count < 0:  # more entries were read than were ever added
        return "the stream was replaced"
    return f"{count} entries up to {upto} were removed before they were read" if count else None
