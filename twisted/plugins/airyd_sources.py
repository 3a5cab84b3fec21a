"""Plugins for ``--source``: the event sources by URL scheme, whose modules are imported when used."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext


@implementer(IPlugin, IEventSourceParser)
class MemoryParser:
    """``memory:`` has the events that are published in this process."""

    scheme = "memory"
    shared = False
    help = """\
memory:[?history=N&history-bytes=B]
    Events that are published to this process: by clients that may SEND, and through
    the admin page. All are lost when the process ends.
    history        events kept per destination for clients that resume (default 1000)
    history-bytes  most bytes of these events per destination (default 67108864, 64 MiB)"""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.memory import parse

        return parse(url, context)


@implementer(IPlugin, IEventSourceParser)
class SampleParser:
    """``sample:`` is ``memory:`` with made-up events, or with the events of a file."""

    scheme = "sample"
    shared = False
    help = """\
sample:[?rate=R&seed=S]
    A made-up Airy conversation feed on the four destinations. It starts at the first
    SUBSCRIBE; published events are added to it. With --destination /events, each event
    also appears there, in the form of Airy 0.41 and later.
    rate           events per second (default 2)
    seed           a whole number; equal seeds give equal feeds (default 1)
sample:?file=PATH[&loop=1]
    Replays a file with lines {"destination": ..., "payload": ..., "at": SECONDS}. The
    seconds count from the first SUBSCRIBE and must not decrease.
    loop           1: start again after the last line (default 0)
Both also take history and history-bytes of memory:."""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.sample.source import parse

        return parse(url, context)


_REDIS_HELP = """\
{form}[?NAME=VALUE&...]
    Redis Streams (Redis 7 or newer): one stream per destination. Its name is the prefix
    and the destination; its entries have a field payload. Publish with
    XADD airyd:/queue/message MAXLEN ~ 10000 * payload JSON
    With mode=pubsub, Redis Pub/Sub, for existing publishers: channels with the same
    names. Publish with PUBLISH airyd:/queue/message JSON; Redis keeps no history.
    mode           stream or pubsub (default stream)
    prefix         prefix of the names (default airyd:)
    maxlen         approximate length to which airyd trims a stream when it publishes
                   (default 10000)
    linger         milliseconds that airyd waits between two reads if events come fast
                   (default 10; 0: never)
    history, history-bytes
                   with mode=pubsub: the history of each node, as for memory:
    password-file  a file with the password; or set AIRYD_REDIS_PASSWORD"""


@implementer(IPlugin, IEventSourceParser)
class RedisParser:
    """``redis:``, ``rediss:``, ``redis+unix:`` and ``redis+sentinel:`` read Redis Streams or Pub/Sub."""

    shared = True

    def __init__(self, scheme: str, form: str, more: str = "") -> None:
        self.scheme = scheme
        self.help = _REDIS_HELP.format(form=form) + more

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.redis.url import parse

        return parse(url, context)


_TLS_HELP = """
    ca-file        PEM file with CA certificates to verify the server with (default: the
                   system's)
    cert-file      the client's certificate, as PEM; key-file has its key"""
_UNIX_HELP = """
    db             the number of the database (default 0)"""

_SENTINEL_HELP = """
    sentinel-password-file
                   a file with the sentinels' own password; or set
                   AIRYD_REDIS_SENTINEL_PASSWORD"""

redis = RedisParser("redis", "redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]")
rediss = RedisParser("rediss", "rediss://[USER[:PASSWORD]@]HOST[:PORT][/DB]", _TLS_HELP)
redis_unix = RedisParser("redis+unix", "redis+unix://[USER[:PASSWORD]@]/PATH", _UNIX_HELP)
redis_sentinel = RedisParser(
    "redis+sentinel", "redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],.../NAME[/DB]", _SENTINEL_HELP
)
memory = MemoryParser()
sample = SampleParser()
