"""Where ``twistd airyd`` begins: options in, a service out."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from twisted.application.service import IService

from airyd import garbage, signals
from airyd.errors import ConfigurationError
from airyd.options import Options
from airyd.service import Airyd
from airyd.workers.parent import Parent

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Put the daemon together (``IServiceMaker``).

    What is wrong ends the program in one line, before anything listens.
    """
    from twisted.internet import reactor as installed  # by twistd

    reactor = cast(Any, installed)
    set_clock(reactor)
    settings = options.settings
    service: Airyd | Parent
    try:
        if settings.workers == 1:
            service = Airyd(settings, reactor, time.time)
        else:
            service = Parent(settings, reactor, time.time, lambda reason: _fail(reactor, reason))
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {error}") from None
    reactor.callWhenRunning(on_sigterm, reactor, reactor.stop)
    reactor.callWhenRunning(on_sighup, reactor, service.reload)
    reactor.callWhenRunning(garbage.begin)
    return service


def set_clock(reactor: Any) -> None:
    """Let the reactor count intervals by the monotonic clock: by itself it takes the wall clock."""
    if not reactor.getDelayedCalls():  # nothing is scheduled yet
        reactor.seconds = time.monotonic


def on_sigterm(reactor: Any, stop: Callable[[], None]) -> None:
    """Let SIGTERM end the process with status 0: by itself twistd stops, and then dies of the same signal.

    One that came while the process started ends it now.
    """

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on its way
        reactor.callFromThread(stop)

    if signals.take(signal.SIGTERM):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop()
    else:
        signal.signal(signal.SIGTERM, end)


def on_sighup(reactor: Any, reload: Callable[[], None], terminal: int = 0) -> None:
    """Let SIGHUP have the catalogue read again, until the end; by itself it would end the process.

    One that came while the process started has it read now.

    :param terminal: a descriptor of the terminal that the process was started in, if it was in one
    """
    has_terminal = os.isatty(terminal)

    def again(number: int, frame: object) -> None:
        if not has_terminal or os.isatty(terminal):
            reactor.callFromThread(reload)
            return
        # The terminal says so when it is closed, and the shell once more: what ran in it ends.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reactor.callFromThread(reactor.stop)

    before = signal.signal(signal.SIGHUP, again)
    reactor.addSystemEventTrigger("after", "shutdown", signal.signal, signal.SIGHUP, before)
    if signals.take(signal.SIGHUP):
        reload()


def _fail(reactor: Any, reason: str) -> None:
    """Stop, and end with a line and status 1, which twistd has no way for once the reactor runs."""

    def end() -> None:
        sys.stdout.flush()
        os.write(2, f"airyd: {reason}\n".encode())  # sys.stderr is the log's
        os._exit(1)

    atexit.register(end)
    reactor.stop()
