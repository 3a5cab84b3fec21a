"""Where ``twistd airyd`` begins: options in, a service out."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from twisted.application.service import IService

from airyd import garbage
from airyd.errors import ConfigurationError
from airyd.listening import check_free
from airyd.logs import begin_at
from airyd.options import Options, Settings
from airyd.service import Airyd
from airyd.workers.parent import Parent

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Put the daemon together (``IServiceMaker``).

    What is wrong ends the program in one line, before anything listens.
    """
    from twisted.internet import reactor as installed  # by twistd

    reactor = cast(Any, installed)
    prepare(reactor)
    settings = options.settings
    begin_at(settings.log_level)
    service: Airyd | Parent
    try:
        if settings.workers == 1:
            service = Airyd(settings, reactor, time.time)
        else:
            service = Parent(settings, reactor, time.time, lambda reason: _fail(reactor, reason))
        if options.parent is not None:
            if options.parent["chroot"] is None:
                check_places(settings)
            report_failed_start(reactor, options.parent)
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {error}") from None
    reactor.callWhenRunning(on_sigterm, reactor, reactor.stop)
    reactor.callWhenRunning(on_sighup, reactor, service.reload)
    return service


def check_places(settings: Settings) -> None:
    """Raise ``ConfigurationError`` if airyd could not listen somewhere, while twistd is still in the foreground."""
    if settings.admin:
        check_free("--admin", settings.admin)
    for description in settings.listen:
        check_free("--listen", description)


def report_failed_start(reactor: Any, twistd: MutableMapping[str, Any]) -> None:
    """Let the command that started a daemon end, too, if the daemon ends before its reactor runs.

    The command waits for a byte in a pipe. twistd writes there after an ``Exception``, but not after a ``SystemExit``.

    :param twistd: twistd's own options, to which it adds the pipe
    """

    def report() -> None:
        pipe = twistd.get("statusPipe")
        if pipe is None:  # in the foreground, or before it went to the background
            return
        with suppress(OSError):
            Path(twistd["pidfile"]).unlink()
        with suppress(OSError):  # twistd has written
            os.write(pipe, b"1 airyd could not start")

    atexit.register(report)
    reactor.callWhenRunning(atexit.unregister, report)


def prepare(reactor: Any) -> None:
    """Set up what every process of airyd's has: its clock, and its garbage collector."""
    # The reactor counts intervals by the wall clock unless told otherwise; nothing is scheduled yet.
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    reactor.callWhenRunning(garbage.begin)


def on_sigterm(reactor: Any, stop: Callable[[], None]) -> None:
    """Let SIGTERM end the process with status 0: by itself twistd stops, and then dies of the same signal."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on its way
        reactor.callFromThread(stop)

    signal.signal(signal.SIGTERM, end)


def on_sighup(reactor: Any, reload: Callable[[], None], terminal: int = 0) -> None:
    """Let SIGHUP have the catalogue read again, until the end; by itself it would end the process.

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


def _fail(reactor: Any, reason: str) -> None:
    """Stop, and end with a line and status 1, which twistd has no way for once the reactor runs."""

    def end() -> None:
        sys.stdout.flush()
        os.write(2, f"airyd: {reason}\n".encode())  # sys.stderr is the log's
        os._exit(1)

    atexit.register(end)
    reactor.stop()
