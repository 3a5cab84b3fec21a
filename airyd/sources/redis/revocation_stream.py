"""The Redis stream of revoked tokens, which all nodes read from the start, with Streams and with Pub/Sub."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError
from zope.interface import implementer

from airyd.errors import SourceUnavailable
from airyd.interfaces import IRevocationStore
from airyd.revocation import Revocation, RevocationKind, RevocationTable, is_name
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.connection import REPLY_PATIENCE, NotConnected, RedisConnection
from airyd.sources.redis.protocol import RawEntry

#: Seconds that an XREAD blocks; an emptied stream is noticed within about that time.
BLOCK: Final = 5.0
#: Seconds until the retry of a command that Redis refused.
_RETRY: Final = 1.0
#: Entries per read, and entries checked for expired revocations before an XADD.
_PAGE: Final = 500
#: The id before all entries.
_START: Final = "0-0"
#: The longest random delay in seconds before lost revocations are written again: the first node saves the others work.
REWRITE_WITHIN: Final = 2.0


@implementer(IRevocationStore)
class RevocationStream:
    """Stores revocations in the stream ``<prefix>revocations``; an entry's fields are those of a ``Revocation``.

    Nodes write entries that Redis has lost (in a failover, or by FLUSHALL) again, so that nodes which start later
    also learn of them.

    :param commands: the source's connection for all commands but the blocking XREAD
    :param wall: the wall-clock time, seconds since 1970
    """

    _log = Logger()

    def __init__(
        self, redis: RedisClient, commands: RedisConnection, prefix: str, clock: IReactorTime, wall: Callable[[], float]
    ) -> None:
        self._name = redis.name
        self._key = f"{prefix}revocations"
        self._connection = redis.connection("revocations")
        self._commands = commands
        self._clock = clock
        self._wall = wall
        self._known = RevocationTable(wall)
        self._lost: dict[tuple[RevocationKind, str], Revocation] = {}
        self._learn: Callable[[Sequence[Revocation]], None] = lambda revocations: None
        self._trouble: str | None = None
        self._reading: Deferred[None] | None = None
        self._rewriting: Deferred[None] | None = None

    def follow(self, learn: Callable[[Sequence[Revocation]], None]) -> Deferred[None]:
        """Report the stored revocations, then each new one (``IRevocationStore``)."""
        self._learn = learn
        self._connection.start()
        known: Deferred[None] = Deferred()
        self._reading = Deferred.fromCoroutine(self._read(known))
        self._reading.addErrback(self._task_failed)
        return known

    def stop(self) -> Deferred[None]:
        """Stop reading; fires when the connection is closed."""
        tasks = (self._reading, self._rewriting)
        self._reading = self._rewriting = None
        for task in tasks:
            if task is not None:
                task.cancel()
        return self._connection.stop()

    def add(self, revocation: Revocation) -> Deferred[None]:
        """Store a revocation, and trim the oldest expired ones (``IRevocationStore``)."""
        return Deferred.fromCoroutine(self._add(revocation, is_trimming=True))

    def health(self) -> Sequence[str]:
        """Return why new revocations may not arrive (``IRevocationStore``)."""
        if self._reading is None:
            return ()
        trouble = self._connection.trouble or self._trouble
        return [f"{self._name} (revocations): {trouble}"] if trouble else []

    def _task_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError, SourceUnavailable):  # otherwise it was stopped
            self._log.failure("reading {key} has ended", failure, key=self._key)

    # Writing.

    async def _add(self, revocation: Revocation, *, is_trimming: bool) -> None:
        fields = ("kind", revocation.kind.value, "name", revocation.name)
        times = ("at", f"{revocation.at:.3f}", "until", f"{revocation.until:.3f}")
        while True:
            await self._commands.connected()
            try:
                trim: tuple[str, ...] = ()
                if is_trimming:
                    oldest = await self._commands.command("XRANGE", self._key, "-", "+", "COUNT", _PAGE)
                    trim = self._trim(cast(list[RawEntry], oldest))
                await self._commands.command("XADD", self._key, *trim, "*", *fields, *times)
            except NotConnected:
                continue  # a second entry does no harm
            except ResponseError as error:
                raise SourceUnavailable(f"{self._name} refuses the revocation: {error}") from None
            return

    def _trim(self, oldest: Sequence[RawEntry]) -> tuple[str, ...]:
        """Return the arguments of XADD that trim the expired entries before the first one in force."""
        now = self._wall()
        over = 0
        for _, fields in oldest:
            entry = _revocation_of(fields)
            if entry is not None and entry.until > now:
                break
            over += 1
        if not over:
            return ()
        return ("MINID", oldest[min(over, len(oldest) - 1)][0].decode())

    # Reading.

    async def _read(self, known: Deferred[None]) -> None:
        position, generation, must_read_all = _START, 0, True
        while True:
            await self._connection.connected()
            try:
                if must_read_all or generation != self._connection.generation:
                    generation = self._connection.generation
                    position = await self._read_all()
                    if not known.called:
                        known.callback(None)
                words = ("COUNT", _PAGE, "BLOCK", int(BLOCK * 1000), "STREAMS", self._key, position)
                reply = await self._connection.command("XREAD", *words, patience=BLOCK + REPLY_PATIENCE)
                self._trouble = None
                if isinstance(reply, list):
                    ((_, page),) = cast("list[tuple[bytes, list[RawEntry]]]", reply)
                    self._learn_page(page)
                    newest = page[-1][0].decode() if page else position
                else:
                    newest = position
                # If the last entry read is gone, others may be gone too, and new ones may have smaller ids.
                is_whole = position == _START or await self._is_there(position)
                position = newest
                must_read_all = not is_whole or position == _START
            except SourceUnavailable:
                continue  # wait for a connection
            except ResponseError as error:
                self._set_trouble(str(error))
                await deferLater(self._clock, _RETRY)
                must_read_all = True

    async def _is_there(self, entry_id: str) -> bool:
        return bool(await self._connection.command("XRANGE", self._key, entry_id, entry_id))

    async def _read_all(self) -> str:
        """Read the whole stream, and find the known revocations that it has lost; return the last entry's id."""
        kept = RevocationTable(self._wall)
        position = _START
        while True:
            reply = await self._connection.command("XRANGE", self._key, f"({position}", "+", "COUNT", _PAGE)
            page = cast(list[RawEntry], reply)
            for each in self._learn_page(page):
                kept.add(each)
            if page:
                position = page[-1][0].decode()
            if len(page) < _PAGE:
                break
        self._lost = {(each.kind, each.name): each for each in self._known if kept.find(each.kind, each.name) != each}
        if self._lost and self._rewriting is None:
            self._log.warn("{key} has lost {count} revocations", key=self._key, count=len(self._lost))
            self._rewriting = Deferred.fromCoroutine(self._rewrite_lost())
            self._rewriting.addErrback(self._task_failed)
        return position

    def _learn_page(self, page: Sequence[RawEntry]) -> list[Revocation]:
        found: list[Revocation] = []
        for entry_id, fields in page:
            revocation = _revocation_of(fields)
            if revocation is None:
                self._log.warn("{key} {id} is not a revocation", key=self._key, id=entry_id.decode())
                continue
            found.append(revocation)
            self._known.add(revocation)
            lost = self._lost.get((revocation.kind, revocation.name))
            if lost is not None and lost.at <= revocation.at and lost.until <= revocation.until:
                del self._lost[revocation.kind, revocation.name]
        if found:
            self._learn(found)
        return found

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._log.warn("Redis refuses to read {key}: {error}", key=self._key, error=trouble)
            self._trouble = trouble

    async def _rewrite_lost(self) -> None:
        """Write lost revocations again, unless another node was faster."""
        try:
            await deferLater(self._clock, random.uniform(0, REWRITE_WITHIN))  # noqa: S311  # no secret
            while self._lost:
                _, revocation = self._lost.popitem()
                await self._add(revocation, is_trimming=False)  # trimming on each of thousands would be slow
        except SourceUnavailable as error:
            self._log.warn("lost revocations are not written to {key} again: {error}", key=self._key, error=str(error))
        finally:
            self._rewriting = None


def _revocation_of(fields: list[bytes] | None) -> Revocation | None:
    """Return the revocation in an entry's fields, or None if they are invalid."""
    values = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
    with suppress(KeyError, ValueError):
        kind, name = RevocationKind(values[b"kind"].decode()), values[b"name"].decode()
        at, until = float(values[b"at"]), float(values[b"until"])
        if is_name(name) and math.isfinite(at) and math.isfinite(until):
            return Revocation(kind, name, at, until)
    return None
