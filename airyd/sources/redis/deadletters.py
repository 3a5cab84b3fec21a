"""Where entries go that are no events, so that whoever publishes them can find out."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.limits import KIB
from airyd.sources.redis.entries import Refused
from airyd.sources.redis.link import Link

#: Entries that are kept, and bytes of each one's body.
DEAD_LETTERS: Final = 1000
BODY_BYTES: Final = 64 * KIB
#: Seconds for which a node remembers, for all, that an entry was copied.
REMEMBERED: Final = 24 * 3600


class DeadLetters:
    """Copies each refused entry or message once, however many nodes read it, to the stream ``<prefix>dead-letter``.

    It does what it can: where airyd may only read, nothing is copied, and the log says so once.

    :param kind: what an entry or message is in, as the name of a dead letter's first field: ``stream`` or ``channel``
    """

    _log = Logger()

    def __init__(self, link: Link, prefix: str, kind: str) -> None:
        self._link = link
        self._kind = kind
        self._key = f"{prefix}dead-letter"
        self._is_allowed = True

    def bury(self, key: bytes, refused: Refused) -> None:
        """Copy what was in the stream or channel ``key``."""
        if self._is_allowed:
            Deferred.fromCoroutine(self._bury(key.decode(), refused)).addErrback(
                lambda failure: self._log.failure("cannot copy a refused entry", failure)
            )

    async def _bury(self, key: str, refused: Refused) -> None:
        mark = f"{self._key}:{key}:{refused.event_id}"
        body = (refused.body or b"")[:BODY_BYTES]
        try:
            if await self._link.command("SET", mark, "", "NX", "EX", REMEMBERED) is None:
                return  # another node was first
            fields = (self._kind, key, "id", refused.event_id, "reason", str(refused.refusal), "payload", body)
            await self._link.command("XADD", self._key, "MAXLEN", "~", DEAD_LETTERS, "*", *fields)
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
                "{key} {id}: not copied, Redis is away", key=key, id=refused.event_id, once_a_minute=f"away {key}"
            )
