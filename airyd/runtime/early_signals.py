"""Remembers SIGHUP, SIGTERM and SIGUSR2 that arrive before the reactor runs, until they can be handled.

By default each would end the process, and systemd treats that as a clean exit. A deployment that restarts a service
and reloads it at once sends SIGHUP during the start.
"""

from __future__ import annotations

import os
import signal
from typing import Final

_came: Final[set[int]] = set()
#: The id of the process that was started in a terminal, or 0; a daemon that has forked is another process.
_owner_of_terminal = 0


def hold(*numbers: signal.Signals) -> None:
    """Remember these signals from now on; call it in the main thread."""
    global _owner_of_terminal
    _owner_of_terminal = os.getpid() if os.isatty(0) else 0
    for number in numbers:
        signal.signal(number, _remember)


def take(number: signal.Signals) -> bool:
    """Return whether the signal has arrived since :func:`hold`, and forget it."""
    has_come = number in _came
    _came.discard(number)
    return has_come


def _remember(number: int, frame: object) -> None:
    if number == signal.SIGHUP and _owner_of_terminal == os.getpid() and not os.isatty(0):
        # The terminal was closed: end, as programs in a terminal do.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGHUP)
    _came.add(number)
