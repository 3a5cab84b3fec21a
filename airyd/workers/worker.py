"""A worker process from inside: serves clients from the parent's sockets, carries out orders, reports and logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.stdio import StandardIO
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.config.settings import Settings
from airyd.errors import ConfigurationError, PayloadRefused, Refusal
from airyd.interfaces import IServerReactor, Reload
from airyd.metrics import LogMetrics, ReloadMetrics
from airyd.revocation import Revocation
from airyd.runtime import garbage_collection as garbage
from airyd.runtime.log_format import JSON, event_text, fields_of
from airyd.service import Airyd
from airyd.workers.messages import (
    FIRST_SOCKET,
    ORDERS,
    REPORTS,
    AliveReply,
    AliveRequest,
    Cover,
    ErrorReply,
    FinishReload,
    Leave,
    Leaving,
    LogLine,
    ManagementReport,
    ManagementRequest,
    MessageProtocol,
    MetricsReply,
    MetricsRequest,
    PublishReply,
    PublishRequest,
    ReadinessReply,
    ReadinessRequest,
    ReloadReply,
    ReloadRequest,
    Report,
    RevokeReply,
    RevokeRequest,
    Serving,
    Start,
    StartTrace,
    StopTrace,
    process_name,
    read_order,
)
from airyd.workers.metrics import families_of
from airyd.workers.sockets import InheritedSockets
from airyd.workers.worker_traces import WorkerTraces

#: Seconds that a worker waits at its end for its last log lines to reach the parent.
_FLUSH_TIMEOUT: Final = 1.0


@implementer(ILogObserver, IPushProducer)
class LogSender:
    """Sends the log to the parent, and drops lines while the parent does not read.

    :param report: sends a report
    :param metrics: counts the dropped lines
    :param has_fields: whether to send the fields of lines, too
    """

    _log = Logger()

    def __init__(self, report: Callable[[Report], None], metrics: LogMetrics, has_fields: bool = False) -> None:
        self._has_fields = has_fields
        self._report = report
        self._metrics = metrics
        self._is_paused = False
        self._dropped = 0

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        if self._is_paused:
            self._metrics.dropped += 1
            self._dropped += 1
            return
        level, namespace = cast(LogLevel, event.get("log_level", LogLevel.info)), str(event.get("log_namespace", "-"))
        if self._has_fields:
            text, fields = event_text(event), fields_of(event)
        else:
            text, fields = eventAsText(event, includeTimestamp=False, includeSystem=False), None
        self._report(LogLine(cast(Any, level).name, namespace, text, event.get("log_time", 0.0), fields))

    @property
    def is_paused(self) -> bool:
        """Whether the pipe is full."""
        return self._is_paused

    def pauseProducing(self) -> None:
        """Stop sending while the pipe is full (``IPushProducer``)."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Resume sending, and log the number of dropped lines (``IPushProducer``)."""
        self._is_paused = False
        unreported, self._dropped = self._dropped, 0
        if unreported:
            self._log.warn("{count} log lines were dropped because the parent did not read them", count=unreported)

    def stopProducing(self) -> None:
        """Stop sending for good (``IPushProducer``)."""
        self._is_paused = True


class Worker:
    """One worker.

    It ends when it loses its parent, in the same way as after SIGTERM.

    :param start: the parent's first order
    :param wall: returns the wall-clock time in seconds since 1970

    Raises ``ConfigurationError``, as ``Airyd`` does.
    """

    _log = Logger()

    def __init__(self, start: Start, reactor: IServerReactor, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        firsts = range(FIRST_SOCKET, FIRST_SOCKET + len(start.settings.listen) * start.workers, start.workers)
        descriptors = [range(first, first + start.workers) for first in firsts]
        self._sockets = InheritedSockets(reactor, descriptors, start.number)
        self._airyd = Airyd(start.settings, reactor, wall, self._sockets, process_name(start.number))
        self._is_draining = start.is_draining
        self._airyd.revocations.learn(start.revocations)
        self._messages = MessageProtocol(self._run_transaction, self._parent_lost)
        self._is_linked = True
        self._is_ending = False
        metrics = LogMetrics()
        self._airyd.registry.register(metrics)
        self._wall = wall
        self._reloads = ReloadMetrics(applied_at=wall())
        self._airyd.registry.register(self._reloads)
        #: Observes the log (``ILogObserver``).
        self.log = LogSender(self._report, metrics, start.settings.log_format == JSON)
        #: Changes the levels of the log; the program replaces it.
        self.change_levels: Callable[[str], None] = lambda levels: None
        self._traces = WorkerTraces(self._airyd.tracer, self._report, lambda: self.log.is_paused)
        self._reload: Deferred[Reload | None] = succeed(None)
        self._flushed: Deferred[None] = Deferred()
        # mypy takes it for the Windows version.
        self._pipes = cast(Any, StandardIO)(self._messages, ORDERS, REPORTS, reactor)
        self._pipes.registerProducer(self.log, True)

    def _parent_lost(self) -> None:
        self._is_linked = False
        self._flushed.callback(None)
        self._airyd.leave()
        self.leave()

    def leave(self) -> None:
        """Stop the reactor; it waits for :meth:`end` first."""
        if not self._is_ending:
            self._is_ending = True
            self._reactor.stop()

    def _report(self, report: Report) -> None:
        if self._is_linked:
            self._messages.send(report)

    def serve(self) -> None:
        """Start to accept clients."""
        if self._is_draining:
            self._airyd.drain.begin()
        self._airyd.startService()
        self._report(Serving())

    async def end(self, flush: Callable[[], None]) -> None:
        """Close the clients, and wait until the parent has the last reports.

        :param flush: writes the last lines of the log
        """
        self._is_ending = True
        self._report(Leaving())
        await self._airyd.stopService()
        flush()
        if self._is_linked:
            self._pipes.unregisterProducer()
            self._pipes.loseConnection()
            await self._flushed.addTimeout(_FLUSH_TIMEOUT, self._reactor, lambda _, __: None)

    def _run_transaction(self, data: bytes) -> None:
        order = read_order(data)
        match order:
            case Cover(numbers):
                self._sockets.cover(numbers)
            case ReloadRequest(request_id, settings):
                self._reload.addCallback(self._prepare_reload, settings, request_id)
                self._reload.addErrback(self._reload_failed)
            case FinishReload(request_id, is_applied):
                self._reload.addCallback(self._finish_reload, is_applied)
                self._reload.addErrback(self._reload_failed)
                self._reload.addCallback(lambda _: self._report(ReloadReply(request_id, ())))
            case Leave():
                self._airyd.leave()
                self.leave()
            case AliveRequest():
                self._report(AliveReply())
            case ReadinessRequest(request_id):
                self._report(ReadinessReply(request_id, *self._airyd.readiness()))
            case MetricsRequest(request_id):
                self._report(MetricsReply(request_id, families_of(self._airyd.registry)))
            case PublishRequest(request_id, destination, body):
                self._airyd.publish(destination, body).addCallbacks(
                    lambda message_id: self._report(PublishReply(request_id, message_id)),
                    lambda failure: self._report(self._refusal(request_id, failure)),
                )
            case RevokeRequest(request_id, revocation, is_kept):
                self._revoke(revocation, is_kept).addCallbacks(
                    lambda _: self._report(RevokeReply(request_id)),
                    lambda failure: self._report(self._refusal(request_id, failure)),
                )

            case StartTrace():
                self._traces.start(order)
            case StopTrace(trace_id):
                self._traces.stop(trace_id)
            case ManagementRequest(request_id, query):
                self._airyd.ask(query).addCallbacks(
                    lambda reply: self._report(ManagementReport(request_id, reply)),
                    lambda failure: self._report(self._refusal(request_id, failure)),
                )

    def _prepare_reload(self, before: Reload | None, settings: Settings, request_id: int) -> Deferred[Reload | None]:
        """Prepare a reload after the one before it, which may still wait for keys; report the result.

        :param before: a reload that was neither applied nor given up
        """
        if before is not None:
            before.cancel()
        return Deferred.fromCoroutine(self._airyd.prepare_reload(settings)).addCallbacks(
            lambda reload: self._reload_prepared(reload, request_id),
            lambda failure: self._report(self._refusal(request_id, failure)),
        )

    def _reload_prepared(self, reload: Reload, request_id: int) -> Reload:
        self._report(ReloadReply(request_id, reload.changes))
        return reload

    def _finish_reload(self, reload: Reload | None, is_applied: bool) -> None:
        if reload is None:
            if is_applied:
                self._reloads.success = False
                self._log.error("this worker keeps its settings, because it could not reload: restart it")
            return
        if not is_applied:
            reload.cancel()
            return
        reload.apply()
        self._reloads.success, self._reloads.applied_at = True, self._wall()
        self.change_levels(self._airyd.settings.log_level)
        self._reactor.callLater(0, garbage.begin)

    def _reload_failed(self, failure: Failure) -> None:
        self._reloads.success = False
        self._log.failure("a reload failed", failure)

    def _revoke(self, revocation: Revocation, is_kept: bool) -> Deferred[Revocation]:
        if is_kept:
            return self._airyd.revocations.distribute(revocation)
        self._airyd.revocations.learn([revocation])
        return succeed(revocation)

    def _refusal(self, request_id: int, failure: Failure) -> ErrorReply:
        error = failure.value
        if not isinstance(error, Refusal | ConfigurationError):
            self._log.failure("an order of the parent failed", failure)
        fault = error.fault.value if isinstance(error, PayloadRefused) else None
        return ErrorReply(request_id, type(error).__name__, str(error), fault)
