"""Checks whether Redis can serve streams: its version, cluster mode, the user's ACL rights, the keys' types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import RedisConnection, answer_of
from airyd.sources.redis.protocol import RedisReply
from airyd.sources.redis.server_info import ServerInfo
from airyd.sources.redis.stream_counters import StreamCounters
from airyd.sources.redis.stream_position import read_info

#: Seconds between two checks, because rights and keys may change at any time.
CHECK_EVERY: Final = 1.0
#: Streams per check, so that thousands of destinations cost no more.
STREAMS_PER_CHECK: Final = 100
#: The oldest version of Redis whose XINFO STREAM has the counters ``entries-added`` and ``max-deleted-entry-id``.
_OLDEST: Final = (7,)
#: A hash tag, which puts all keys with the prefix into one slot of a cluster.
_HASH_TAG: Final = re.compile(r"\{[^}]+\}")
#: The errors with which a cluster node refuses keys.
_CLUSTER: Final = ("MOVED ", "CROSSSLOT", "CLUSTERDOWN", "ASK ")


def unmet(info: ServerInfo, prefix: str) -> str | None:
    """Return what a server lacks for streams whose keys have this prefix: its version or its mode; None if nothing."""
    if info.version is not None and info.version < _OLDEST:
        return f"Redis 7.0 or newer is needed, but this is {'.'.join(map(str, info.version))}"
    if info.is_cluster and _HASH_TAG.search(prefix) is None:
        return (
            "Redis runs in cluster mode, where no command reads several streams: use a Redis without it, or a "
            "prefix with a hash tag, such as prefix={airyd}:"
        )
    return None


class Requirements:
    """Checks a Redis after each connect and every ``CHECK_EVERY`` seconds, with the commands that reading needs.

    :param connection: the connection for these commands
    :param counters: asks for the counters of a stream
    :param prefix: the prefix of the streams' keys
    :param keys: the streams' keys
    """

    _log = Logger()

    def __init__(
        self,
        connection: RedisConnection,
        counters: StreamCounters,
        clock: IReactorTime,
        prefix: str,
        keys: Sequence[bytes],
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._clock = clock
        self._prefix = prefix
        self._keys = list(keys)
        self._wrong: dict[bytes, str] = {}
        self._logged: str | None = None
        self._is_warned = False
        self._is_running = False
        self._checking: Deferred[None] | None = None

    @property
    def trouble(self) -> str | None:
        """The requirement that Redis does not meet; None if it meets all."""
        return unmet(self._connection.server_info, self._prefix) or next(iter(self._wrong.values()), None)

    def start(self) -> Deferred[None]:
        """Start checking; fires after the first check, whatever its result. Fails if it is stopped before that."""
        checked: Deferred[None] = Deferred()
        self._is_running = True
        self._checking = Deferred.fromCoroutine(self._check_on(checked))
        self._checking.addErrback(self._checking_failed, checked)
        return checked

    def stop(self) -> None:
        """Stop checking."""
        self._is_running = False
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()

    def extend(self, keys: Sequence[bytes]) -> None:
        """Also check these keys."""
        self._keys += keys

    def _checking_failed(self, failure: Failure, checked: Deferred[None]) -> None:
        if not failure.check(CancelledError, SourceUnavailable):  # otherwise it was stopped
            self._log.failure("a bug has ended the checks of Redis", failure)
        if not checked.called:
            checked.errback(SourceUnavailable(f"{self._connection.name}: not running"))

    async def _check_on(self, checked: Deferred[None]) -> None:
        first = 0
        checked_generation: int | None = None
        while True:
            await self._connection.connected()
            is_new = checked_generation != self._connection.generation
            checked_generation = self._connection.generation
            try:
                if is_new:
                    first = 0
                while True:
                    await self._check(self._keys[first : first + STREAMS_PER_CHECK])
                    first += STREAMS_PER_CHECK
                    if first >= len(self._keys):
                        first = 0
                    if not is_new or not first:
                        break
            except SourceUnavailable:
                checked_generation = None
                continue  # wait for a connection
            self._log_change()
            if not checked.called:
                checked.callback(None)
            if not self._is_running:  # the callback stopped this, when there was nothing to cancel yet
                return
            await deferLater(self._clock, CHECK_EVERY)

    async def _check(self, keys: Sequence[bytes]) -> None:
        """XREAD each stream from its end, which returns nothing and costs little; try XRANGE and counters on one."""
        if not keys:
            return
        reads = [self._connection.command("XREAD", "COUNT", 1, "STREAMS", key, "$") for key in keys]
        ranges = [self._connection.command("XRANGE", key, "+", "-", "COUNT", 1) for key in keys[:1]]
        *replies, of_range = await all_of([answer_of(each) for each in (*reads, *ranges)])
        if isinstance(of_range, ResponseError) and str(of_range).startswith("NOPERM"):
            self._warn_of_resumes(str(of_range))
        troubles = [_trouble(key.decode(), reply) for key, reply in zip(keys, replies, strict=True)]
        (counters,) = await self._counters.ask(self._connection, keys[:1])
        troubles[0] = troubles[0] or _counters_trouble(keys[0].decode(), counters)
        for key, trouble in zip(keys, troubles, strict=True):
            if trouble is None:
                self._wrong.pop(key, None)
            else:
                self._wrong[key] = trouble

    def _warn_of_resumes(self, error: str) -> None:
        """Log once that resumes fail; clients that subscribe without a resume can be served."""
        if not self._is_warned:
            self._is_warned = True
            self._log.warn("{redis}: no client can resume: {error}", redis=self._connection.name, error=error)

    def _log_change(self) -> None:
        trouble = self.trouble
        if trouble == self._logged:
            return
        self._logged = trouble
        if trouble is None:
            self._log.info("{redis} can be used again", redis=self._connection.name)
        else:
            self._log.warn("{redis} cannot be used: {trouble}", redis=self._connection.name, trouble=trouble)


def _trouble(key: str, reply: RedisReply) -> str | None:
    """Return why a reply shows that the stream cannot be read, or None."""
    if not isinstance(reply, ResponseError) or str(reply).startswith("ERR no such key"):
        return None
    text = str(reply)
    if text.startswith(_CLUSTER):
        return f"Redis runs in cluster mode, and this node does not have {key}: {text}"
    if text.startswith("WRONGTYPE"):
        return f"the key {key} is not a stream: delete or rename it"
    return f"Redis refuses to read {key}: {text}"


def _counters_trouble(key: str, reply: RedisReply) -> str | None:
    """Return why the counters of a stream cannot be read, or None."""
    if isinstance(reply, ResponseError):
        return _trouble(key, reply)
    try:
        read_info(reply)
    except SourceUnavailable as error:
        return str(error)
    return None
