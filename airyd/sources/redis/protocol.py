"""The bytes of one connection to Redis: replies to commands, and messages of the channels that it subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, cast

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol, InvalidData
from zope.interface import implementer

from airyd.sources.redis.trouble import LOST, why_lost, why_no_redis, why_silent

#: What Redis answers with (RESP2): text as bytes; within a list an error, a ``ResponseError``, may stand for a value.
RedisReply: TypeAlias = "bytes | int | list[RedisReply] | Exception | None"
Word: TypeAlias = str | bytes | int
#: An entry of a stream as Redis gives it: the id, and field and value by turns (None for an entry that is gone).
RawEntry: TypeAlias = "tuple[bytes, list[bytes] | None]"

#: What the first word of a reply is that is none, but something that was published.
_MESSAGE: Final = b"message"
#: Bytes by which an answer is told from that of another server.
_ENOUGH: Final = 5


class Message(NamedTuple):
    """Something that was published on a channel."""

    channel: bytes
    body: bytes


@implementer(IHandshakeListener)
class RedisProtocol(HiredisProtocol):  # type: ignore[misc]  # txredisapi has no types
    """txredisapi without its conversions, which walk through every reply, and without its login, which is tried once.

    :param scheme: of the URL, such as ``rediss``
    :param received: called with the messages that one read brought; None for a connection without channels

    :ivar end: why the connection was lost
    :ivar is_over: whether it was given up, and is about to be lost
    :ivar reads: how often something has come
    """

    end: str = LOST

    def __init__(self, scheme: str, received: Callable[[list[Message]], None] | None = None) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.is_over = False
        self.reads = 0
        self._scheme = scheme
        self._is_secure = False
        self._first = b""
        self._received = received
        self._messages: list[Message] = []

    def tryConvertData(self, data: RedisReply) -> RedisReply:
        """Leave a reply as it is."""
        return data

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """See ``IProtocol``; hang up on what is no Redis."""
        self.reads += 1
        if len(self._first) < _ENOUGH:
            self._first += data[:_ENOUGH]
        try:
            super().dataReceived(data, unpause)
        except InvalidData:
            self.reject()
        if self._messages and self._received is not None:
            messages, self._messages = self._messages, []
            self._received(messages)

    def replyReceived(self, reply: RedisReply) -> None:
        """Tell messages from replies; no reply to what a subscriber may say begins so."""
        if self._received is not None and isinstance(reply, list) and reply[:1] == [_MESSAGE]:
            self._messages.append(Message(*cast(list[bytes], reply[1:])))
        else:
            super().replyReceived(reply)

    def connectionLost(self, reason: Failure) -> None:
        """See ``IProtocol``."""
        if not self.is_over:
            self.end = why_lost(reason.value, self._scheme, self._is_secure, bool(self.reads))
        super().connectionLost(reason)

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self._is_secure = True

    def reject(self) -> None:
        """Give this connection up, since something else answers."""
        self.hang_up(why_no_redis(self._first, self._scheme))

    def time_out(self, patience: float) -> None:
        """Give this connection up, since nothing has come for so many seconds."""
        self.hang_up(why_silent(patience, self._scheme, self._is_secure))

    def hang_up(self, reason: str) -> None:
        """Give this connection up."""
        self.end = reason
        self.is_over = True
        self.transport.abortConnection()


class RedisFactory(Factory):
    """Makes the protocols of one ``RedisConnection``; the arguments are those of ``RedisProtocol``."""

    noisy = False

    def __init__(self, scheme: str, received: Callable[[RedisProtocol, list[Message]], None] | None = None) -> None:
        self._scheme = scheme
        self._received = received

    def buildProtocol(self, addr: object) -> RedisProtocol:
        """See ``IProtocolFactory``."""
        received = self._received
        if received is None:
            return RedisProtocol(self._scheme)
        protocol = RedisProtocol(self._scheme, lambda messages: received(protocol, messages))
        return protocol
