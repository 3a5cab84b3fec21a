"""The messages between a parent and its workers: msgpack with a length prefix, over a worker's pipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from airyd.config.settings import Settings
from airyd.management.queries import ManagementQuery, ManagementReply, TraceLine, TraceQuery
from airyd.revocation import Revocation

#: A worker's descriptors: it reads orders from standard input and writes reports to ``REPORTS``; its parent's listening
#: sockets follow. Text on its standard output and error goes to the log.
ORDERS: Final = 0
TEXT: Final = (1, 2)
REPORTS: Final = 3
FIRST_SOCKET: Final = 4


def process_name(number: int) -> str:
    """Return the name of a worker for operators."""
    return f"worker-{number + 1}"


class Start(msgspec.Struct, tag=True, frozen=True):
    """The first order: the worker's configuration.

    :ivar number: the worker's number, counted from 0
    :ivar workers: the number of workers; each has one socket for each of ``settings.listen``
    :ivar reactor: the module that installs the reactor, the same as the parent's
    :ivar revocations: the revocations so far
    :ivar is_draining: whether the node drains, so that the worker must refuse all clients
    """

    number: int
    workers: int
    reactor: str
    settings: Settings
    revocations: Sequence[Revocation] = ()
    is_draining: bool = False


class Cover(msgspec.Struct, tag=True, frozen=True):
    """Order: also accept connections from the sockets of these workers, and of no others."""

    numbers: Sequence[int]


class ReloadRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: check new settings, read all files again, and answer with :class:`ReloadReply` or :class:`ErrorReply`."""

    request_id: int
    settings: Settings


class FinishReload(msgspec.Struct, tag=True, frozen=True):
    """Order: apply what the last :class:`ReloadRequest` prepared, or give it up; answer with :class:`ReloadReply`."""

    request_id: int
    is_applied: bool


class Leave(msgspec.Struct, tag=True, frozen=True):
    """Order: close your clients and end, without ``--drain-notice``, because other workers take your place."""


class AliveRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: give a sign of life, :class:`AliveReply`."""


class ReadinessRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: report your readiness with :class:`ReadinessReply`."""

    request_id: int


class MetricsRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: report your metrics with :class:`MetricsReply`."""

    request_id: int


class PublishRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: publish an event and answer with :class:`PublishReply` or :class:`ErrorReply`."""

    request_id: int
    destination: str
    body: bytes


class RevokeRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: apply a revocation and answer with :class:`RevokeReply` or :class:`ErrorReply`.

    :ivar is_kept: whether to store it in the source before the answer; only one worker does
    """

    request_id: int
    revocation: Revocation
    is_kept: bool


class ManagementRequest(msgspec.Struct, tag=True, frozen=True):
    """Order: answer a query of the admin API with :class:`ManagementReport` or :class:`ErrorReply`."""

    request_id: int
    query: ManagementQuery


class StartTrace(msgspec.Struct, tag=True, frozen=True):
    """Order: begin a trace, and report :class:`TraceLines`, then :class:`TraceEnded`.

    :ivar trace_id: names it in later messages
    :ivar has_frames: see ``Tracer.start``, also for ``has_events``
    """

    trace_id: int
    query: TraceQuery
    has_frames: bool
    has_events: bool


class StopTrace(msgspec.Struct, tag=True, frozen=True):
    """Order: end a trace, unless it has ended."""

    trace_id: int


class Serving(msgspec.Struct, tag=True, frozen=True):
    """Report: the worker accepts clients now."""


class Leaving(msgspec.Struct, tag=True, frozen=True):
    """Report: the worker has stopped accepting clients and closes its connections."""


class LogLine(msgspec.Struct, tag=True, frozen=True):
    """Report: one event of the worker's log.

    :ivar level: the name of a ``LogLevel``
    :ivar time: when it was logged, in seconds since 1970
    :ivar fields: with ``--log-format json`` its fields
    """

    level: str
    namespace: str
    text: str
    time: float = 0.0
    fields: dict[str, Any] | None = None


class AliveReply(msgspec.Struct, tag=True, frozen=True):
    """The answer to :class:`AliveRequest`."""


class ReadinessReply(msgspec.Struct, tag=True, frozen=True):
    """The answer to :class:`ReadinessRequest`: see ``Readiness``."""

    request_id: int
    reasons: Sequence[str]
    warnings: Sequence[str] = ()


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """One sample of a metric, as in prometheus_client."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with all its samples.

    :ivar kind: the metric's type in prometheus_client, such as ``counter``
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
    """Report: the event was published."""

    request_id: int
    message_id: str


class RevokeReply(msgspec.Struct, tag=True, frozen=True):
    """Report: the revocation is in force, and stored if the order said so."""

    request_id: int


class ReloadReply(msgspec.Struct, tag=True, frozen=True):
    """Report: the reload is prepared, or finished.

    :ivar changes: see ``Reload``
    """

    request_id: int
    changes: Sequence[str]


class ManagementReport(msgspec.Struct, tag=True, frozen=True):
    """Report: the reply to a query of the admin API."""

    request_id: int
    reply: ManagementReply


class TraceLines(msgspec.Struct, tag=True, frozen=True):
    """Report: lines of a trace."""

    trace_id: int
    lines: Sequence[TraceLine]


class TraceEnded(msgspec.Struct, tag=True, frozen=True):
    """Report: a trace has ended, or could not begin."""

    trace_id: int
    reason: str


class ErrorReply(msgspec.Struct, tag=True, frozen=True):
    """Report: the event was not published, the revocation not stored, the query not answered, or the reload refused.

    :ivar kind: the name of the exception
    :ivar fault: the payload rule that the body breaks, if any
    """

    request_id: int
    kind: str
    reason: str
    fault: str | None = None


Order = (
    Cover
    | Leave
    | AliveRequest
    | ReadinessRequest
    | MetricsRequest
    | PublishRequest
    | RevokeRequest
    | ReloadRequest
    | FinishReload
    | ManagementRequest
    | StartTrace
    | StopTrace
)
WorkerReply = ReadinessReply | MetricsReply | PublishReply | RevokeReply | ReloadReply | ManagementReport | ErrorReply
Report = (
    Serving
    | Leaving
    | AliveReply
    | LogLine
    | ReadinessReply
    | MetricsReply
    | PublishReply
    | RevokeReply
    | ReloadReply
    | ManagementReport
    | ErrorReply
    | TraceLines
    | TraceEnded
)

read_order: Final = msgspec.msgpack.Decoder(Order).decode
read_report: Final = msgspec.msgpack.Decoder(Report).decode
encode: Final = msgspec.msgpack.Encoder().encode


def read_start() -> Start:
    """Wait for a worker's first order, before a reactor is installed; raises ``EOFError`` if the parent is gone."""
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
    """Receives and sends messages with a length prefix over a pipe.

    :param received: called with the bytes of each message
    :param lost: called when the pipe is closed
    """

    #: The largest message that the prefix allows, 2 GiB; the other end is trusted.
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
