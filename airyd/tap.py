"""Where ``twistd airyd`` begins: options in, a service out."""

from __future__ import annotations

import signal
import time
from typing import Any, cast

from airyd import garbage
from airyd.errors import ConfigurationError
from airyd.options import Options
from airyd.service import Airyd

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> Airyd:
    """Put the daemon together (``IServiceMaker``).

    What is wrong ends the program in one line, before anything listens.
    """
    from twisted.internet import reactor as installed  # by twistd

    reactor = cast(Any, installed)
    # The reactor counts intervals by the wall clock unless told otherwise; nothing is scheduled yet.
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    try:
        service = Airyd(options.settings, reactor, time.time)
    except ConfigurationError as error:
        raise SystemExit(f"airyd: {error}") from None
    reactor.callWhenRunning(_stop_on_sigterm, reactor)
    reactor.callWhenRunning(garbage.begin)
    return service


def _stop_on_sigterm(reactor: Any) -> None:
    """Let SIGTERM end the process with status 0: by itself twistd stops, and then dies of the same signal."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on its way
        reactor.callFromThread(reactor.stop)

    signal.signal(signal.SIGTERM, stop)
