"""What a parent and its workers say to each other, over a worker's pipes (msgpack, length first)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from airyd.config.settings import Settings
from airyd.revocation import Revocation

#: A worker's descriptors: orders come in at its standard input, reports go out at ``REPORTS``, and its parent's
#: listening sockets follow. What it writes to its standard output and error is text for the log.
ORDERS: Final = 0
TEXT: Final = (1, 2)
REPORTS: Final = 3
FIRST_SOCKET: Final = 4


class Start(msgspec.Struct, tag=True, frozen=True):
    """The first order: what to be.

    :ivar number: the worker's own, from 0 on
    :ivar workers: how many there are; each has one socket for each of ``settings.listen``
    :ivar reactor: the module that installs the reactor, the parent's own
    :ivar revocations: what was revoked before
    """

    number: int
    workers: int
    reactor: str
    settings: Settings
    revocations: Sequence[Revocation] = ()


class Cover(msgspec.Struct, tag=True, frozen=True):
    """Accept also what comes to the sockets of these workers, and of no others."""

    numbers: Sequence[int]


class Extend(msgspec.Struct, tag=True, frozen=True):
    """Add these to the catalogue: the parent has read the file of destinations again."""

    destinations: Sequence[str]


class AliveRequest(msgspec.Struct, tag=True, frozen=True):
    """Say that you go on: :class:`AliveReply`."""


class ReadinessRequest(msgspec.Struct, tag=True, frozen=True):
    """Say why clients should not be sent to you: :class:`ReadinessReply`."""

    request_id: int


class MetricsRequest(msgspec.Struct, tag=True, frozen=True):
    """Say what you have counted: :class:`MetricsReply`."""

    request_id: int


class PublishRequest(msgspec.Struct, tag=True, frozen=True):
    """Publish this, and answer with :class:`PublishReply` or :class:`ErrorReply`."""

    request_id: int
    destination: str
    body: bytes


class RevokeRequest(msgspec.Struct, tag=True, frozen=True):
    """Put this into force, and answer with :class:`RevokeReply` or :class:`ErrorReply`.

    :ivar is_kept: whether the answer waits until the source keeps it; one worker of all sees to that
    """

    request_id: int
    revocation: Revocation
    is_kept: bool


class Serving(msgspec.Struct, tag=True, frozen=True):
    """I accept clients now."""


class Leaving(msgspec.Struct, tag=True, frozen=True):
    """I accept clients no more, and close those that I have."""


class LogLine(msgspec.Struct, tag=True, frozen=True):
    """One event of my log.

    :ivar level: a ``LogLevel``'s name
    """

    level: str
    namespace: str
    text: str


class AliveReply(msgspec.Struct, tag=True, frozen=True):
    """The answer to :class:`AliveRequest`."""


class ReadinessReply(msgspec.Struct, tag=True, frozen=True):
    """The answer to :class:`ReadinessRequest`: see ``Readiness``."""

    request_id: int
    reasons: Sequence[str]
    warnings: Sequence[str] = ()


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """One number of a metric, as prometheus_client has it."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with all its samples.

    :ivar kind: prometheus_client's type of it, such as ``counter``
    """

    name: str
    kind: str
    text: str
    samples: list[Sample]


class MetricsReply(msgspec.Struct, tag=True, frozen=True):
    """The answer to :class:`MetricsRequest`."""

    request_id: int
    families: list[Family]


class PublishReply(msgspec.Struct, tag=True, frozen=True):
    """The event has its ``message-id``."""

    request_id: int
    message_id: str


class RevokeReply(msgspec.Struct, tag=True, frozen=True):
    """It is in force, and kept if that was asked for."""

    request_id: int


class ErrorReply(msgspec.Struct, tag=True, frozen=True):
    """The event was not published, or the revocation not kept.

    :ivar kind: the name of the exception
    :ivar fault: which payload rule it breaks, if it does
    """

    request_id: int
    kind: str
    reason: str
    fault: str | None = None


Order = Cover | Extend | AliveRequest | ReadinessRequest | MetricsRequest | PublishRequest | RevokeRequest
WorkerReply = ReadinessReply | MetricsReply | PublishReply | RevokeReply | ErrorReply
Report = (
    Serving | Leaving | AliveReply | LogLine | ReadinessReply | MetricsReply | PublishReply | RevokeReply | ErrorReply
)

read_order: Final = msgspec.msgpack.Decoder(Order).decode
read_report: Final = msgspec.msgpack.Decoder(Report).decode
encode: Final = msgspec.msgpack.Encoder().encode


def read_start() -> Start:
    """Wait for a worker's first order, which chooses the reactor; ``EOFError`` if the parent is gone."""
    return msgspec.msgpack.decode(_read(int.from_bytes(_read(4))), type=Start)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(ORDERS, size - len(data))
        if not more:
            raise EOFError("the parent is gone")
        data += more
    return data


class MessageProtocol(Int32StringReceiver):
    """Cuts what comes over a pipe into messages, and sends some.

    :param received: is given each message, as bytes
    :param lost: is called when the pipe is closed
    """

    #: There is no stranger at the other end. 2 GiB are what the length can say.
    MAX_LENGTH = 2**31 - 1

    def __init__(self, received: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost

    def stringReceived(self, string: bytes) -> None:
        """See ``Int32StringReceiver``."""
        self._received(string)

    def send(self, message: Start | Order | Report) -> None:
        """Send one of this module's messages."""
        self.sendString(encode(message))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        self._lost()
