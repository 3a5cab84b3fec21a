"""Notifies the service manager that started the process, such as systemd, of its state (sd_notify(3)).

The service manager names its socket in the environment. Without one, nothing is sent.
"""

from __future__ import annotations

import errno
import math
import socket
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from enum import Enum, auto
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.interfaces import Readiness

#: The variables that a service manager sets for the process that it starts. No other process may have them: whoever has
#: the socket could report a state of airyd, and the sockets belong to one process.
VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
#: Seconds between two looks at the readiness, for the status.
STATUS_EVERY: Final = 2.0
#: Seconds until a notification is sent again for which the service manager had no room.
RETRY_AFTER: Final = 0.5
#: Seconds that a stop may take in addition to ``--drain-notice`` and ``--drain-seconds``.
STOP_PATIENCE: Final = 30.0
#: Seconds between two signs of life, at least: with a nonsensical time of the watchdog they would take all of a core.
_SHORTEST_BEAT: Final = 0.01
#: Errors that pass: the manager has no room, or this process has too many files open.
_LATER: Final = (errno.EAGAIN, errno.ENOBUFS, errno.EMFILE, errno.ENFILE)
#: Characters of a status; systemd ignores a notification of more than 4096 bytes.
_LONGEST_STATUS: Final = 1000


class NotifySocket:
    """The socket of the service manager. Sending never blocks: what it has no room for is sent later, in order.

    :param address: of a unix socket: a path, or a name after ``@``; empty for none
    """

    _log = Logger()

    def __init__(self, address: str, clock: IReactorTime) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._clock = clock
        self._unsent: deque[bytes] = deque()
        self._retry: IDelayedCall | None = None
        self._has_failed = False

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1`` in one notification."""
        if self._address:
            self._unsent.append("\n".join(lines).encode(errors="replace"))
            self._send_all()

    @property
    def is_full(self) -> bool:
        """Whether notifications wait to be sent."""
        return bool(self._unsent)

    def _send_all(self) -> None:
        while self._unsent and self._retry is None:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(self._unsent[0], self._address)
            except OSError as error:
                if error.errno in _LATER:
                    self._retry = self._clock.callLater(RETRY_AFTER, self._send_again)
                    return
                if not self._has_failed:
                    self._has_failed = True
                    reason = error.strerror or str(error)
                    self._log.warn("the service manager cannot be notified: {reason}", reason=reason)
            self._unsent.popleft()

    def _send_again(self) -> None:
        self._retry = None
        self._send_all()


class _State(Enum):
    STARTING = auto()
    READY = auto()
    RELOADING = auto()
    STOPPING = auto()


class ServiceManager:
    """Notifies the service manager of the state of airyd, of its readiness in words, and that the reactor runs.

    READY means that airyd listens. Whether its event source can be reached is in the status: if that were awaited, a
    start without Redis would time out.

    :param watchdog: the seconds without a sign of life after which the service manager ends the process; 0 for never
    """

    _log = Logger()

    def __init__(self, notify_socket: NotifySocket, watchdog: float, clock: IReactorTime) -> None:
        self._socket = notify_socket
        self._beat = max(watchdog / 2, _SHORTEST_BEAT) if watchdog else 0.0
        self._clock = clock
        self._state = _State.STARTING
        self._status = ""
        self._readiness: Callable[[], Deferred[Readiness]] = lambda: succeed(Readiness())
        self._has_reloaded: Callable[[], bool] = lambda: True

    @property
    def has_watchdog(self) -> bool:
        """Whether the service manager ends the process if there is no sign of life."""
        return self._beat > 0

    @property
    def is_behind(self) -> bool:
        """Whether the service manager has no room for some notifications, which are sent later."""
        return self._socket.is_full

    def start(self, readiness: Callable[[], Deferred[Readiness]], has_reloaded: Callable[[], bool]) -> None:
        """Start to send signs of life, and the status. Call it when the reactor runs.

        :param has_reloaded: returns whether the last reload was applied
        """
        self._readiness, self._has_reloaded = readiness, has_reloaded
        if self.has_watchdog:
            self._send_sign_of_life()
        self._look_again_and_again()

    def _look_again_and_again(self) -> None:
        if self._state is not _State.STOPPING:
            self._look().addCallback(lambda _: self._clock.callLater(STATUS_EVERY, self._look_again_and_again))

    def _look(self) -> Deferred[None]:
        return self._readiness().addCallback(self._found).addErrback(self._status_failed)

    def _found(self, readiness: Readiness) -> None:
        if self._state is not _State.STOPPING:
            self._change_status(status_of(readiness, self._has_reloaded()))

    def _send_sign_of_life(self) -> None:
        if not self.is_behind:
            self._socket.send("WATCHDOG=1")
        self._clock.callLater(self._beat, self._send_sign_of_life)

    def _change_status(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self._socket.send(f"STATUS={status}")

    def _status_failed(self, failure: Failure) -> None:
        self._log.failure("cannot find the status for the service manager", failure)

    def serving(self) -> None:
        """Report that the start is over."""
        if self._state is _State.STARTING:
            self._state = _State.READY
            self._socket.send("READY=1")
            self._look()

    def reloading(self) -> None:
        """Report that a reload begins; during the start, or the stop, nobody is told."""
        if self._state in (_State.READY, _State.RELOADING):
            self._state = _State.RELOADING
            self._socket.send("RELOADING=1", f"MONOTONIC_USEC={_microseconds(self._clock.seconds())}")

    def reloaded(self) -> None:
        """Report that all reloads have ended, whether they were applied or not."""
        if self._state is _State.RELOADING:
            self._state = _State.READY
            self._socket.send("READY=1")

    def stopping(self, drain: float) -> None:
        """Report that airyd stops, and ask for the time that it needs.

        :param drain: seconds until the last client is closed
        """
        self._state = _State.STOPPING
        self._socket.send(
            "STOPPING=1",
            f"EXTEND_TIMEOUT_USEC={_microseconds(drain + STOP_PATIENCE)}",
            f"STATUS=stopping: closes the connections of all clients within {drain:g} s",
        )


def take_service_manager(environ: MutableMapping[str, str], pid: int, clock: IReactorTime) -> ServiceManager:
    """Return the service manager of the environment, and remove its variables, so that no child process has them."""
    address, own, watchdog = (environ.pop(name, "") for name in VARIABLES[:3])
    seconds = float(watchdog) / 1e6 if watchdog.isdecimal() and own in ("", str(pid)) else 0.0
    return ServiceManager(NotifySocket(address, clock), seconds if address else 0.0, clock)


def without_service_manager(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child process: without the variables of the service manager."""
    return {name: value for name, value in environ.items() if name not in VARIABLES}


def status_of(readiness: Readiness, has_reloaded: bool) -> str:
    """Return the readiness as one line for ``systemctl status``."""
    state = f"not ready for clients: {'; '.join(readiness.reasons)}" if readiness.reasons else "ready for clients"
    parts = [state, *(f"warning: {each}" for each in readiness.warnings)]
    if not has_reloaded:
        parts.append("warning: the last reload failed, and the log says why")
    line = " ".join("; ".join(parts).split())
    return line if len(line) <= _LONGEST_STATUS else f"{line[: _LONGEST_STATUS - 1]}…"


def _microseconds(seconds: float) -> int:
    return math.floor(seconds * 1e6)
