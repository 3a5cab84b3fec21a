"""The program of a worker process: ``python -m airyd.workers NUMBER``; the number only labels it in process lists."""

from __future__ import annotations

import signal
import time
from importlib import import_module
from typing import cast

from airyd.runtime import early_signals
from airyd.runtime import garbage_collection as garbage


def main() -> None:
    """Run the worker that the parent's first order describes, until the parent or SIGTERM ends it."""
    # Ctrl-C, and signals to all processes of a service, also reach the workers; only their parent acts on these.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    early_signals.hold(signal.SIGTERM)
    garbage.pause()
    # Import the slow modules only after the signals are held.
    from airyd.workers.messages import read_start

    try:
        start = read_start()
    except EOFError:
        return
    import_module(start.reactor).install()
    # These modules may import the reactor.
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorThreads
    from twisted.logger import globalLogBeginner

    from airyd.errors import ConfigurationError
    from airyd.interfaces import IServerReactor
    from airyd.runtime.log_levels import LogLevels
    from airyd.runtime.logs import LogPolicy
    from airyd.runtime.process import on_sigterm, set_clock, set_threads
    from airyd.workers.worker import Worker

    reactor = cast(IServerReactor, installed)
    set_clock(reactor)
    set_threads(cast(IReactorThreads, installed))
    try:
        worker = Worker(start, reactor, time.time)
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {error}") from None
    policy = LogPolicy(start.settings.log_level, reactor)

    def change_levels(levels: str) -> None:
        policy.levels = LogLevels(levels)

    worker.change_levels = change_levels
    globalLogBeginner.beginLoggingTo([policy.observe(worker.log)], redirectStandardIO=False)
    worker.serve()
    on_sigterm(reactor, worker.leave)
    reactor.callWhenRunning(garbage.begin)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(worker.end(policy.flush)))
    reactor.run()


if __name__ == "__main__":
    main()
