"""Set-up of a process around its reactor: the monotonic clock, SIGTERM, SIGHUP and SIGUSR2, and the log's thread."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.logger import Logger

from airyd.interfaces import IServerReactor
from airyd.metrics import LogMetrics
from airyd.runtime import early_signals
from airyd.runtime.log_writer import LogWriter

_log = Logger()

#: Seconds after the first SIGTERM from which on another one ends the process at once; a service manager may send two.
REPEATED_AFTER: Final = 1.0
#: Seconds that the end of the process waits for each thread of the reactor; a host name can take longer to look up.
THREAD_PATIENCE: Final = 1.0


def set_clock(reactor: IReactorTime) -> None:
    """Make the reactor use the monotonic clock; its default is the wall clock."""
    if not reactor.getDelayedCalls():  # nothing is scheduled yet
        reactor.seconds = time.monotonic  # type: ignore[method-assign]  # delayed calls ask the reactor's own


def dump_stacks_on_abort() -> None:
    """Write where each thread is to standard error on SIGABRT, which systemd's watchdog sends if the reactor hangs."""
    with suppress(OSError):  # standard error is closed
        faulthandler.enable(2)


def set_threads(reactor: IReactorThreads) -> None:
    """Let the process end although a thread of the reactor waits or works, for example looks up a host name.

    ``reactor.stop`` waits until each thread has ended its work. ``reactor.crash`` leaves them as they are, and then the
    interpreter would wait for them.
    """
    pool = reactor.getThreadPool()
    pool.threadFactory = _PoolThread  # type: ignore[assignment]  # mypy compares its constructor, too


class _PoolThread(threading.Thread):
    """A thread for which nothing waits longer than ``THREAD_PATIENCE`` seconds."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)

    def join(self, timeout: float | None = THREAD_PATIENCE) -> None:
        """Wait for the end of the thread; Twisted gives no time-out."""
        super().join(timeout)


def on_sigterm(
    reactor: IServerReactor, stop: Callable[[], None], end_at_once: Callable[[], None] = lambda: None
) -> None:
    """Make SIGTERM end the process with status 0; twistd's default stops it, then kills it with the same signal.

    A SIGTERM during the start takes effect as soon as the reactor runs.

    :param end_at_once: called for a SIGTERM that comes ``REPEATED_AFTER`` seconds or more after the first one
    """
    first: float | None = None

    def stop_once() -> None:
        nonlocal first
        now = reactor.seconds()
        if first is None:
            first = now
            with suppress(ReactorNotRunning):  # SIGINT has stopped it
                stop()
        elif now - first >= REPEATED_AFTER:
            end_at_once()

    def end(number: int, frame: object) -> None:
        reactor.callFromThread(stop_once)

    # The reactor installs its own handler when it begins to run; replacing that later would leave a gap.
    reactor.sigTerm = end
    reactor.callWhenRunning(lambda: stop_once() if early_signals.take(signal.SIGTERM) else None)


def on_sigusr2(reactor: IServerReactor, restart_workers: Callable[[], None]) -> None:
    """Make SIGUSR2 restart the workers; by default it would end the process.

    A SIGUSR2 during the start is ignored: the workers are new.
    """
    _handle(reactor, signal.SIGUSR2, lambda number, frame: reactor.callFromThread(restart_workers))


def on_sighup(reactor: IServerReactor, reload: Callable[[], None], terminal: int = 0) -> None:
    """Make SIGHUP reload the catalogue; by default it would end the process.

    A SIGHUP that arrived during the start reloads it now.

    :param terminal: a descriptor of the terminal that the process was started in, if any
    """
    has_terminal = os.isatty(terminal)

    def again(number: int, frame: object) -> None:
        if not has_terminal or os.isatty(terminal):
            reactor.callFromThread(reload)
            return
        # A terminal that is closed sends SIGHUP, and so does its shell: programs that run in it end.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reactor.callFromThread(reactor.stop)

    _handle(reactor, signal.SIGHUP, again)
    if early_signals.take(signal.SIGHUP):
        reload()


def _handle(reactor: IServerReactor, number: signal.Signals, handler: Callable[[int, object], None]) -> None:
    """Handle a signal until the reactor has stopped; after that it must not end the process.

    At its very end the interpreter gives all signals that it handles their defaults, but not those that are ignored.
    """
    before = signal.signal(number, handler)
    reactor.addSystemEventTrigger("after", "shutdown", signal.signal, number, before)
    atexit.register(signal.signal, number, signal.SIG_IGN)


def write_log_in_thread(reactor: IServerReactor, metrics: LogMetrics) -> None:
    """Replace standard output, to which twistd usually logs, with a :class:`LogWriter`, unless it is a file on disk."""
    if cast(Any, sys.stdout) is None:  # the descriptor was closed when Python started; it may be another file by now
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # open until the process ends
        return
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # it is not a file
        return
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # nobody reads from it, so no reader can hang
        return

    def report(count: int) -> None:
        text = "{count} log lines were dropped because standard output was not read"
        reactor.callFromThread(_log.warn, text, count=count)

    sys.stdout.flush()
    writer = LogWriter(descriptor, metrics, report)
    sys.stdout = writer
    reactor.callWhenRunning(reactor.addSystemEventTrigger, "after", "shutdown", writer.end)


def report_failed_start(reactor: IServerReactor, twistd: MutableMapping[str, Any]) -> None:
    """Make the command that starts a daemon end if the daemon ends before its reactor runs.

    The command waits for a byte from a pipe. twistd writes it after an ``Exception``, but not after a ``SystemExit``.

    :param twistd: twistd's own options, to which it adds the pipe
    """

    def report() -> None:
        pipe = twistd.get("statusPipe")
        if pipe is None:  # in the foreground, or not yet in the background
            return
        with suppress(OSError):
            Path(twistd["pidfile"]).unlink()
        with suppress(OSError):  # twistd has written the byte already
            os.write(pipe, b"1 airyd could not start")

    atexit.register(report)
    reactor.callWhenRunning(atexit.unregister, report)
