"""The names of airyd's event sources; what they need is imported when one is asked for."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext


@implementer(IPlugin, IEventSourceParser)
class MemoryParser:
    """``memory:``, events that are published in this process."""

    scheme = "memory"
    shared = False
    help = """\
memory:[?history=N&history-bytes=B]
    Events that are published here, by clients that may send and through the admin
    endpoint. Nothing outlives the process.
    history        events kept per destination for clients that resume (default 1000)
    history-bytes  bytes of them kept per destination (default 67108864, 64 MiB)"""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.memory import parse

        return parse(url, context)


@implementer(IPlugin, IEventSourceParser)
class SampleParser:
    """``sample:``, made-up events, or those of a file, on top of ``memory:``."""

    scheme = "sample"
    shared = False
    help = """\
sample:[?rate=R&seed=S]
    A made-up Airy conversation feed over the four destinations, from the first
    SUBSCRIBE on; what is published here mixes with it. With --destination /events each
    event comes there, too, as Airy 0.41 and later write it.
    rate           events per second (default 2)
    seed           a whole number; the same one gives the same feed (default 1)
sample:?file=PATH[&loop=1]
    Replays a file of lines {"destination": ..., "payload": ..., "at": SECONDS}; the
    seconds count from the first SUBSCRIBE on and never go back.
    loop           1: begin again after the last line (default 0)
Both take history and history-bytes as memory: does."""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.sample.source import parse

        return parse(url, context)


_REDIS_HELP = """\
{form}[?NAME=VALUE&...]
    Redis Streams (Redis 7 or newer): one stream per destination, whose name is a prefix
    and the destination, and whose entries have a field payload. Publish with
    XADD airyd:/queue/message MAXLEN ~ 10000 * payload JSON
    With mode=pubsub, Redis Pub/Sub, for publishers that exist already: channels of the
    same names, by PUBLISH airyd:/queue/message JSON; Redis keeps nothing of them.
    mode           stream or pubsub (default stream)
    prefix         what the names begin with (default airyd:)
    maxlen         about how many entries are kept when airyd adds one (default 10000)
    history, history-bytes
                   with mode=pubsub what each node keeps, as memory: does
    password-file  a file with the password; or set AIRYD_REDIS_PASSWORD"""


@implementer(IPlugin, IEventSourceParser)
class RedisParser:
    """``redis:``, ``rediss:`` and ``redis+unix:``, Redis Streams."""

    shared = True

    def __init__(self, scheme: str, form: str, more: str = "") -> None:
        self.scheme = scheme
        self.help = _REDIS_HELP.format(form=form) + more

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        """Make the source (``IEventSourceParser``)."""
        from airyd.sources.redis.url import parse

        return parse(url, context)


_TLS_HELP = """
    ca-file        who signs the server's certificate, as PEM (default: the system's)
    cert-file      the client's certificate, as PEM, and in key-file its key"""
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
