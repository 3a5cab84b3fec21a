"""SIGHUP and SIGTERM that come before the reactor runs: they are remembered until somebody can act on them.

By themselves both would end the process, and systemd takes an end by either for a clean one. A deployment that
restarts a service and reloads it at once sends SIGHUP while it starts.
"""

from __future__ import annotations

import os
import signal
from typing import Final

_came: Final[set[int]] = set()
#: The process that has the terminal, if there is one: a daemon that forks leaves it.
_owner_of_terminal = 0


def hold(*numbers: signal.Signals) -> None:
    """Remember these signals from now on; call it in the main thread."""
    global _owner_of_terminal
    _owner_of_terminal = os.getpid() if os.isatty(0) else 0
    for number in numbers:
        signal.signal(number, _remember)


def take(number: signal.Signals) -> bool:
    """Return whether the signal has come since it is held, and forget that it has."""
    has_come = number in _came
    _came.discard(number)
    return has_come


def _remember(number: int, frame: object) -> None:
    if number == signal.SIGHUP and _owner_of_terminal == os.getpid() and not os.isatty(0):
        # The terminal was closed: what was started in it ends.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGHUP)
    _came.add(number)
