"""The parent of the workers as a Twisted service: creates its objects and runs the admin page for all workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Final

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.admin.login import AdminTokens, read_admin_tokens
from airyd.admin.server import AdminSite, admin_site
from airyd.config.contract import configured_asyncapi
from airyd.config.effective import masked
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError, SourceUnavailable
from airyd.interfaces import IServerReactor, Readiness, Reload
from airyd.listening.endpoints import ListeningEndpoint, end_program, read_text, url_of, websocket_urls
from airyd.management.processes import ProcessFigures
from airyd.management.queries import ManagementQuery, ManagementReply
from airyd.metrics import Metrics, WorkersMetrics, make_registry
from airyd.revocation import Revocation, RevocationKind, RevocationTable, new_revocation
from airyd.service import Airyd, certificate_ends
from airyd.sources import is_shared
from airyd.trusted_proxies import TrustedProxies
from airyd.workers.messages import process_name
from airyd.workers.metrics import MetricsAggregator, families_of
from airyd.workers.node import PARENT, NodeManager
from airyd.workers.process import NoAnswer, Spawner, WorkerEnded, WorkerProcess
from airyd.workers.sockets import ListeningSockets
from airyd.workers.supervisor import Supervisor
from airyd.workers.traces import NodeTracer

#: The kinds of endpoints whose sockets workers can inherit.
_KINDS: Final = ("tcp", "tcp6", "ssl")

_log: Final = Logger()


class Parent(Service):
    """Opens the sockets, supervises the workers, and serves the admin page for all of them.

    :param reactor: with a monotonic ``seconds()``
    :param wall: returns the wall-clock time in seconds since 1970
    :param give_up: ends the program with a reason and a status other than 0

    Raises ``ConfigurationError`` for settings that can't be served, or not by several processes.

    :ivar registry: the parent's own metrics
    :ivar tracer: begins traces
    """

    _log = Logger()

    def __init__(
        self, settings: Settings, reactor: IServerReactor, wall: Callable[[], float], give_up: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._wall = wall
        check_settings(settings, reactor, wall)
        self._sockets = ListeningSockets(settings.workers)
        proxies = TrustedProxies(settings.trust_proxy)
        self._endpoints = [ListeningEndpoint.read("--listen", text, self._sockets, proxies) for text in settings.listen]
        self._admin_endpoint = _read_admin_endpoint(settings, reactor)
        self._admin_tokens = read_admin_tokens(settings.admin_token_file, settings.admin_read_token_file)
        self._admin_site: AdminSite | None = None
        self._ports: list[IListeningPort] = []
        self._admin_ports: list[IListeningPort] = []
        self._metrics = Metrics(settings.destinations, source_up=self._has_source)
        if self._admin_endpoint:
            endpoint = self._admin_endpoint
            self._metrics.certificate_end = lambda: certificate_ends([endpoint])
        self._workers_metrics = WorkersMetrics(configured=settings.workers)
        self.registry = make_registry(self._metrics)
        self.registry.register(self._workers_metrics)
        self._aggregator = MetricsAggregator()
        self._round_robin = count()
        self._revocations = RevocationTable(wall)
        self._spawner = Spawner(reactor, settings, os.environ, self._sockets.descriptors, self._revocations)
        self._supervisor = Supervisor(
            settings.workers,
            self._spawner.spawn,
            reactor,
            self._workers_metrics,
            give_up,
            self._worker_ended,
        )
        self.tracer = NodeTracer(self._supervisor, self._spawner, lambda: self._settings.destinations, reactor, wall)
        self._supervisor.drain = settings.drain_notice + settings.drain_seconds
        self._figures = ProcessFigures(
            PARENT, reactor, wall, self._metrics, lambda: [masked("source", each) for each in self._settings.sources]
        )
        self._manager = NodeManager(
            self._figures,
            self._metrics,
            self._supervisor,
            self._spawner,
            self.readiness,
            wall,
        )

    def privilegedStartService(self) -> None:
        """Open all sockets (``IService``): low ports need the initial privileges."""
        super().privilegedStartService()
        if self._admin_endpoint:
            site = admin_site(
                reactor=self._reactor,
                metrics=self._metrics,
                scrape=lambda: Deferred.fromCoroutine(self._scrape()),
                ready=self.readiness,
                publish=lambda destination, body: Deferred.fromCoroutine(self._publish(destination, body)),
                revoke=lambda kind, name: Deferred.fromCoroutine(self._revoke(kind, name)),
                ask=self.ask,
                trace=self.tracer.start,
                body_limit=self._settings.limits.body,
                tokens=self._admin_tokens,
                listeners=self._urls,
                asyncapi=lambda: configured_asyncapi(self._settings, self._urls()),
            )
            self._admin_site = site
            self._admin_ports.append(self._admin_endpoint.listen(site))
            scheme = self._admin_endpoint.scheme("http")
            self._log.info("airyd admin at {url}", url=url_of(scheme, self._admin_ports[-1], "/"))
        self._ports += [endpoint.listen(Factory()) for endpoint in self._endpoints]

    def _urls(self) -> list[str]:
        return websocket_urls(self._endpoints, self._ports, self._settings.paths)

    def startService(self) -> None:
        """Start the workers as soon as the reactor runs (``IService``).

        The process has dropped its privileges by now, so the settings are checked again: a file that the user may not
        read ends the program with one line.
        """
        super().startService()
        try:
            check_settings(self._settings, self._reactor, self._wall)
        except ConfigurationError as error:
            end_program(str(error))
        self._figures.rates.start()
        self._reactor.callWhenRunning(self._supervisor.start)

    def _worker_ended(self, number: int) -> None:
        self._aggregator.process_ended(process_name(number))
        self.tracer.worker_ended(number)

    def ask(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Answer a query of the admin API; see ``NodeManager.answer``."""
        return self._manager.answer(query)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    async def prepare_reload(self, settings: Settings) -> Reload:
        """Make all workers check new settings and read all files again; see ``Airyd.prepare_reload``.

        A worker that does not answer in time applies the reload when it answers again.
        """
        if self._supervisor.is_stopping:
            raise ConfigurationError("airyd is stopping")
        check_settings(settings, self._reactor, self._wall)
        tokens = read_admin_tokens(settings.admin_token_file, settings.admin_read_token_file)
        admin = self._admin_endpoint
        fresh = _read_admin_endpoint(settings, self._reactor)
        reload = Reload((), lambda: None) if admin is None or fresh is None else admin.prepare_reload(fresh)
        asked = self._staying()
        changes = [*reload.changes, *self._admin_tokens.differences(tokens)]
        results = await DeferredList([each.prepare_reload(settings) for each in asked], consumeErrors=True)

        def finish(is_applied: bool) -> list[Deferred[None]]:
            return [each.finish_reload(is_applied) for each in asked]

        staying = self._staying()
        try:
            if self._supervisor.is_stopping:
                raise ConfigurationError("airyd is stopping")
            for process, (_, result) in zip(asked, results, strict=True):
                if not isinstance(result, Failure):
                    changes += result
                elif process in staying and not result.check(NoAnswer):  # one that leaves refuses every reload
                    result.raiseException()
        except Exception:
            finish(False)
            raise

        def apply() -> Deferred[None]:
            reload.apply()
            self._apply(settings, tokens)
            finished = finish(True)
            for process in self._staying():
                if process not in asked:  # it was started meanwhile, with the former settings
                    process.prepare_reload(settings).addErrback(_log_late)
                    finished.append(process.finish_reload(True))
            return gatherResults(finished).addCallback(lambda _: None)

        def cancel() -> None:
            finish(False)

        return Reload(list(dict.fromkeys(changes)), apply, cancel)

    def _staying(self) -> list[WorkerProcess]:
        return [process for _, process in self._supervisor.processes_staying()]

    def _apply(self, settings: Settings, tokens: AdminTokens) -> None:
        known = set(self._settings.destinations)
        self._metrics.extend([name for name in settings.destinations if name not in known])
        self._settings = self._spawner.settings = settings
        self._admin_tokens = tokens
        if self._admin_site is not None:
            self._admin_site.change(tokens, settings.limits.body)
        self._supervisor.drain = settings.drain_notice + settings.drain_seconds

    def _has_source(self) -> bool:
        """Return False if no worker serves; while airyd stops, only the workers say whether they reach the source."""
        return self._supervisor.is_stopping or bool(self._supervisor.serving_now())

    def readiness(self) -> Deferred[Readiness]:
        """Ask the workers whether they are ready for clients."""
        return Deferred.fromCoroutine(self._readiness())

    def when_serving(self) -> Deferred[None]:
        """Fire when all workers accept clients."""
        return self._supervisor.complete

    def restart_workers(self) -> None:
        """Replace the workers one after the other, each while the others serve."""
        self._supervisor.restart_all()

    def kill_workers(self) -> None:
        """End all workers at once."""
        self._supervisor.kill()

    def stopService(self) -> Deferred[None]:
        """Become unready, stop listening, and make the workers close their clients and end (``IService``)."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.tracer.stop_all("airyd is stopping")
        stopping = self._supervisor.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        await stopping
        self._figures.rates.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in self._admin_ports])
        self._log.info("airyd has stopped")

    # Requests of the admin page.

    async def _readiness(self) -> Readiness:
        if self._supervisor.is_stopping:
            return Readiness(["stopping"])
        reasons = [] if self._supervisor.is_complete else ["not all workers have started yet"]
        warnings = [f"worker {number + 1} does not answer" for number in self._supervisor.silent_now()]
        workers = self._supervisor.serving_now()
        if not workers:
            reasons.append("no worker accepts clients")
        asked = [Deferred.fromCoroutine(_readiness(number, worker)) for number, worker in workers]
        for (number, _), found in zip(workers, await gatherResults(asked), strict=True):
            # The others serve while a new worker of a rolling restart becomes ready.
            is_new = number == self._supervisor.rolled_now and len(workers) > 1
            (warnings if is_new else reasons).extend(found.reasons)
            warnings += found.warnings
        return Readiness(reasons, warnings)

    async def _scrape(self) -> CollectorRegistry:
        self._aggregator.update(PARENT, families_of(self.registry))
        asked = [self._update_metrics(number, worker) for number, worker in self._supervisor.answering_now()]
        await gatherResults([Deferred.fromCoroutine(each) for each in asked])
        registry = CollectorRegistry()
        registry.register(self._aggregator)
        return registry

    async def _update_metrics(self, number: int, worker: WorkerProcess) -> None:
        try:
            self._aggregator.update(process_name(number), await worker.metrics())
        except NoAnswer as error:  # its last metrics stay in the sum
            self._log.warn("worker {number} does not report metrics: {reason}", number=number + 1, reason=str(error))

    async def _publish(self, destination: str, body: bytes) -> str:
        workers = self._supervisor.serving_now()
        if not workers:
            raise SourceUnavailable("No worker is running to publish it; try again.")
        number, worker = workers[next(self._round_robin) % len(workers)]
        try:
            return await worker.publish(destination, body)
        except NoAnswer as error:
            raise SourceUnavailable(f"Worker {number + 1}: {error}; it may have published the event.") from None

    async def _revoke(self, kind: RevocationKind, name: str) -> Revocation:
        done = new_revocation(kind, name, self._wall(), self._settings.token_max_age)
        self._revocations.add(done)  # for workers that start later
        serving = self._supervisor.serving_now()
        if not serving:
            raise SourceUnavailable("No worker is running to store it; try again.")
        keeper, _ = serving[next(self._round_robin) % len(serving)]
        told = self._supervisor.processes_now()
        asked = [worker.revoke(done, number == keeper) for number, worker in told]
        results = await DeferredList(asked, consumeErrors=True)
        for (number, _), (_, result) in zip(told, results, strict=True):
            if not isinstance(result, Failure) or (result.check(WorkerEnded) and number != keeper):
                continue
            if result.check(NoAnswer):
                raise SourceUnavailable(f"Worker {number + 1}: {result.value}; try again.")
            result.raiseException()
        return done


def check_settings(settings: Settings, reactor: IServerReactor, wall: Callable[[], float]) -> None:
    """Raise ``ConfigurationError`` for settings that can't be served, or not by as many processes."""
    check_workers(settings)
    Airyd(settings, reactor, wall)


def check_workers(settings: Settings) -> None:
    """Raise ``ConfigurationError`` for endpoints and sources that several processes can't share."""
    if settings.workers > 1:
        for description in settings.listen:
            text = read_text("--listen", description)
            if (text.wrapped or text).kind not in _KINDS:
                raise ConfigurationError(
                    f"--listen {description}: with --workers {settings.workers} airyd can listen on tcp:, tcp6: and "
                    "ssl: only, also behind haproxy:, whose connections the kernel distributes"
                )
        for source in settings.sources:
            if not is_shared(source):
                raise ConfigurationError(
                    f"--workers {settings.workers}: with --source {source.partition(':')[0]}: each process would "
                    "have its own events; give a source that all of them can read, such as redis:"
                )


def _read_admin_endpoint(settings: Settings, reactor: IServerReactor) -> ListeningEndpoint | None:
    if not settings.admin:
        return None
    return ListeningEndpoint.read("--admin", settings.admin, reactor, TrustedProxies(settings.trust_proxy))


def _log_late(failure: Failure) -> None:
    failure.trap(NoAnswer, ConfigurationError)
    _log.error("a worker that was started during a reload keeps its settings: {reason}", reason=str(failure.value))


async def _readiness(number: int, worker: WorkerProcess) -> Readiness:
    try:
        found = await worker.readiness()
    except NoAnswer as error:
        found = Readiness([str(error)])
    return Readiness(*([f"worker {number + 1}: {text}" for text in texts] for texts in found))
