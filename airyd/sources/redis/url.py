"""The parser of Redis URLs: returns a Streams or Pub/Sub source, direct or through sentinels."""

from __future__ import annotations

from typing import Final, NamedTuple

from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources.history import read_bounds
from airyd.sources.redis.address import (
    DEFAULT_LINGER,
    DEFAULT_MAXLEN,
    DEFAULT_PREFIX,
    Address,
    SentinelAddress,
    read_address,
    read_sentinel_address,
)
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.pubsub import RedisPubSub
from airyd.sources.redis.sentinel import SentinelClient
from airyd.sources.redis.streams import RedisStreams
from airyd.sources.url_query import Query

#: The values of ``mode``; the first is the default.
MODES: Final = ("stream", "pubsub")
#: Parameters that only some of these URLs take, each with the URLs that take it.
_ELSEWHERE: Final = {
    "maxlen": "mode=stream",
    "linger": "mode=stream",
    "history": "mode=pubsub",
    "history-bytes": "mode=pubsub",
    "ca-file": "rediss:",
    "cert-file": "rediss:",
    "key-file": "rediss:",
    "db": "redis+unix:, others have the number after the host, such as redis://HOST/1",
    "sentinel-password-file": "redis+sentinel:",
}


class RedisUrl(NamedTuple):
    """The parts of a Redis URL.

    :ivar redis: makes the connections; none is opened yet
    :ivar mode: one of ``MODES``
    :ivar maxlen: about how many entries a stream keeps
    :ivar linger: seconds that the reader waits for more when events come fast
    :ivar bounds: events and bytes of the history of Pub/Sub
    """

    redis: RedisClient
    address: Address | SentinelAddress
    prefix: str
    mode: str
    maxlen: int = DEFAULT_MAXLEN
    bounds: tuple[int, int] = (0, 0)
    linger: float = DEFAULT_LINGER


def parse(url: str, context: SourceContext) -> IEventSource:
    """Return the source of a URL ``redis://``, ``rediss://``, ``redis+unix://`` or ``redis+sentinel://``."""
    given = read_url(url, context)
    if given.mode == "pubsub":
        return RedisPubSub(given.redis, given.prefix, context, *given.bounds)
    return RedisStreams(given.redis, given.prefix, given.maxlen, context, linger=given.linger)


def read_url(url: str, context: SourceContext) -> RedisUrl:
    """Return the parts of a URL; see :func:`parse`. Raises ``ConfigurationError``."""
    if "@" in url.partition("?")[2]:  # other errors would quote the rest of a password
        raise ConfigurationError(f"{url.partition(':')[0]}: in a password write %3F for '?', and %40 for '@'")
    query = Query(url)
    redis: RedisClient
    address: Address | SentinelAddress
    if query.scheme.lower() == "redis+sentinel":
        address = read_sentinel_address(url, query, context.environ)
        redis = SentinelClient(address, context.reactor, context.round_trip)
    else:
        address = read_address(url, query, context.environ)
        redis = RedisClient(address, context.reactor, round_trip=context.round_trip)
    prefix = query.text("prefix")
    if prefix is None:
        prefix = DEFAULT_PREFIX
    given = RedisUrl(redis, address, prefix, query.choice("mode", MODES))
    if given.mode == "pubsub":
        given = given._replace(bounds=read_bounds(query))
    else:
        linger = query.integer("linger", int(1000 * DEFAULT_LINGER), 0, 1000)
        given = given._replace(maxlen=query.integer("maxlen", DEFAULT_MAXLEN, 1, 1_000_000_000), linger=linger / 1000)
    query.rest = ""
    query.finish(_ELSEWHERE)
    return given
