"""The parser of Redis URLs: returns a Streams or Pub/Sub source, direct or through sentinels."""

from __future__ import annotations

from typing import Final

from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources.history import read_bounds
from airyd.sources.redis.address import DEFAULT_MAXLEN, DEFAULT_PREFIX, read_address, read_sentinel_address
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
    "history": "mode=pubsub",
    "history-bytes": "mode=pubsub",
    "ca-file": "rediss:",
    "cert-file": "rediss:",
    "key-file": "rediss:",
    "db": "redis+unix:, others have the number after the host, such as redis://HOST/1",
    "sentinel-password-file": "redis+sentinel:",
}


def parse(url: str, context: SourceContext) -> IEventSource:
    """Return the source of a URL ``redis://``, ``rediss://``, ``redis+unix://`` or ``redis+sentinel://``."""
    if "@" in url.partition("?")[2]:  # other errors would quote the rest of a password
        raise ConfigurationError(f"{url.partition(':')[0]}: in a password write %3F for '?', and %40 for '@'")
    query = Query(url)
    redis: RedisClient
    if query.scheme.lower() == "redis+sentinel":
        sentinels = read_sentinel_address(url, query, context.environ)
        redis = SentinelClient(sentinels, context.reactor, context.round_trip)
    else:
        address = read_address(url, query, context.environ)
        redis = RedisClient(address, context.reactor, round_trip=context.round_trip)
    prefix = query.text("prefix")
    if prefix is None:
        prefix = DEFAULT_PREFIX
    mode = query.choice("mode", MODES)
    source: IEventSource
    if mode == "pubsub":
        history, history_bytes = read_bounds(query)
        source = RedisPubSub(redis, prefix, context, history, history_bytes)
    else:
        maxlen = query.integer("maxlen", DEFAULT_MAXLEN, 1, 1_000_000_000)
        source = RedisStreams(redis, prefix, maxlen, context)
    query.rest = ""
    query.finish(_ELSEWHERE)
    return source
