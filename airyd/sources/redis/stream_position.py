"""What is known of one watched stream, and what its counters say about entries that were missed.

Redis doesn't tell a blocked reader that a stream was deleted, replaced or trimmed. But it counts: every
entry that was ever added (``entries-added``), and the last id that was given (``last-generated-id``).
Whoever has read all entries up to an id knows how many those are.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.protocol import RawEntry, RedisReply

#: The position before all entries.
NOTHING: Final = "0-0"

#: Ids of entries that were read which a stream keeps, to find out after a gap which of them Redis still has.
RECENT: Final = 1000
#: Of these so many are looked up at once: each answer has an entry.
_PART: Final = 16

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\Z")
_LARGEST: Final = (1 << 64) - 1


def order(event_id: str) -> tuple[int, int]:
    """Return the two numbers of a stream's id; ``ValueError`` for what is none."""
    match = _ID.match(event_id)
    numbers = match and (int(match[1]), int(match[2]))
    if not numbers or max(numbers) > _LARGEST:
        raise ValueError("not an id of a Redis stream")
    return numbers


def before(event_id: str) -> str:
    """Return the greatest id that is smaller than this one."""
    first, second = order(event_id)
    return f"{first}-{second - 1}" if second else f"{max(first - 1, 0)}-{_LARGEST if first else 0}"


class StreamInfo(NamedTuple):
    """What ``XINFO STREAM`` says.

    :ivar last: the last id that was given to an entry
    :ivar added: how many entries were ever added
    :ivar deleted: the largest id that was deleted by XDEL (trimming does not count)
    :ivar newest: the id of the newest entry that is there; None if the stream is empty
    :ivar oldest: the id of the oldest one
    :ivar length: how many are there
    :ivar fields: what the newest entry holds
    :ivar exists: whether there is such a key
    """

    last: str
    added: int
    deleted: str
    newest: str | None
    oldest: str | None = None
    length: int = 0
    fields: list[bytes] | None = None
    exists: bool = True


#: A key that doesn't exist.
NO_STREAM: Final = StreamInfo(NOTHING, 0, NOTHING, None, exists=False)


def is_about_the_key(error: Exception) -> bool:
    """Say whether an error tells something of the key, and not that Redis can't answer (it loads, is busy, refuses)."""
    return str(error).startswith(("ERR no such key", "WRONGTYPE"))


def read_info(reply: RedisReply) -> StreamInfo:
    """Read the reply to ``XINFO STREAM``, also one that says that there is no such key.

    Raises ``SourceUnavailable`` if the key is no stream, or Redis is older than 7.0.
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
    return StreamInfo(
        last=_text(facts[b"last-generated-id"]),
        added=added,
        deleted=_text(facts[b"max-deleted-entry-id"]),
        newest=_text(newest[0]) if isinstance(newest, list) else None,
        oldest=_text(oldest[0]) if isinstance(oldest, list) else None,
        length=cast(int, facts[b"length"]),
        fields=cast(list[bytes], newest[1]) if isinstance(newest, list) else None,
    )


def _text(value: object) -> str:
    return cast(bytes, value).decode()


class ResumePoint(NamedTuple):
    """Where reading goes on after a gap.

    :ivar position: the id after which to read
    :ivar fields: of the entry with this id; None if there is none
    :ivar unread: how many entries the stream holds after it
    """

    position: str
    fields: list[bytes] | None
    unread: int


def end_of_stream(info: StreamInfo) -> ResumePoint:
    """Return the point after all that a stream holds."""
    return ResumePoint(info.last, info.fields if info.newest == info.last else None, 0)


def digest(fields: Sequence[bytes] | None) -> int:
    """Return a number by which to tell two entries with the same id apart, within this process."""
    return hash(tuple(fields or ()))


class Snapshot(NamedTuple):
    """What was known of a stream when Redis was asked about it.

    :ivar seeks: how often reading has begun at another position
    """

    read: str
    added: int
    seeks: int


class Stream:
    """One stream that is being read.

    :ivar key: the name of the stream
    :ivar read: the id of the last entry that was read, or the position from which on it is read
    :ivar newest: the fields of the entry ``read``; None if there was none at that position
    :ivar is_readable: False while the key is something else
    :ivar missing: why entries are missing; not None until it is known where to read on
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
        "destination",
        "is_readable",
        "key",
        "missing",
        "newest",
        "read",
    )

    def __init__(self, destination: str, key: bytes, info: StreamInfo) -> None:
        self.destination = destination
        self.key = key
        self.is_readable = True
        self.missing: str | None = None
        self._seeks = 0
        self._ids: deque[bytes] = deque(maxlen=RECENT)
        self._digests: deque[int] = deque(maxlen=RECENT)
        self.seek_to_end(info)

    def seek_to_end(self, info: StreamInfo) -> None:
        """Read on from the stream's last position."""
        self.seek(end_of_stream(info), info)

    def seek(self, point: ResumePoint, info: StreamInfo) -> None:
        """Read on from another position.

        :param info: what Redis said of the stream when it had so many unread entries
        """
        self.read = point.position
        self.newest = point.fields
        position = point.position.encode()
        while self._ids and self._ids[-1] != position:  # those after it are gone
            self._ids.pop()
            self._digests.pop()
        if point.fields is not None and not self._ids:
            self._remember(position, point.fields)
        self._count = info.added - point.unread  # entries up to `read`
        self._added = info.added  # entries when last looked
        self._unread = point.unread
        self._known_last = info.last
        self._checkpoint: tuple[str, int] | None = None
        self._suspect: str | None = None
        self.missing = None
        self._seeks += 1

    @property
    def is_whole(self) -> bool:
        """Whether the stream can be read: it is one, and nothing is known to be missing."""
        return self.is_readable and self.missing is None

    @property
    def needs_position(self) -> bool:
        """Whether there is no entry that a client could show later, and none that follows."""
        return self.newest is None and not self._unread

    def remember(self, raw: Sequence[RawEntry]) -> None:
        """Keep the ids of entries that were read, once they have been taken down with :meth:`advance`."""
        for event_id, fields in raw:
            self._remember(event_id, fields)
        last, fields = raw[-1]
        self.newest = fields if last.decode() == self.read else None

    def _remember(self, event_id: bytes, fields: Sequence[bytes] | None) -> None:
        self._ids.append(event_id)
        self._digests.append(digest(fields))

    def recent(self, oldest: str, newest: str) -> Iterator[list[tuple[bytes, int]]]:
        """Yield the entries that were read last, each as its id and digest, from the newest on, in growing parts.

        :param oldest: the id before which none is wanted
        :param newest: the id after which none is wanted
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
        """Return what is known now, to compare with what Redis will say."""
        return Snapshot(self.read, self._added, self._seeks)

    def find_lost(self, there: Sequence[RawEntry], info: StreamInfo) -> str | None:
        """Return why another master need not have all that was read, or None if it has; ask before anything is read.

        Replication carries over all that was written up to some moment, in its order. So whoever has the last entry
        that was read has all before it; what it has added itself comes after it, and will be read. The id alone
        doesn't tell: where its clock is behind, a new master may give the id of a lost entry again.

        :param there: the entries with the id ``read`` that it has: one or none
        :param info: what it said of the stream at the same time
        """
        if self.read == NOTHING:
            return None
        if not there:  # lost, trimmed or deleted; but where there was none, it is as it was
            if self.newest is None and info.last == self.read:
                return None
            return f"the new master does not have {self.read}, which was read"
        if there[0][1] != self.newest:
            return f"the new master has another entry {self.read}"
        return None

    def find_missing(self, ids: Sequence[str], info: StreamInfo) -> str | None:
        """Return why entries up to what Redis says must be missing, or None; ask before :meth:`advance`.

        :param ids: of the entries that were just read
        :param info: what Redis said after that, over the same connection: nothing is on its way
        """
        read = order(ids[-1])
        if not info.exists:
            return "the stream is gone"
        if order(info.last) < read:
            return f"the stream was replaced: its last id {info.last} is before {ids[-1]}, which was read"
        if info.added < self._count + len(ids):
            return "the stream was replaced: it has had fewer entries than were read"
        if order(info.deleted) >= order(ids[0]):
            return None  # XDEL makes holes, before these or after them: the next looks tell
        if info.newest is None or info.oldest is None or order(info.newest) <= read:
            unread = 0
        elif order(info.oldest) > read:
            unread = info.length
        elif info.oldest in ids:
            unread = info.length - len(ids) + ids.index(info.oldest)
        else:
            return None  # what goes, goes from the oldest on; and there is still one that was read before these
        return _missing(info.added - self._count - len(ids) - unread, info.last)

    def advance(self, ids: Sequence[str]) -> str | None:
        """Take down the ids of entries that were read, in order, or return why some before them must be missing."""
        missing: str | None = None
        if self._checkpoint is not None and order(ids[-1]) >= order(self._checkpoint[0]):
            last, added = self._checkpoint
            upto = sum(order(event_id) <= order(last) for event_id in ids)
            if last not in ids:
                missing = f"the entry {last} went before it was read"
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
                self.read = self._known_last  # what came after these was gone when reading went on here
        return None

    def compare(self, info: StreamInfo, known: Snapshot, is_certain: bool) -> str | None:
        """Compare with what Redis says; return why entries must be missing, or None.

        Two connections ask, so that an answer may be older than what is known already.

        :param known: what was known when Redis was asked; the reader may have gone on meanwhile
        :param is_certain: that nothing is on its way to the reader
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
                # What came after `read` is gone; but it may be in a reply that is on its way here.
                if is_certain or self._suspect == self.read:
                    return f"the entries after {self.read} went before they were read"
                self._suspect = self.read
        return None


def _missing(count: int, upto: str) -> str | None:
    if count < 0:  # more were read than the stream has had
        return "the stream was replaced"
    return f"{count} entries up to {upto} went before they were read" if count else None
