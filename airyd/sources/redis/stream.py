"""What is known of one watched stream, and what its counters say about entries that were missed.

Redis doesn't tell a blocked reader that a stream was deleted, replaced or trimmed. But it counts: every
entry that was ever added (``entries-added``), and the last id that was given (``last-generated-id``).
Whoever has read all entries up to an id knows how many those are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.link import Reply

#: The position before all entries.
NOTHING: Final = "0-0"

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\Z")
_LARGEST: Final = (1 << 64) - 1


def order(event_id: str) -> tuple[int, int]:
    """Return the two numbers of a stream's id; ``ValueError`` for what is none."""
    match = _ID.match(event_id)
    numbers = match and (int(match[1]), int(match[2]))
    if not numbers or max(numbers) > _LARGEST:
        raise ValueError("not an id of a Redis stream")
    return numbers


class StreamInfo(NamedTuple):
    """What ``XINFO STREAM`` says.

    :ivar last: the last id that was given to an entry
    :ivar added: how many entries were ever added
    :ivar deleted: the largest id that was deleted by XDEL (trimming does not count)
    :ivar newest: the id of the newest entry that is there; None if the stream is empty
    """

    last: str
    added: int
    deleted: str
    newest: str | None


#: A key that doesn't exist.
NO_STREAM: Final = StreamInfo(NOTHING, 0, NOTHING, None)


def read_info(reply: Reply) -> StreamInfo:
    """Read the reply to ``XINFO STREAM``, also one that says that there is no such key.

    Raises ``SourceUnavailable`` if the key is no stream, or Redis is older than 7.0.
    """
    if isinstance(reply, ResponseError):
        if "no such key" in str(reply):
            return NO_STREAM
        raise SourceUnavailable(f"Redis: {reply}")
    flat = cast("list[bytes | int | list[bytes] | None]", reply)
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    added = facts.get(b"entries-added")
    if not isinstance(added, int):
        raise SourceUnavailable("Redis 7.0 or newer is needed, for the counters of XINFO STREAM")
    newest = facts[b"last-entry"]
    return StreamInfo(
        last=_text(facts[b"last-generated-id"]),
        added=added,
        deleted=_text(facts[b"max-deleted-entry-id"]),
        newest=_text(newest[0]) if isinstance(newest, list) else None,
    )


def _text(value: object) -> str:
    return cast(bytes, value).decode()


class Stream:
    """One stream that is being read.

    :ivar key: the name of the stream
    :ivar read: the id of the last entry that was read, or the position from which on it is read
    :ivar is_readable: False while the key is something else
    """

    __slots__ = ("_added", "_checkpoint", "_count", "_suspect", "destination", "is_readable", "key", "read")

    def __init__(self, destination: str, key: bytes, info: StreamInfo) -> None:
        self.destination = destination
        self.key = key
        self.is_readable = True
        self.resume(info)

    def resume(self, info: StreamInfo) -> None:
        """Read on from the stream's last position."""
        self.read = info.last
        self._count = self._added = info.added  # entries up to `read`; entries when last looked
        self._checkpoint: tuple[str, int] | None = None
        self._suspect: str | None = None

    def advance(self, ids: Sequence[str]) -> str | None:
        """Take down the ids of entries that were read, in order; return why some must be missing, or None."""
        before, self.read = self._count, ids[-1]
        self._count += len(ids)
        self._suspect = None
        if self._checkpoint is None:
            return None
        last, added = self._checkpoint
        if order(self.read) < order(last):
            return None
        self._checkpoint = None
        try:
            upto = ids.index(last) + 1
        except ValueError:
            return f"the entry {last} went before it was read"
        if before + upto != added:
            return f"{added - before - upto} entries before {last} went before they were read"
        return None

    def compare(self, info: StreamInfo, read_then: str, is_certain: bool) -> str | None:
        """Compare with what Redis says; return why entries must be missing, or None.

        :param read_then: ``read`` when Redis was asked; the reader may have gone on meanwhile
        :param is_certain: that nothing is on its way to the reader
        """
        last = order(info.last)
        if info is NO_STREAM and read_then != NOTHING:
            return "the stream is gone"
        if last < order(read_then):
            return f"the stream was replaced: its last id {info.last} is before {read_then}, which was read"
        if info.added < self._added:
            return f"the stream was replaced: it has had {info.added} entries, and had {self._added} before"
        self._added = info.added
        read = order(self.read)
        if last == read:
            self._suspect = None
            if info.added != self._count:
                return f"{info.added - self._count} entries up to {info.last} went before they were read"
        elif last > read:
            self._checkpoint = (info.last, info.added)
            if info.newest is None or order(info.newest) <= read:
                # What came after `read` is gone; but it may be in a reply that is on its way here.
                if is_certain or self._suspect == self.read:
                    return f"the entries after {self.read} went before they were read"
                self._suspect = self.read
        return None
