"""A Redis in memory: connections whose server side the test plays."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Final, TypeAlias, cast

import hiredis
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.sources.redis.address import Address, read_address
from airyd.sources.url_query import Query
from tests.sources.redis.server import Word

#: What Redis may answer: a str is a status such as OK, bytes are a value, an exception is an error.
Answer: TypeAlias = "str | bytes | int | list[Answer] | Exception | None"


_HELLO: Final = b"*1\r\n$5\r\nHELLO\r\n"
_PING: Final = b"*1\r\n$4\r\nPING\r\n"


class Error(Exception):
    """An error of Redis, as its text."""


def encode(answer: Answer) -> bytes:
    """Return an answer as RESP2 bytes."""
    match answer:
        case None:
            return b"*-1\r\n"
        case str():
            return f"+{answer}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case int():
            return b":%d\r\n" % answer
        case list():
            return b"*%d\r\n" % len(answer) + b"".join(map(encode, answer))
    return f"-{answer}\r\n".encode()


def address(url: str = "redis://192.0.2.7", **environ: str) -> Address:
    """Return the address that a URL without parameters names."""
    return read_address(url, Query(url), environ)


class _Here(Address):
    """An address that leads into memory."""

    __slots__ = ()
    here: FakeEndpoint

    def endpoint(self, reactor: object) -> FakeEndpoint:
        return self.here


def address_of(endpoint: FakeEndpoint) -> Address:
    """Return an address that leads to this one; a test has one at a time."""
    _Here.here = endpoint
    return _Here(*address())


class _Transport(StringTransport):
    """A transport that closes in the reactor's next turn, as real ones do.

    :ivar ends: whether the other end answers a close; an abort needs no answer
    """

    ends = True

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.7", 6379))
        self._clock = clock
        self._protocol = protocol
        self.is_lost = False

    def loseConnection(self) -> None:
        self.disconnecting = True
        if self.ends:
            self._clock.callLater(0, self.lose, ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnecting = True
        self._clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._protocol.connectionLost(Failure(reason))


class Session:
    """The server side of one connection.

    :ivar is_open: whether the client has not closed it
    :ivar unanswered: the commands that :meth:`asked` has returned and :meth:`answer` has not answered
    """

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        self.unanswered: list[list[bytes]] = []
        self._received: list[list[bytes]] = []
        self._protocol = protocol
        self._transport = _Transport(clock, protocol)
        self._requests = hiredis.Reader()
        self._clock = clock

    def begin(self) -> None:
        """Connect the client's protocol."""
        self._protocol.makeConnection(cast(Any, self._transport))

    @property
    def is_open(self) -> bool:
        return not self._transport.disconnecting and not self._transport.is_lost

    def asked(self, name: bytes | None = None) -> list[list[bytes]]:
        """Return the commands received since the last call.

        :param name: return only the first ones, which have this name, and leave the others
        """
        self._requests.feed(self._transport.value())
        self._transport.clear()
        while (request := self._requests.gets()) is not False:
            self._received.append(request)
        commands = list(takewhile(lambda each: name in (None, each[0]), self._received))
        del self._received[: len(commands)]
        self.unanswered += commands
        return commands

    def keep_alive(self) -> None:
        """Answer a keep-alive command, if one was received."""
        while (asked := self._transport.value()) in (_HELLO, _PING):
            self._transport.clear()
            self.send(encode(says_hello() if asked == _HELLO else "PONG"))

    def answer(self, *answers: Answer) -> None:
        """Answer commands, in their order."""
        del self.unanswered[: len(answers)]
        self.send(b"".join(map(encode, answers)))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if not self._transport.is_lost:
            self._protocol.dataReceived(data)

    def lose(self, reason: Exception | None = None) -> None:
        """Break the connection."""
        self._transport.lose(reason or ConnectionLost())

    def never_ends(self) -> None:
        """Let the other end not answer a close."""
        self._transport.ends = False

    def log_in(self, number: int = 7, hello: Answer | None = None) -> list[list[bytes]]:
        """Answer the login, with this number as CLIENT ID; return its commands.

        :param hello: the reply to HELLO, by default that of a Redis 7 master
        """
        said: list[list[bytes]] = []
        while [b"PING"] not in said:
            commands = self.asked()
            assert commands, "the client does not log in here"
            for command in commands:
                said.append(command)
                answers: dict[bytes, Answer] = {
                    b"CLIENT": number,
                    b"PING": "PONG",
                    b"HELLO": says_hello() if hello is None else hello,
                }
                self.answer(answers.get(command[0], "OK"))
        return said


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """Connects at once, or as the test says.

    :ivar sessions: all connections, oldest first
    :ivar fault: what every attempt fails with, if anything
    :ivar holding: whether attempts wait for :meth:`connect_all`
    :ivar attempts: how many there were
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sessions: list[Session] = []
        self.fault: Exception | None = None
        self.holding = False
        self.attempts = 0
        self.waiting: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        self.attempts += 1
        if self.fault is not None:
            return fail(self.fault)
        connecting: Deferred[IProtocol] = Deferred()
        self.waiting.append((protocolFactory, connecting))
        if not self.holding:
            self.connect_all()
        return connecting

    def connect_all(self) -> None:
        """Let pending attempts succeed."""
        waiting, self.waiting = self.waiting, []
        for factory, connecting in waiting:
            protocol = cast(IProtocol, factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 6379)))
            session = Session(self._clock, protocol)
            self.sessions.append(session)
            session.begin()
            connecting.callback(protocol)


def words(*command: Word) -> list[bytes]:
    """Return a command as it comes over the wire."""
    return [word if isinstance(word, bytes) else str(word).encode() for word in command]


def says_hello(version: str = "7.0.15", role: str = "master", mode: str = "standalone") -> Answer:
    """Return an answer to HELLO, as Redis gives it in RESP2."""
    return [
        *(b"server", b"redis", b"version", version.encode(), b"proto", 2, b"id", 7),
        *(b"mode", mode.encode(), b"role", role.encode(), b"modules", []),
    ]


def stream_info(
    last: str,
    added: int,
    deleted: str = "0-0",
    newest: str | None = None,
    oldest: str | None = None,
    length: int = 1,
    body: bytes = b"{}",
) -> Answer:
    """Return a reply to XINFO STREAM of Redis 7; by default the oldest entry is the newest one.

    :param body: the body of both entries
    """

    def entry(event_id: str | None) -> Answer:
        return None if event_id is None else [event_id.encode(), [b"payload", body]]

    return [
        *(b"length", length, b"radix-tree-keys", 1, b"radix-tree-nodes", 2),
        *(b"last-generated-id", last.encode(), b"max-deleted-entry-id", deleted.encode(), b"entries-added", added),
        *(b"recorded-first-entry-id", b"0-0", b"groups", 0),
        *(b"first-entry", entry(oldest or newest), b"last-entry", entry(newest)),
    ]


def counters(*infos: Answer) -> Answer:
    """Return the reply of the script that leaves out entries: these replies to XINFO STREAM, with sizes for fields."""

    def without_fields(entry: Answer) -> Answer:
        if not isinstance(entry, list) or not entry:
            return entry
        event_id, fields = entry
        assert isinstance(fields, list)
        return [event_id, sum(len(cast(bytes, text)) for text in fields)]

    return [list(map(without_fields, info)) if isinstance(info, list) else info for info in infos]
