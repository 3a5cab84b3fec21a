"""Gives every test the same surroundings, however its runner was started.

A process inherits more than its arguments: signals that are ignored (``nohup``, ``&`` in a script), the environment,
the umask, closed standard streams, a low limit of open files. :func:`settle` makes them what the tests expect, for the
process that runs the tests and for each that it starts.
"""

from __future__ import annotations

import contextlib
import locale
import os
import resource
import signal
import tempfile
import threading
import time
from types import FrameType
from typing import Final

#: Environment variables that are kept; the others are removed.
_KEPT: Final = frozenset({"AIRYD_WSLOAD_DIR", "HOME", "LD_LIBRARY_PATH", "PATH", "TEMP", "TMP", "TMPDIR"})
#: How variables of the test runners and of coverage.py begin; they are kept, too.
_RUNNERS: Final = ("COV", "PYTEST_")
#: Variables that are set for every test.
_GIVEN: Final = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
#: Signals that tests send and that a launcher may have ignored or blocked.
_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
#: The soft limit of open files for tests, if the hard limit allows it.
_OPEN_FILES: Final = 4096
_UMASK: Final = 0o022


def settle() -> None:
    """Replace what this process inherited; call it once, before anything else."""
    _open_standard_streams()
    _settle_environment()
    _settle_signals()
    os.umask(_UMASK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_standard_streams() -> None:
    """Open ``/dev/null`` where a standard stream is closed, so that no other file gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the new descriptor gets the lowest free number


def _settle_environment() -> None:
    for name in set(os.environ) - _KEPT:
        if not name.startswith(_RUNNERS):
            del os.environ[name]
    os.environ.update(_GIVEN)
    os.environ.setdefault("HOME", tempfile.gettempdir())
    time.tzset()
    with contextlib.suppress(locale.Error):  # a system without this locale has another one with UTF-8
        locale.setlocale(locale.LC_ALL, _GIVEN["LC_ALL"])


def _settle_signals() -> None:
    """Let new processes start with the default for each signal; this one still ignores what it inherited as ignored.

    A signal that has a handler gets the default in a new program (POSIX, ``exec``); one that is ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were ignored, exit statuses would be lost
    for number in _SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
