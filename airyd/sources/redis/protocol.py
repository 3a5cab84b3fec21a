"""The RESP2 protocol of one connection to Redis: replies to commands, and Pub/Sub messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol, InvalidData
from zope.interface import implementer

from airyd.sources.redis.trouble import LOST, why_lost, why_no_redis, why_silent

#: A reply of Redis (RESP2): text as bytes; a list may contain errors (``ResponseError``) in place of values.
RedisReply: TypeAlias = "bytes | int | list[RedisReply] | Exception | None"
Word: TypeAlias = str | bytes | int
#: An entry of a stream: its id, and its fields and values alternating (None for a deleted entry).
RawEntry: TypeAlias = "tuple[bytes, list[bytes] | None]"

#: The first element of a Pub/Sub message.
_MESSAGE: Final = b"message"
#: The first bytes of an answer, enough to recognise a server that is not a Redis.
_ENOUGH: Final = 5


def encode_command(words: Sequence[Word]) -> bytes:
    """Return a command as an array of bulk strings; txredisapi's own encoder takes several times as long."""
    texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in texts])


class Message(NamedTuple):
    """A Pub/Sub message on a channel."""

    channel: bytes
    body: bytes


class _Sent(NamedTuple):
    """Commands that were sent in one write.

    :ivar expected: how many replies they have
    :ivar replies: the replies so far
    :ivar done: fires with all replies
    """

    expected: int
    replies: list[RedisReply]
    done: Deferred[list[RedisReply]]


@implementer(IHandshakeListener)
class RedisProtocol(HiredisProtocol):  # type: ignore[misc]  # txredisapi has no types
    """txredisapi's protocol without its conversion of every reply, and without its login, which is tried only once.

    It has its own queue of commands, since txredisapi's takes a Deferred and 10 µs for each of them.

    :param scheme: the URL's scheme, such as ``rediss``
    :param received: called with the messages of one read; None for a connection without channels

    :ivar end: why the connection was lost
    :ivar is_over: whether the connection is being closed after an error
    :ivar reads: the number of reads that brought bytes
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
        self._sent: deque[_Sent] = deque()

    def tryConvertData(self, data: RedisReply) -> RedisReply:
        """Return a reply unchanged."""
        return data

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """See ``IProtocol``; close the connection if the server is not a Redis."""
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
        """Separate messages from replies; no reply to PING or SUBSCRIBE begins like a message."""
        if self._received is not None and isinstance(reply, list) and reply[:1] == [_MESSAGE]:
            self._messages.append(Message(*cast(list[bytes], reply[1:])))
        elif self._sent:
            sent = self._sent[0]
            sent.replies.append(reply)
            if len(sent.replies) == sent.expected:
                self._sent.popleft()
                sent.done.callback(sent.replies)

    def execute_command(self, *words: Word) -> Deferred[RedisReply]:
        """Send a command; fires with the reply, or fails with the error of Redis."""
        return self.execute_all([encode_command(words)]).addCallback(_only_reply)

    def execute_all(self, commands: Sequence[bytes]) -> Deferred[list[RedisReply]]:
        """Send encoded commands in one write; fires after the last reply with all of them, errors of Redis included.

        Errors: ``ConnectionError`` if the connection is lost before the last reply.
        """
        if not self.connected:
            return fail(ConnectionError("not connected"))
        sent = _Sent(len(commands), [], Deferred())
        self._sent.append(sent)
        self.transport.write(b"".join(commands))
        return sent.done

    def connectionLost(self, reason: Failure) -> None:
        """See ``IProtocol``."""
        if not self.is_over:
            self.end = why_lost(reason.value, self._scheme, self._is_secure, bool(self.reads))
        super().connectionLost(reason)
        while self._sent:
            self._sent.popleft().done.errback(ConnectionError("the connection was lost"))

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self._is_secure = True

    def reject(self) -> None:
        """Close the connection, because the server is not a Redis."""
        self.hang_up(why_no_redis(self._first, self._scheme))

    def time_out(self, patience: float) -> None:
        """Close the connection, because nothing has arrived for ``patience`` seconds."""
        self.hang_up(why_silent(patience, self._scheme, self._is_secure))

    def hang_up(self, reason: str) -> None:
        """Close the connection at once."""
        self.end = reason
        self.is_over = True
        self.transport.abortConnection()


def _only_reply(replies: list[RedisReply]) -> RedisReply:
    (reply,) = replies
    if isinstance(reply, Exception):
        raise reply
    return reply


class RedisFactory(Factory):
    """Makes the protocols of one ``RedisConnection``; for the arguments see ``RedisProtocol``."""

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
