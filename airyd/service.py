"""The daemon as a Twisted service: creates, starts and stops all of airyd's objects (the composition root)."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final
from weakref import WeakSet

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.admin.login import NO_TOKENS, read_admin_tokens
from airyd.admin.server import AdminSite, admin_site
from airyd.auth import make_authenticator
from airyd.auth.chain import AuthenticatorChain
from airyd.auth.revocation_registry import RevocationRegistry
from airyd.client.connection_log import ConnectionLog
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import TimerWheel
from airyd.config.contract import configured_asyncapi
from airyd.config.demo import demo_origins, has_demo
from airyd.config.effective import config_labels, masked
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError, SourceUnavailable
from airyd.events import STATUS
from airyd.hub.hub import Hub
from airyd.interfaces import (
    AuthenticatorContext,
    IAuthenticator,
    IMeasuredSource,
    IReloadable,
    IRevocationKeeper,
    IServerReactor,
    Readiness,
    Reload,
    SourceContext,
)
from airyd.limits import LIMITS
from airyd.listening.endpoints import ListeningEndpoint, check_distinct, url_of, websocket_urls
from airyd.management.draining import Drain
from airyd.management.manager import Manager
from airyd.management.processes import ProcessFigures
from airyd.management.queries import ManagementQuery, ManagementReply
from airyd.management.tracing import MOST_TRACES, Tracer
from airyd.metrics import ORIGIN_ADMIN, Metrics, make_registry
from airyd.runtime.log_levels import connections_level
from airyd.runtime.reactor_lag import ReactorLag
from airyd.sources.routing import combine, extend_routes, make_routes
from airyd.sources.status import SourceState, StatusSource
from airyd.trusted_proxies import TrustedProxies
from airyd.websocket.accepting import make_direct
from airyd.websocket.handshake import HandshakePolicy
from airyd.websocket.origin import ANYBODYS, OriginPolicy
from airyd.websocket.protocol import StompWebSocketFactory
from airyd.websocket.revocation_sweep import RevocationSweep

#: Ticks of the timer wheel in the shortest heart-beat or ping interval.
_TICKS_PER_BEAT: Final = 10
#: Longest tick, in seconds. The wheel is late by less than two ticks, so a CONNECT times out at most a second late.
_LONGEST_TICK: Final = 0.5
#: Open files reserved for the admin page, the source, and connections that are refused on arrival.
RESERVED_FILES: Final = 100
#: Seconds that a reload waits for the keys of a new ``--auth``, and seconds between two looks.
_KEYS_PATIENCE: Final = 12.0
_LOOK_FOR_KEYS_EVERY: Final = 0.1


def _stop_all(authenticators: Sequence[IAuthenticator]) -> None:
    for each in authenticators:
        each.stop()


class Airyd(Service):
    """The service of one process that serves clients: source, hub, WebSocket listeners and admin page.

    :param reactor: with a monotonic ``seconds()``
    :param wall: returns the wall-clock time in seconds since 1970
    :param sockets: in a worker, its parent's sockets, used instead of the reactor; the parent then has the admin page
    :param name: the name of the process for operators

    Raises ``ConfigurationError`` for settings that can't be served.

    :ivar drain: drains the process
    :ivar registry: the registry of ``/metrics``
    :ivar revocations: the revoked tokens
    :ivar tracer: begins traces
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: IServerReactor,
        wall: Callable[[], float],
        sockets: object = None,
        name: str = "airyd",
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._wall = wall
        self._sockets = sockets
        self._ports: list[IListeningPort] = []
        self._admin_ports: list[IListeningPort] = []
        self._reached = False
        self._started = False
        self._stopping = False
        self._follows_revocations = False
        self._admin_site: AdminSite | None = None
        self._admin_url = ""

        self._metrics = Metrics((*settings.destinations, STATUS))
        surroundings = SourceContext(
            reactor,
            wall,
            settings.destinations,
            settings.limits.body,
            os.environ,
            self._metrics.redis_round_trip.observe,
        )
        self._routes = make_routes(settings.sources, surroundings)
        stores = [route.source.revocations for route in self._routes if IRevocationKeeper.providedBy(route.source)]
        self.revocations = RevocationRegistry(stores, reactor, wall, settings.token_max_age)
        user_destinations = dict(settings.user_destinations)
        context = AuthenticatorContext(reactor, wall, os.environ, settings.limits.token_size, user_destinations)
        self._authenticators = [make_authenticator(spec, context) for spec in settings.auth]
        self._authenticator = AuthenticatorChain(self._authenticators, self._metrics, self.revocations)
        proxies = TrustedProxies(settings.trust_proxy, settings.proxy_header)
        self._endpoints = [
            ListeningEndpoint.read("--listen", text, sockets or reactor, proxies) for text in settings.listen
        ]
        for endpoint in self._endpoints:
            if not (self._authenticator.public or endpoint.text.is_loopback):
                advice = (
                    "with --auth anonymous, anybody could connect there; listen on loopback, or give"
                    if endpoint.text.decides_access
                    else "airyd cannot know who connects there, and --auth anonymous accepts anybody; give"
                )
                raise ConfigurationError(
                    f"--listen {endpoint.description}: {advice} --auth anonymous:public if you want that"
                )
        self._admin_endpoint = (
            ListeningEndpoint.read("--admin", settings.admin, reactor, proxies)
            if settings.admin and not sockets
            else None
        )
        check_distinct(self._all_endpoints)
        self._admin_tokens = NO_TOKENS
        if not sockets:
            self._admin_tokens = read_admin_tokens(settings.admin_token_file, settings.admin_read_token_file)
        origins = OriginPolicy(settings.origins)
        for each in settings.origins:
            if self._authenticator.cookies and each.lower() in ANYBODYS:
                raise ConfigurationError(
                    f"--origin {each}: with cookie= in --auth, anybody's web page could log in as its visitor"
                )

        self.registry: CollectorRegistry = make_registry(self._metrics)
        self._source = combine(self._routes)
        states = [SourceState(route.destinations, route.source.health) for route in self._routes]
        self._status = StatusSource(states, reactor, wall)
        try:
            self._hub = Hub(
                self._source,
                settings.destinations,
                reactor,
                self._metrics,
                settings.limits.body,
                self._status,
                has_user_destinations=bool(settings.user_destinations),
            )
        except ValueError as error:
            raise ConfigurationError(f"--destination: {error}") from None
        beats = [beat for beat in (*(each / 1000 for each in settings.heart_beat), settings.ping_interval) if beat]
        self._wheel = TimerWheel(reactor, min([_LONGEST_TICK, *(beat / _TICKS_PER_BEAT for beat in beats)]))
        #: The wheels before, while connections or the reactor have them.
        self._old_wheels: WeakSet[TimerWheel] = WeakSet()
        clients = ClientContext(
            self._hub,
            self._authenticator,
            settings.limits,
            settings.heart_beat,
            settings.grace,
            self._wheel,
            self._metrics,
            wall,
            settings.ping_interval,
            ConnectionLog(connections_level(settings.log_level, settings.log_connections)),
        )
        policy = HandshakePolicy(
            settings.paths,
            origins,
            settings.compression,
            settings.limits.request_head,
            settings.limits.headers,
            settings.limits.token_size,
            ("authorization", "cookie") if self._authenticator.cookies else ("authorization",),
            proxies,
        )
        self._factory = StompWebSocketFactory(clients, policy, reactor)
        self._sweep = RevocationSweep(self._factory.channels, self.revocations.is_revoked, reactor)
        self._reactor_lag = ReactorLag(reactor, self._metrics.reactor_lag)
        self.drain = Drain(
            self._factory,
            self._status.drain,
            lambda: (self._settings.drain_notice, self._settings.drain_seconds),
            reactor,
        )
        self._set_gauges()
        self._figures = ProcessFigures(
            name, reactor, wall, self._metrics, lambda: [masked("source", each) for each in self._settings.sources]
        )
        self._manager = Manager(self._figures, self._factory, self.drain, self.readiness, self._source, reactor)
        self.tracer = Tracer(self._factory, self._hub, reactor, wall, most=2 * MOST_TRACES if sockets else MOST_TRACES)

    def _set_gauges(self) -> None:
        """Give the metrics what is asked for at each scrape."""
        metrics, settings, source, factory = self._metrics, self._settings, self._source, self._factory
        metrics.login_up = lambda: not (self._authenticator.health() or self._authenticator.warnings())
        metrics.source_up = lambda: self._reached and not source.health()
        metrics.draining = lambda: self.drain.is_on
        metrics.buffered_bytes = factory.buffered_bytes
        metrics.slow_clients = factory.slow_clients
        metrics.catching_up_clients = self._hub.catching_up
        metrics.last_event = self._hub.silences
        metrics.connections_limit = lambda: factory.max_connections
        metrics.limits = lambda: {name.replace("_", "-"): getattr(self._settings.limits, name) for name, _, _ in LIMITS}
        metrics.certificate_end = lambda: certificate_ends(self._all_endpoints)
        if IMeasuredSource.providedBy(source):
            metrics.lag_entries = lambda: {name: lag.entries for name, lag in source.lags().items()}
            metrics.lag_seconds = lambda: {name: lag.seconds for name, lag in source.lags().items()}
        metrics.config = config_labels(settings)

    def privilegedStartService(self) -> None:
        """Start the source and the admin page, then listen (``IService``): low ports need the initial privileges."""
        super().privilegedStartService()
        self._start()

    def startService(self) -> None:
        """Start, unless ``privilegedStartService`` has done so (``IService``)."""
        super().startService()
        self._start()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self._raise_file_limit()
        self._authenticator.start()
        self._reactor_lag.start()
        self._figures.rates.start()
        self._source.start(self._hub).addCallbacks(self._source_reached, self._source_failed)
        self._follow_revocations()
        if self._admin_endpoint:
            site = admin_site(
                reactor=self._reactor,
                metrics=self._metrics,
                scrape=lambda: succeed(self.registry),
                ready=lambda: succeed(self.readiness()),
                publish=self.publish,
                revoke=self.revocations.revoke,
                ask=self.ask,
                trace=self.tracer.start,
                body_limit=self._settings.limits.body,
                tokens=self._admin_tokens,
                listeners=self._urls,
                asyncapi=lambda: configured_asyncapi(self._settings, self._urls()),
                has_demo=lambda: has_demo(self._settings),
            )
            self._admin_site = site
            self._admin_ports.append(self._admin_endpoint.listen(site))
            scheme = self._admin_endpoint.scheme("http")
            self._admin_url = url_of(scheme, self._admin_ports[-1], "/")
            self._log.info("airyd admin at {url}", url=self._admin_url, has_demo=has_demo(self._settings))
            self._allow_demo()
        for endpoint in self._endpoints:
            self._ports.append(make_direct(endpoint.listen(self._factory)))
            for path in self._settings.paths:
                self._log.info("airyd serves {url}", url=url_of(endpoint.scheme("ws"), self._ports[-1], path))

    def _urls(self) -> list[str]:
        return websocket_urls(self._endpoints, self._ports, self._settings.paths)

    def _allow_demo(self) -> None:
        """Let the demo page connect, if there is one: its origin is that of the admin page."""
        origins = OriginPolicy(self._settings.origins, demo_origins(self._settings, self._admin_url))
        self._factory.policy = self._factory.policy._replace(origins=origins)

    def _raise_file_limit(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard != resource.RLIM_INFINITY:
            self._factory.max_connections = max(hard - RESERVED_FILES, 1)
        self._log.info("airyd may open {hard} files (the soft limit was {soft})", hard=hard, soft=soft)

    def _source_reached(self, _: None) -> None:
        self._reached = True
        self._log.info("airyd has reached its event source")

    def _source_failed(self, failure: Failure) -> None:
        if not (self._stopping and failure.check(SourceUnavailable)):
            self._log.failure("the event source failed to start", failure)

    def readiness(self) -> Readiness:
        """Return whether this process is ready for clients, with its problems."""
        if self._stopping:
            return Readiness(["stopping"])
        draining = ["draining"] if self.drain.is_on else []
        unreached = [] if self._reached else ["the event source was not reached yet"]
        reasons = [*draining, *unreached, *self._source.health(), *self._authenticator.health()]
        return Readiness(reasons, self._authenticator.warnings())

    def when_serving(self) -> Deferred[None]:
        """Fire when clients can connect: at once, because the ports are open before the reactor runs."""
        return succeed(None)

    def restart_workers(self) -> None:
        """Log that there are no workers to restart."""
        self._log.warn("SIGUSR2 restarts workers, but there are none: restart airyd, or start it with --workers")

    def kill_workers(self) -> None:
        """Do nothing: there are no workers."""

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event from the admin page; see ``Hub.publish``."""
        return self._hub.publish(destination, body, ORIGIN_ADMIN)

    def ask(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Answer a query of the admin API; see ``Manager.answer``."""
        return self._manager.answer(query)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def _all_endpoints(self) -> list[ListeningEndpoint]:
        return [*self._endpoints, *([self._admin_endpoint] if self._admin_endpoint else [])]

    async def prepare_reload(self, settings: Settings) -> Reload:
        """Check new settings and read all files again; nothing changes before the reload is applied.

        :param settings: where only a restart can change something, they are those in force (``airyd.config.reload``)

        Errors: ``ConfigurationError``.
        """
        if self._stopping:
            raise ConfigurationError("airyd is stopping")
        fresh = Airyd(settings, self._reactor, self._wall, self._sockets)
        reloads = [
            ours.source.prepare_reload(theirs.source)
            for ours, theirs in zip(self._routes, fresh._routes, strict=True)
            if IReloadable.providedBy(ours.source)
        ]
        reloads += [
            ours.prepare_reload(new) for ours, new in zip(self._all_endpoints, fresh._all_endpoints, strict=True)
        ]
        authenticators, changed = self._prepare_authenticators(fresh)
        reloads += changed
        changes = [change for reload in reloads for change in reload.changes]
        changes += self._admin_tokens.differences(fresh._admin_tokens)
        started = [each for each in authenticators if each not in self._authenticators]
        await self._start_authenticators(started)

        def apply() -> None:
            if self._stopping:
                _stop_all(started)
                return
            for reload in reloads:
                reload.apply()
            self._apply(fresh, authenticators)

        return Reload(changes, apply, lambda: _stop_all(started))

    def _prepare_authenticators(self, fresh: Airyd) -> tuple[list[IAuthenticator], list[Reload]]:
        """Return the authenticators for new settings: those of the same specs stay, and their reloads."""
        present = dict(zip(self._settings.auth, self._authenticators, strict=True))
        authenticators, reloads = [], []
        for spec, new in zip(fresh._settings.auth, fresh._authenticators, strict=True):
            ours = present.pop(spec, None)
            authenticators.append(new if ours is None else ours)
            if ours is not None and IReloadable.providedBy(ours):
                reloads.append(ours.prepare_reload(new))
        return authenticators, reloads

    async def _start_authenticators(self, started: Sequence[IAuthenticator]) -> None:
        """Start new authenticators and wait until they have their keys; raises ``ConfigurationError``."""
        for each in started:
            each.start()
        deadline = self._reactor.seconds() + _KEYS_PATIENCE
        while troubles := [reason for each in started for reason in each.health()]:
            if self._reactor.seconds() >= deadline:
                _stop_all(started)
                raise ConfigurationError(f"--auth: {troubles[0]}")
            await deferLater(self._reactor, _LOOK_FOR_KEYS_EVERY)
            if self._stopping:
                _stop_all(started)
                raise ConfigurationError("airyd is stopping")

    def _apply(self, fresh: Airyd, authenticators: Sequence[IAuthenticator]) -> None:
        """Put the settings and objects of a fresh service into force."""
        settings = fresh._settings
        known = set(self._hub.catalogue)
        self.extend([name for name in settings.destinations if name not in known])
        _stop_all([each for each in self._authenticators if each not in authenticators])
        self._authenticators = list(authenticators)
        self._authenticator.replace(authenticators)
        self.revocations.max_age = settings.token_max_age
        self._follow_revocations()
        self._hub.body_limit = settings.limits.body
        self._admin_tokens = fresh._admin_tokens
        if self._admin_site is not None:
            self._admin_site.change(self._admin_tokens, settings.limits.body)
        # New connections get these; the others keep what they have.
        if fresh._wheel.tick != self._wheel.tick:
            self._old_wheels.add(self._wheel)
            self._wheel = fresh._wheel
        self._factory.policy = fresh._factory.policy
        self._factory.context = replace(
            self._factory.context,
            limits=settings.limits,
            heart_beat=settings.heart_beat,
            grace=settings.grace,
            wheel=self._wheel,
            ping_interval=settings.ping_interval,
            connection_log=fresh._factory.context.connection_log,
        )
        self._settings = settings
        self._allow_demo()
        self._metrics.config = config_labels(settings)

    def _follow_revocations(self) -> None:
        if self._authenticator.revocable and not self._follows_revocations:
            self._follows_revocations = True
            self.revocations.start(self._sweep.start)

    def extend(self, destinations: Sequence[str]) -> None:
        """Add destinations, which have been checked, to the catalogue."""
        if not destinations:
            return
        extend_routes(self._routes, self._settings.sources, [*self._hub.catalogue, *destinations])
        self._metrics.extend(destinations)
        self._source.extend(destinations)
        self._hub.extend(destinations)

    async def _stop(self) -> None:
        self._stopping = True
        self.tracer.stop_all("airyd is stopping")
        await self.drain.give_notice()
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        await self.drain.finish()
        self._authenticator.stop()
        await self._source.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in self._admin_ports])
        for wheel in (self._wheel, *self._old_wheels):
            wheel.stop()
        self._reactor_lag.stop()
        self._figures.rates.stop()
        self._log.info("airyd has stopped")

    def stopService(self) -> Deferred[None]:
        """Become unready, stop listening, close the clients, then stop the source (``IService``)."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def leave(self) -> None:
        """Skip ``--drain-notice`` at the stop, or what is left of it.

        A worker does so if others take its place, or if it has lost its parent, so that nobody can see the notice.
        """
        self.drain.skip_notice()


def certificate_ends(endpoints: Iterable[ListeningEndpoint]) -> dict[str, float]:
    """Return when the certificates of endpoints end, by the endpoints' short names."""
    ends: dict[str, float] = {}
    for each in endpoints:
        if each.certificate_end is not None:
            ends[each.short_name] = min(each.certificate_end, ends.get(each.short_name, math.inf))
    return ends
