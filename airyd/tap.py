"""The entry point of ``twistd airyd``: makes the service from the options."""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from typing import cast

from twisted.application.service import IService
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.logger import Logger

from airyd.config.command_line import Options
from airyd.config.reload import Reloader
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError
from airyd.interfaces import IServerReactor
from airyd.listening.endpoint_strings import without_systemd
from airyd.listening.endpoints import check_free, unused_sockets
from airyd.metrics import LogMetrics, ReloadMetrics
from airyd.runtime import garbage_collection as garbage
from airyd.runtime.log_levels import LogLevels
from airyd.runtime.log_writer import FLUSH_TIMEOUT
from airyd.runtime.logs import LogPolicy
from airyd.runtime.process import (
    dump_stacks_on_abort,
    on_sighup,
    on_sigterm,
    on_sigusr2,
    report_failed_start,
    set_clock,
    set_threads,
    write_log_in_thread,
)
from airyd.runtime.service_manager import take_service_manager
from airyd.service import Airyd
from airyd.workers.parent import Parent, check_settings, check_workers

__all__ = ["Options", "makeService"]

_log = Logger()


def makeService(options: Options) -> IService:
    """Make the daemon's service from its options (``IServiceMaker``).

    A wrong option ends the program with one line, before anything listens.
    """
    from twisted.internet import reactor as installed  # by twistd

    reactor = cast(IServerReactor, installed)
    set_clock(reactor)
    set_threads(cast(IReactorThreads, installed))
    settings = options.settings
    policy = LogPolicy(settings.log_level, reactor, settings.log_format)
    policy.begin()
    reactor.callWhenRunning(reactor.addSystemEventTrigger, "after", "shutdown", policy.flush)
    manager = take_service_manager(os.environ, os.getpid(), reactor)
    service: Airyd | Parent
    try:
        service = make_daemon(settings, reactor)
        if options.parent is not None:
            if options.parent["chroot"] is None:
                check_endpoints(settings)
            report_failed_start(reactor, options.parent)
        for name in unused_sockets([*settings.listen, *([settings.admin] if settings.admin else [])]):
            text = "systemd has passed the socket {name}, but no option names it: its clients wait in vain"
            _log.warn(text, name=name)
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {options.configuration.located(error)}") from None
    on_sigterm(reactor, reactor.stop, lambda: _end_at_once(reactor, service))

    def applied(settings: Settings) -> None:
        policy.levels = LogLevels(settings.log_level)
        reactor.callLater(0, garbage.begin)

    reloads = ReloadMetrics(applied_at=time.time())
    service.registry.register(reloads)
    reloader = Reloader(
        options.configuration,
        service,
        lambda wanted: check_settings(wanted, reactor, time.time),
        applied,
        reloads,
        time.time,
    )
    reloader.ended = manager.reloaded

    def reload() -> None:
        manager.reloading()
        reloader.reload()

    def running() -> None:
        manager.start(lambda: maybeDeferred(service.readiness), lambda: reloads.success)
        service.when_serving().addCallback(lambda _: manager.serving())
        reactor.addSystemEventTrigger(
            "before",
            "shutdown",
            lambda: manager.stopping(service.settings.drain_notice + service.settings.drain_seconds),
        )

    if manager.has_watchdog:
        dump_stacks_on_abort()
    reactor.callWhenRunning(running)
    reactor.callWhenRunning(on_sighup, reactor, reload)
    reactor.callWhenRunning(on_sigusr2, reactor, service.restart_workers)
    reactor.callWhenRunning(garbage.begin)
    metrics = LogMetrics()
    service.registry.register(metrics)
    write_log_in_thread(reactor, metrics)
    return service


def make_daemon(settings: Settings, reactor: IServerReactor) -> Airyd | Parent:
    """Make the daemon without opening anything; raises ``ConfigurationError`` for settings that can't be served."""
    if settings.workers == 1:
        return Airyd(settings, reactor, time.time)
    return Parent(settings, reactor, time.time, lambda reason: _fail(reactor, reason))


def check_daemon(settings: Settings, reactor: IServerReactor) -> None:
    """Raise ``ConfigurationError`` for settings that a daemon can't serve, outside of its unit.

    Sockets that systemd would pass to the unit count as passed.
    """
    check_workers(settings)
    make_daemon(settings._replace(listen=[without_systemd(each) for each in settings.listen]), reactor)


def check_endpoints(settings: Settings) -> None:
    """Raise ``ConfigurationError`` if airyd can't listen on an endpoint, while twistd is still in the foreground."""
    if settings.admin:
        check_free("--admin", settings.admin)
    for description in settings.listen:
        check_free("--listen", description)


def _end_at_once(reactor: IServerReactor, service: Airyd | Parent) -> None:
    """End the program without waiting for clients and workers; twistd still removes its pid file."""
    _log.warn("airyd ends at once, because it got SIGTERM again")
    service.kill_workers()
    reactor.crash()


def _fail(reactor: IServerReactor, reason: str) -> None:
    """Stop the reactor, then print the reason and exit with status 1, which twistd can't do once the reactor runs."""

    def end() -> None:
        if sys.__stderr__ is not None:  # sys.stderr belongs to the log
            room = select.poll()
            room.register(2, select.POLLOUT)
            if room.poll(FLUSH_TIMEOUT * 1000):
                os.write(2, f"airyd: {reason}\n".encode())
        os._exit(1)

    atexit.register(end)
    reactor.stop()
