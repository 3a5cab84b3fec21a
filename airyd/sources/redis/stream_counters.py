"""Asks Redis for the counters of streams: by a script, which leaves out the entries, or by XINFO STREAM.

XINFO STREAM returns the first and the last entry, too. With bodies of 200 KB and four streams that is 1.6 MB for each
check. A read-only script (EVAL_RO) returns only their ids and sizes. A user that may not run it gets XINFO STREAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import RedisConnection, answer_of
from airyd.sources.redis.protocol import RedisReply, Word, encode_command
from airyd.sources.redis.stream_position import StreamInfo, is_about_the_key, read_info

#: The reply to XINFO STREAM for each key, or its error, with the size of the fields in place of the fields.
_SCRIPT: Final = """\
local infos = {}
for number, key in ipairs(KEYS) do
  local info = redis.pcall('XINFO', 'STREAM', key)
  for place = 2, #info, 2 do
    local entry = info[place]
    if type(entry) == 'table' and type(entry[2]) == 'table' then
      local size = 0
      for _, text in ipairs(entry[2]) do size = size + #text end
      info[place] = {entry[1], size}
    end
  end
  infos[number] = info
end
return infos
"""
#: Seconds until the script is tried again after Redis has refused it: Redis logs each refused command.
_RETRY_SCRIPT: Final = 60.0


@lru_cache(maxsize=64)
def encoded_xinfo(key: bytes) -> bytes:
    """Return the command XINFO STREAM, encoded; the same few are sent for each event."""
    return encode_command(("XINFO", "STREAM", key))


def counters_script(keys: Sequence[Word]) -> tuple[Word, ...]:
    """Return the command that runs the script on these keys."""
    return ("EVAL_RO", _SCRIPT, len(keys), *keys)


def stream_info(reply: RedisReply) -> StreamInfo | SourceUnavailable:
    """Parse the reply about one key; if it is not a stream, the result is the error.

    Raises ``ResponseError`` if Redis refuses the command for another reason.
    """
    if isinstance(reply, ResponseError) and not is_about_the_key(reply):
        raise reply
    try:
        return read_info(reply)
    except SourceUnavailable as error:
        return error


class StreamCounters:
    """Chooses between the script and XINFO STREAM."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._next_script = 0.0  # the time from which on the script may be tried
        self._is_warned = False

    async def ask(self, connection: RedisConnection, keys: Sequence[bytes]) -> list[RedisReply]:
        """Return a reply or an error for each key.

        Errors: ``SourceUnavailable`` if the connection is lost.
        """
        if self._clock.seconds() >= self._next_script:
            try:
                replies = cast("list[RedisReply]", await connection.command(*counters_script(keys)))
                if not any(isinstance(reply, Exception) and not is_about_the_key(reply) for reply in replies):
                    return replies
                # An error within a script does not name the right that is missing; XINFO STREAM brings one that does.
            except ResponseError as error:
                self._next_script = self._clock.seconds() + _RETRY_SCRIPT
                self._warn(connection.name, str(error))
        return await all_of([answer_of(connection.command("XINFO", "STREAM", key)) for key in keys])

    def _warn(self, name: str, error: str) -> None:
        if not self._is_warned:
            self._is_warned = True
            self._log.warn(
                "{redis}: each check of the streams transfers their first and last entries, because Redis refuses "
                "EVAL_RO: {error}",
                redis=name,
                error=error,
            )
