"""What a process needs around its reactor: a clock, signals, and a log that nobody waits for."""

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

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from airyd.interfaces import IServerReactor
from airyd.metrics import LogMetrics
from airyd.runtime import signals
from airyd.runtime.log_writer import LogWriter

_log = Logger()


def set_clock(reactor: IReactorTime) -> None:
    """Let the reactor count intervals by the monotonic clock: by itself it takes the wall clock."""
    if not reactor.getDelayedCalls():  # nothing is scheduled yet
        reactor.seconds = time.monotonic  # type: ignore[method-assign]  # delayed calls ask the reactor's own


def on_sigterm(reactor: IServerReactor, stop: Callable[[], None]) -> None:
    """Let SIGTERM end the process with status 0: by itself twistd stops, and then dies of the same signal.

    One that comes while the process starts ends it as soon as the reactor runs.
    """
    is_stopping = False

    def stop_once() -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            stop()

    def end(number: int, frame: object) -> None:
        reactor.callFromThread(stop_once)

    # The reactor installs its own handler when it begins to run: a later change would leave a moment without ours.
    reactor.sigTerm = end
    reactor.callWhenRunning(lambda: stop_once() if signals.take(signal.SIGTERM) else None)


def on_sighup(reactor: IServerReactor, reload: Callable[[], None], terminal: int = 0) -> None:
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


def write_log_in_thread(reactor: IServerReactor, metrics: LogMetrics) -> None:
    """Let what twistd will write to standard output, its log as a rule, be written without anybody's waiting for it."""
    if cast(Any, sys.stdout) is None:  # its descriptor was closed when Python started, and may be another file's
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # until the end
        return
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # what stands there is no file
        return

    def tell(count: int) -> None:
        text = "{count} lines of the log were dropped, because standard output was not read"
        reactor.callFromThread(_log.warn, text, count=count)

    sys.stdout.flush()
    writer = LogWriter(descriptor, metrics, tell)
    sys.stdout = writer
    reactor.callWhenRunning(reactor.addSystemEventTrigger, "after", "shutdown", writer.end)


def report_failed_start(reactor: IServerReactor, twistd: MutableMapping[str, Any]) -> None:
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
