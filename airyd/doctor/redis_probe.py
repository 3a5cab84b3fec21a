"""The doctor's connections to Redis: made as the daemon makes them, but an error of Redis is a reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import NOT_TRIED, RedisConnection, answer_of
from airyd.sources.redis.protocol import RedisReply, Word
from airyd.sources.redis.url import RedisUrl

#: Seconds that connecting and the login may take: name resolution, sentinels, several addresses.
PATIENCE: Final = 15.0
#: Seconds between two checks whether the first attempt to connect has ended.
_CHECK_EVERY: Final = 0.02
#: Commands that are sent at once: a reply may hold two large events.
_AT_ONCE: Final = 16


class RedisProbe:
    """One connection to the Redis of a URL.

    :param target: the Redis
    :ivar name: the address, without user and password
    :ivar hello: the facts in the reply to HELLO, after :meth:`connect`
    """

    def __init__(self, target: RedisUrl, clock: IReactorTime) -> None:
        self.target = target
        self.name = target.redis.name
        self.hello: Mapping[str, str] = {}
        self._clock = clock
        self._connections: list[RedisConnection] = []
        self._info: dict[str, RedisReply] = {}

    async def connect(self) -> str | None:
        """Connect and log in; return None, or why the first attempt failed."""
        self.target.redis.start()
        connection = self._new_connection()
        waited = 0.0
        while connection.generation == 0 and connection.trouble == NOT_TRIED and waited < PATIENCE:
            await deferLater(self._clock, _CHECK_EVERY)
            waited += _CHECK_EVERY
        if connection.trouble is not None:
            return connection.trouble if waited < PATIENCE else f"not connected within {PATIENCE:g} seconds"
        reply = await self.ask("HELLO")
        if isinstance(reply, ResponseError):
            # Redis 5 has no HELLO. A server that asks for a login refuses it, and everything else.
            text = str(reply)
            return text if text.startswith(("NOAUTH", "DENIED")) else None
        self.hello = facts_of_pairs(reply)
        return None

    async def second(self) -> RedisConnection:
        """Return another connection, for commands that change the state of a connection."""
        connection = self._new_connection()
        await self._connected(connection)
        return connection

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            await connection.stop()
        await self.target.redis.stop()

    async def ask(self, *words: Word) -> RedisReply:
        """Return the reply to a command; an error of Redis is a reply, too.

        Raises ``SourceUnavailable`` if the connection is lost.
        """
        connection = self._connections[0]
        await self._connected(connection)
        return await answer_of(connection.command(*words))

    async def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[RedisReply]:
        """Return the replies to several commands; errors of Redis are replies, as in :meth:`ask`."""
        connection = self._connections[0]
        replies: list[RedisReply] = []
        for start in range(0, len(commands), _AT_ONCE):
            await self._connected(connection)
            asked = [answer_of(connection.command(*words)) for words in commands[start : start + _AT_ONCE]]
            replies += await all_of(asked)
        return replies

    async def info(self, section: str) -> Mapping[str, str] | str:
        """Return a section of INFO, or the error with which Redis refuses it."""
        if section not in self._info:
            self._info[section] = await self.ask("INFO", section)
        reply = self._info[section]
        if isinstance(reply, ResponseError):
            return str(reply)
        return facts_of_info(reply)

    async def config(self, name: str) -> str | None:
        """Return a parameter of the server's configuration; None if it can't be read."""
        reply = await self.ask("CONFIG", "GET", name)
        return None if isinstance(reply, ResponseError) else facts_of_pairs(reply).get(name)

    def _new_connection(self) -> RedisConnection:
        connection = self.target.redis.connection("doctor", keep_alive=True)
        self._connections.append(connection)
        connection.start()
        return connection

    async def _connected(self, connection: RedisConnection) -> None:
        def late(result: object, seconds: float) -> NoReturn:
            raise SourceUnavailable(f"{self.name}: {connection.trouble or 'no answer'}")

        await connection.connected().addTimeout(PATIENCE, self._clock, late)


def facts_of_info(reply: RedisReply) -> dict[str, str]:
    """Return the names and values of a reply to INFO."""
    lines = cast(bytes, reply).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def facts_of_pairs(reply: RedisReply) -> dict[str, str]:
    """Return the names and values of a reply that alternates them; values that are lists are left out."""
    if not isinstance(reply, list):
        return {}
    pairs = zip(reply[::2], reply[1::2], strict=False)
    return {text_of(name): text_of(value) for name, value in pairs if isinstance(value, bytes | int)}


def text_of(value: RedisReply) -> str:
    """Return a value as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def is_refused(reply: RedisReply) -> bool:
    """Return whether Redis refuses a command because the user lacks a right, or does not know the command."""
    if not isinstance(reply, ResponseError):
        return False
    text = str(reply)
    return text.startswith(("NOPERM", "ERR unknown command", "ERR unknown sub")) or "because of: NOPERM" in text
