"""The twistd plugins of airyd's event sources, which import a source when it is used."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext


@implementer(IPlugin, IEventSourceParser)
class MemoryParser:
    """The plugin of ``memory:``, for events published in this process."""

    scheme = "memory"
    shared = False
    help = """\
memory:[?history=N&history-bytes=B]
    Events published in this process: with SEND by clients that may, or at the admin
    endpoint. They end with the process.
    history        events kept per destination for clients that resume (default 1000)
    history-bytes  bytes of these kept per destination (default 67108864, 64 MiB)"""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.memory import parse

        return parse(url, context)


@implementer(IPlugin, IEventSourceParser)
class SampleParser:
    """The plugin of ``sample:``, for made-up or recorded events."""

    scheme = "sample"
    shared = False
    help = """\
sample:[?rate=R&seed=S]
    Made-up Airy conversations on the four destinations, from the first SUBSCRIBE on;
    clients may publish, too. With --destination /events each event is also published
    there, in the format of Airy 0.41 and later.
    rate           events per second (default 2)
    seed           a whole number; the same one gives the same feed (default 1)
sample:?file=PATH[&loop=1]
    Replays a file of lines {"destination": ..., "payload": ..., "at": SECONDS}; the
    seconds count from the first SUBSCRIBE on and never decrease.
    loop           1: start again after the last line (default 0)
Both take history and history-bytes, as memory: does."""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.sample.source import parse

        return parse(url, context)


_REDIS_HELP = """\
{form}[?NAME=VALUE&...]
    Redis Streams (Redis 7 or newer): one stream per destination, named by a prefix and
    the destination, with the event in the field payload of an entry. Publish with
    XADD airyd:/queue/message MAXLEN ~ 10000 * payload JSON
    With mode=pubsub: Redis Pub/Sub, for existing publishers, on channels with the same
    names: PUBLISH airyd:/queue/message JSON. Redis keeps no messages.
    mode           stream or pubsub (default stream)
    prefix         the prefix of stream and channel names (default airyd:)
    maxlen         about how many entries are kept when airyd adds one (default 10000)
    history, history-bytes
                   with mode=pubsub: the history on each node, as for memory:
    password-file  a file with the password; or set AIRYD_REDIS_PASSWORD"""


@implementer(IPlugin, IEventSourceParser)
class RedisParser:
    """The plugins of Redis URLs, for Redis Streams and Pub/Sub."""

    shared = True

    def __init__(self, scheme: str, form: str, more: str = "") -> None:
        self.scheme = scheme
        self.help = _REDIS_HELP.format(form=form) + more

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.redis.url import parse

        return parse(url, context)


_TLS_HELP = """
    ca-file        trusted certificate authorities, as PEM (default: the system's)
    cert-file      the client's certificate, as PEM; its key is in key-file"""
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
