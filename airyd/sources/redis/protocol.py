"""The bytes of one connection to Redis: replies to commands, and messages of the channels that it subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol, InvalidData

#: What Redis answers with (RESP2): text as bytes; within a list an error, a ``ResponseError``, may stand for a value.
Reply: TypeAlias = "bytes | int | list[Reply] | Exception | None"
Word: TypeAlias = str | bytes | int
#: An entry of a stream as Redis gives it: the id, and field and value by turns (None for an entry that is gone).
RawEntry: TypeAlias = "tuple[bytes, list[bytes] | None]"

#: What the first word of a reply is that is none, but something that was published.
_MESSAGE: Final = b"message"


class Message(NamedTuple):
    """Something that was published on a channel."""

    channel: bytes
    body: bytes


class RedisProtocol(HiredisProtocol):  # type: ignore[misc]  # txredisapi has no types
    """txredisapi without its conversions, which walk through every reply, and without its login, which is tried once.

    :param take: called with the messages that one read brought; None for a connection without channels

    :ivar end: why the connection was lost
    :ivar is_over: whether it was given up, and is about to be lost
    :ivar reads: how often something has come
    """

    end: str = "the connection was lost"

    def __init__(self, take: Callable[[list[Message]], None] | None = None) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.is_over = False
        self.reads = 0
        self._take = take
        self._messages: list[Message] = []

    def tryConvertData(self, data: Reply) -> Reply:
        """Leave a reply as it is."""
        return data

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """See ``IProtocol``; hang up on what is no Redis."""
        self.reads += 1
        try:
            super().dataReceived(data, unpause)
        except InvalidData as error:
            self.hang_up(f"what answers is no Redis: {error}")
        if self._messages and self._take is not None:
            messages, self._messages = self._messages, []
            self._take(messages)

    def replyReceived(self, reply: Reply) -> None:
        """Tell messages from replies; no reply to what a subscriber may say begins so."""
        if self._take is not None and isinstance(reply, list) and reply[:1] == [_MESSAGE]:
            self._messages.append(Message(*cast(list[bytes], reply[1:])))
        else:
            super().replyReceived(reply)

    def connectionLost(self, reason: Failure) -> None:
        """See ``IProtocol``."""
        if self.end == RedisProtocol.end and not reason.check(ConnectionDone):
            self.end = f"the connection was lost: {one_line(reason.value)}"
        super().connectionLost(reason)

    def hang_up(self, reason: str) -> None:
        """Give this connection up."""
        self.end = reason
        self.is_over = True
        self.transport.abortConnection()


class RedisFactory(Factory):
    """Makes the protocols of one link."""

    noisy = False

    def __init__(self, take: Callable[[RedisProtocol, list[Message]], None] | None = None) -> None:
        self._take = take

    def buildProtocol(self, addr: object) -> RedisProtocol:
        """See ``IProtocolFactory``."""
        take = self._take
        if take is None:
            return RedisProtocol()
        protocol = RedisProtocol(lambda messages: take(protocol, messages))
        return protocol


def one_line(error: BaseException | None) -> str:
    """Return what went wrong, on one line. Redis' own words hold no password."""
    return " ".join((str(error) or type(error).__name__).split())
