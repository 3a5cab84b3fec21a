"""A worker process, seen from its parent: starts it, sends it orders, receives its reports, ends it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport, IReactorTime, ITransport
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.logger import LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from airyd.config.settings import Settings
from airyd.errors import (
    ConfigurationError,
    PayloadFault,
    PayloadRefused,
    QueryRefused,
    Refusal,
    SourceUnavailable,
    UnknownDestination,
)
from airyd.interfaces import IServerReactor, Readiness
from airyd.limits import SOURCE_PATIENCE
from airyd.management.queries import EventsQuery, ExplainQuery, ManagementQuery, ManagementReply
from airyd.revocation import Revocation
from airyd.runtime.log_format import WORKER_FIELDS
from airyd.runtime.log_limits import LIMITED
from airyd.runtime.service_manager import without_service_manager
from airyd.workers.messages import (
    FIRST_SOCKET,
    ORDERS,
    REPORTS,
    TEXT,
    AliveReply,
    AliveRequest,
    Cover,
    ErrorReply,
    Family,
    FinishReload,
    Leave,
    Leaving,
    LogLine,
    ManagementReport,
    ManagementRequest,
    MessageProtocol,
    MetricsReply,
    MetricsRequest,
    Order,
    PublishReply,
    PublishRequest,
    ReadinessReply,
    ReadinessRequest,
    ReloadReply,
    ReloadRequest,
    RevokeReply,
    RevokeRequest,
    Serving,
    Start,
    StartTrace,
    StopTrace,
    TraceEnded,
    TraceLines,
    WorkerReply,
    read_report,
)

#: Seconds that a worker may take to report, and to publish. Its own limit for publishing is shorter, because its error
#: says more.
ASK_PATIENCE: Final = 2.0
PUBLISH_PATIENCE: Final = SOURCE_PATIENCE + 2.0
#: Seconds that a worker may take to prepare a reload; it may have to fetch keys.
RELOAD_PATIENCE: Final = 15.0


#: The errors of queries, by their names.
_QUERY_ERRORS: Final[Mapping[str, type[Refusal]]] = {
    each.__name__: each for each in (QueryRefused, UnknownDestination, SourceUnavailable)
}


class NoAnswer(Exception):
    """A worker did not answer an order in time, or ended before it answered."""


class WorkerEnded(NoAnswer):
    """The worker has ended, and its connections with it."""


class WorkerFault(Exception):
    """A worker had an unexpected error; its log has the traceback."""


class WorkerObserver(Protocol):
    """Is notified of the states of workers, by their numbers."""

    def worker_serving(self, number: int) -> None:
        """Note that a worker accepts clients."""

    def worker_leaving(self, number: int) -> None:
        """Note that a worker has stopped accepting clients and will end."""

    def worker_ended(self, number: int, reason: str) -> None:
        """Note that a worker's process has ended.

        :param reason: how it ended, such as ``ended by SIGKILL``
        """


#: Is called with the number of a worker, and what it reports about a trace.
OnTraceReport = Callable[[int, TraceLines | TraceEnded], None]


class WorkerProcess(ProcessProtocol):
    """One worker process."""

    _log = Logger()

    def __init__(
        self,
        start: Start,
        observer: WorkerObserver,
        clock: IReactorTime,
        on_trace_report: OnTraceReport = lambda number, report: None,
    ) -> None:
        self._on_trace_report = on_trace_report
        self._start = start
        self._observer = observer
        self._clock = clock
        self._messages = MessageProtocol(self._reported, lambda: None)
        self._asked: dict[int, Deferred[WorkerReply]] = {}
        self._request_ids = count()
        self._text = dict.fromkeys(TEXT, b"")
        self._last_text = ""
        self._takes_orders = True
        self._has_reported = True
        self._silent_checks = 0

    # Orders to the worker.

    def cover(self, numbers: Sequence[int]) -> None:
        """Make it also accept from the sockets of these workers, and of no others."""
        self._messages.send(Cover(numbers))

    def prepare_reload(self, settings: Settings) -> Deferred[Sequence[str]]:
        """Make it check new settings and read all files again; fires with the changes (see ``Reload``).

        Errors: ``ConfigurationError``, ``WorkerFault``, ``NoAnswer``.
        """
        asked = self._ask(lambda request_id: ReloadRequest(request_id, settings), RELOAD_PATIENCE)
        return asked.addCallback(_reload_changes)

    def finish_reload(self, is_applied: bool) -> Deferred[None]:
        """Make it apply the last reload that it prepared, or give it up; fires when that is done, or takes long."""
        asked = self._ask(lambda request_id: FinishReload(request_id, is_applied), ASK_PATIENCE)
        return asked.addCallbacks(lambda _: None, lambda failure: failure.trap(NoAnswer) and None)

    def order(self, order: StartTrace | StopTrace) -> None:
        """Make it begin or end a trace; it reports the lines, and the end."""
        self._messages.send(order)

    def leave(self) -> None:
        """Make it end like :meth:`terminate`, but without ``--drain-notice``, because others take its place."""
        self._messages.send(Leave())

    def check_alive(self) -> int:
        """Ask for a sign of life; return how many checks in a row found none. Any report is a sign of life."""
        if self._has_reported:
            self._has_reported = False
            self._silent_checks = 0
            self._messages.send(AliveRequest())
        else:
            self._silent_checks += 1
        return self._silent_checks

    def readiness(self) -> Deferred[Readiness]:
        """Ask for its readiness; errors: ``NoAnswer``."""
        asked = self._ask(ReadinessRequest, ASK_PATIENCE).addCallback(lambda answer: cast(ReadinessReply, answer))
        return asked.addCallback(lambda answer: Readiness(answer.reasons, answer.warnings))

    def metrics(self) -> Deferred[list[Family]]:
        """Ask for its metrics; errors: ``NoAnswer``."""
        return self._ask(MetricsRequest, ASK_PATIENCE).addCallback(lambda answer: cast(MetricsReply, answer).families)

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Make it publish an event; fires with the ``message-id``.

        Errors: ``UnknownDestination``, ``PayloadRefused``, ``SourceUnavailable``, ``WorkerFault``; ``NoAnswer`` if it
        is not known whether the event was published.
        """
        asked = self._ask(lambda request_id: PublishRequest(request_id, destination, body), PUBLISH_PATIENCE)
        return asked.addCallback(_message_id)

    def revoke(self, revocation: Revocation, is_kept: bool) -> Deferred[None]:
        """Make it apply a revocation, and store it in the source if ``is_kept``.

        Errors: ``SourceUnavailable``, ``WorkerFault``, ``NoAnswer``.
        """
        asked = self._ask(lambda request_id: RevokeRequest(request_id, revocation, is_kept), PUBLISH_PATIENCE)
        return asked.addCallback(_was_revoked)

    def ask(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Make it answer a query of the admin API.

        Errors: ``QueryRefused``, ``UnknownDestination``, ``SourceUnavailable``, ``WorkerFault``, ``NoAnswer``.
        """
        patience = PUBLISH_PATIENCE if isinstance(query, EventsQuery | ExplainQuery) else ASK_PATIENCE
        return self._ask(lambda request_id: ManagementRequest(request_id, query), patience).addCallback(_reply_of)

    def _ask(self, make: Callable[[int], Order], patience: float) -> Deferred[WorkerReply]:
        request_id = next(self._request_ids)
        answer: Deferred[WorkerReply] = Deferred()
        self._asked[request_id] = answer
        self._messages.send(make(request_id))

        def late(result: object, _: float) -> WorkerReply:
            self._asked.pop(request_id, None)
            raise NoAnswer(f"it does not answer within {patience:g} seconds")

        return answer.addTimeout(patience, self._clock, late)

    def terminate(self) -> None:
        """Make it close its clients and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            cast(IProcessTransport, self.transport).signalProcess(number)
        except ProcessExitedAlready:
            self._log.debug("worker {number} has ended already", number=self._start.number + 1)

    # Reports of the worker.

    def connectionMade(self) -> None:
        """Send the new process its first order (``IProcessProtocol``)."""
        pid = cast(IProcessTransport, self.transport).pid
        self._log.info("worker {number} is process {pid}", number=self._start.number + 1, pid=pid)
        self._messages.makeConnection(cast(ITransport, self))
        self._messages.send(self._start)

    def write(self, data: bytes) -> None:
        """Send bytes to the worker, unless it is ending (the part of ``ITransport`` that ``MessageProtocol`` uses)."""
        if self._takes_orders:
            cast(IProcessTransport, self.transport).writeToChild(ORDERS, data)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """See ``IProcessProtocol``."""
        if childFD == REPORTS:
            self._has_reported = True
            self._messages.dataReceived(data)
            return
        *lines, self._text[childFD] = (self._text[childFD] + data).split(b"\n")
        for line in lines:
            self._wrote(line)

    def childConnectionLost(self, childFD: int) -> None:
        """See ``IProcessProtocol``."""
        self._takes_orders = self._takes_orders and childFD != ORDERS
        rest = self._text.get(childFD)
        if rest:
            self._wrote(rest)

    def _wrote(self, line: bytes) -> None:
        self._last_text = line.decode(errors="replace")
        self._log.warn("worker {number} wrote: {line}", number=self._start.number + 1, line=self._last_text)

    def _reported(self, data: bytes) -> None:
        number = self._start.number
        report = read_report(data)
        match report:
            case Serving():
                self._observer.worker_serving(number)
            case Leaving():
                self._observer.worker_leaving(number)
            case AliveReply():
                pass  # childDataReceived() has noted it
            case LogLine():
                globalLogPublisher(_log_event(number + 1, report))
            case TraceLines() | TraceEnded():
                self._on_trace_report(number, report)
            case answer:
                asked = self._asked.pop(answer.request_id, None)
                if asked is not None:
                    asked.callback(answer)

    def processEnded(self, reason: Failure = connectionDone) -> None:
        """See ``IProcessProtocol``."""
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.errback(WorkerEnded("it has ended"))
        end = cast(ProcessDone | ProcessTerminated, reason.value)
        self._observer.worker_ended(self._start.number, self._end_reason(end))

    def _end_reason(self, end: ProcessDone | ProcessTerminated) -> str:
        if end.signal is not None:
            return f"ended by {signal.Signals(end.signal).name}"
        last = f": {self._last_text}" if self._last_text and end.exitCode else ""
        return f"ended with status {end.exitCode or 0}{last}"


def _log_event(number: int, line: LogLine) -> LogEvent:
    """Return the event of the parent's log for a line of a worker, which has limited its lines already."""
    event = {
        "log_format": "worker {number}: {text}",
        "log_level": LogLevel.levelWithName(line.level),
        "log_namespace": line.namespace,
        "log_time": line.time,
        LIMITED: True,
        "number": number,
        "text": line.text,
    }
    return event if line.fields is None else {**event, WORKER_FIELDS: {"worker": number, **line.fields}}


def _was_revoked(answer: WorkerReply) -> None:
    match answer:
        case RevokeReply():
            return
        case ErrorReply(_, SourceUnavailable.__name__, reason):
            raise SourceUnavailable(reason)
        case _:
            raise WorkerFault(str(answer))


def _reload_changes(answer: WorkerReply) -> Sequence[str]:
    match answer:
        case ReloadReply(_, changes):
            return changes
        case ErrorReply(_, ConfigurationError.__name__, reason):
            raise ConfigurationError(reason)
        case _:
            raise WorkerFault(str(answer))


def _reply_of(answer: WorkerReply) -> ManagementReply:
    match answer:
        case ManagementReport(_, reply):
            return reply
        case ErrorReply(_, kind, reason) if kind in _QUERY_ERRORS:
            raise _QUERY_ERRORS[kind](reason)
        case _:
            raise WorkerFault(str(answer))


def _message_id(answer: WorkerReply) -> str:
    match answer:
        case PublishReply(_, message_id):
            return message_id
        case ErrorReply(_, PayloadRefused.__name__, reason, fault):
            raise PayloadRefused(PayloadFault(fault), reason)
        case ErrorReply(_, UnknownDestination.__name__, reason):
            raise UnknownDestination(reason)
        case ErrorReply(_, SourceUnavailable.__name__, reason):
            raise SourceUnavailable(reason)
        case _:
            raise WorkerFault(str(answer))


class Spawner:
    """Starts worker processes.

    Each is a new interpreter, because Twisted can't fork a process whose reactor runs. Workers get their settings by a
    pipe and the environment, because every user can read a command line.

    :ivar settings: the settings for the next worker
    :ivar is_draining: whether the next worker must refuse all clients
    :ivar on_spawn: called with the number and the process of each worker that was started
    :ivar on_trace_report: see :data:`OnTraceReport`
    :param sockets: returns the descriptors of the listening sockets: for each endpoint, one for each worker
    :param revocations: the revocations that the parent knows
    """

    def __init__(
        self,
        reactor: IServerReactor,
        settings: Settings,
        environ: Mapping[str, str],
        sockets: Callable[[], Sequence[Sequence[int]]],
        revocations: Iterable[Revocation],
    ) -> None:
        self._reactor = reactor
        self.settings = settings
        self.is_draining = False
        self.on_spawn: Callable[[int, WorkerProcess], None] = lambda number, process: None
        self.on_trace_report: OnTraceReport = lambda number, report: None
        # A worker imports modules from where its parent does, but not from the working directory: others may write it.
        path = os.pathsep.join(each for each in sys.path if each)
        self._environ = {**without_service_manager(environ), "PYTHONPATH": path}
        self._sockets = sockets
        self._revocations = revocations

    def spawn(self, number: int, observer: WorkerObserver) -> WorkerProcess:
        """Start a worker; raises ``OSError`` if that fails."""
        module, revoked = type(self._reactor).__module__, tuple(self._revocations)
        start = Start(number, self.settings.workers, module, self.settings, revoked, self.is_draining)
        process = WorkerProcess(start, observer, self._reactor, self.on_trace_report)
        pipes: dict[int, int | str] = {ORDERS: "w", REPORTS: "r", **dict.fromkeys(TEXT, "r")}
        sockets = dict(enumerate((each for of_place in self._sockets() for each in of_place), FIRST_SOCKET))
        self._reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, "-P", "-u", "-m", "airyd.workers", str(number + 1)],
            env=self._environ,
            childFDs={**pipes, **sockets},
        )
        self.on_spawn(number, process)
        return process
