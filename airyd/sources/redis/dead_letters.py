"""The dead-letter stream: copies of invalid entries and messages, so that publishers can find them."""

from __future__ import annotations

from typing import Final, cast
from zlib import crc32

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.events import InvalidEntry
from airyd.limits import KIB
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.entries import RefusedEntry
from airyd.sources.redis.protocol import RawEntry

#: Dead letters kept, and the most bytes of a body.
DEAD_LETTERS: Final = 1000
BODY_BYTES: Final = 64 * KIB
#: Copies per second of a node after a burst of ``DEAD_LETTERS``; more would push out older ones at once.
COPIES_PER_SECOND: Final = 100
#: Dead letters that are read at once to find one of them, with at most ``BODY_BYTES`` each.
LOOKED_THROUGH: Final = 16
#: Pub/Sub messages have no ids: seconds for which a key marks one as copied, and the number of such keys.
REMEMBERED: Final = 60
MARKS: Final = 4096


class DeadLetters:
    """Copies each refused entry or message to the stream ``<prefix>dead-letter``, once for all nodes.

    Copying is best effort: without the right to write nothing is copied, and the log says so once; of a flood only
    some are copied.

    Nodes agree on who copies. The ids of a stream increase: the id of the last copied entry is added to the stream
    ``<prefix>dead-letter:<key>``, which refuses an equal or smaller id. For Pub/Sub messages one of 4,096 keys is set
    for a minute.

    :param kind: ``stream`` or ``channel``: the name of a dead letter's first field
    """

    _log = Logger()

    def __init__(self, connection: RedisConnection, prefix: str, kind: str, clock: IReactorTime) -> None:
        self._connection = connection
        self._kind = kind
        self._clock = clock
        self._key = f"{prefix}dead-letter"
        self._is_allowed = self._may_be_read = True
        self._left = float(DEAD_LETTERS)
        self._counted_at = clock.seconds()

    def copy(self, key: bytes, refused: RefusedEntry) -> None:
        """Copy a refused entry or message of the stream or channel ``key``."""
        if not self._is_allowed:
            return
        if self._may_copy():
            Deferred.fromCoroutine(self._copy(key.decode(), refused)).addErrback(
                lambda failure: self._log.failure("cannot copy a refused entry", failure)
            )
        else:
            self._log.warn(
                "{key} {id}: not copied, because more than {rate} entries per second are refused",
                key=key.decode(),
                id=refused.event_id,
                rate=COPIES_PER_SECOND,
                once_a_minute=f"too many to copy {key.decode()}",
            )

    async def find(self, key: bytes, event_id: str) -> InvalidEntry | None:
        """Find the copy of an entry or message that was refused; None if there is none, or airyd may not read it.

        Errors: ``SourceUnavailable``.
        """
        wanted = [self._kind.encode(), key, b"id", event_id.encode()]
        after, is_more = "-", self._may_be_read
        while is_more:
            try:
                reply = await self._connection.command("XRANGE", self._key, after, "+", "COUNT", LOOKED_THROUGH)
            except ResponseError as error:
                self._may_be_read = not str(error).startswith("NOPERM")  # each try would fill Redis' ACL LOG
                return None
            letters = cast("list[RawEntry]", reply)
            for _, fields in letters:
                if fields is not None and fields[:4] == wanted and fields[4] == b"reason":
                    return InvalidEntry(fields[5].decode(errors="replace"))
            is_more = len(letters) == LOOKED_THROUGH
            after = f"({letters[-1][0].decode()}" if letters else after
        return None

    def _may_copy(self) -> bool:
        now = self._clock.seconds()
        self._left = min(self._left + COPIES_PER_SECOND * (now - self._counted_at), DEAD_LETTERS)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def _is_first(self, key: str, event_id: str) -> bool:
        """Return whether this node is the first to copy this; then no other node does."""
        if self._kind == "channel":
            mark = f"{self._key}:{crc32(f'{key}:{event_id}'.encode()) % MARKS}"
            return await self._connection.command("SET", mark, "", "NX", "EX", REMEMBERED) is not None
        try:
            await self._connection.command("XADD", f"{self._key}:{key}", "MAXLEN", 1, event_id, "copied", "")
        except ResponseError as error:
            if str(error).startswith("ERR "):  # the id is not greater than the last; other errors have another prefix
                return False
            raise
        return True

    async def _copy(self, key: str, refused: RefusedEntry) -> None:
        body = (refused.body or b"")[:BODY_BYTES]
        try:
            if not await self._is_first(key, refused.event_id):
                return
            fields = (self._kind, key, "id", refused.event_id, "reason", str(refused.refusal), "payload", body)
            await self._connection.command("XADD", self._key, "MAXLEN", "~", DEAD_LETTERS, "*", *fields)
        except ResponseError as error:
            self._is_allowed = not str(error).startswith("NOPERM")
            self._log.warn(
                "{key} {id}: not copied: {error}",
                key=key,
                id=refused.event_id,
                error=str(error),
                once_a_minute=f"not copied {key}",
            )
        except SourceUnavailable:
            self._log.info(
                "{key} {id}: not copied, because Redis is not connected",
                key=key,
                id=refused.event_id,
                once_a_minute=f"away {key}",
            )
