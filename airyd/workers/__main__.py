"""What a worker's process runs: ``python -m airyd.workers NUMBER``; the number is only for who reads a process list."""

from __future__ import annotations

import signal
import time
from importlib import import_module
from typing import cast

from airyd.runtime import signals


def main() -> None:
    """Do as the first order says, until the parent or SIGTERM ends it."""
    # Ctrl-C in a terminal reaches the workers, too, and so does its end; their parent tells them what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.hold(signal.SIGTERM)
    # All that takes a while to import comes after that.
    from airyd.workers.messages import read_start

    try:
        start = read_start()
    except EOFError:
        return
    import_module(start.reactor).install()
    # What follows may import the reactor.
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.logger import globalLogBeginner

    from airyd.errors import ConfigurationError
    from airyd.interfaces import IServerReactor
    from airyd.runtime import garbage_collection as garbage
    from airyd.runtime.logs import at_level
    from airyd.runtime.process import on_sigterm, set_clock
    from airyd.workers.worker import Worker

    reactor = cast(IServerReactor, installed)
    set_clock(reactor)
    try:
        worker = Worker(start, reactor, time.time)
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {error}") from None
    observer = at_level(worker.log, start.settings.log_level)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    worker.serve()
    on_sigterm(reactor, worker.leave)
    reactor.callWhenRunning(garbage.begin)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(worker.end()))
    reactor.run()


if __name__ == "__main__":
    main()
