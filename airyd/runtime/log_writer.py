"""Writes the log to standard output in a thread of its own: a reader that hangs costs lines, and stops nobody.

A pipe holds 64 KiB. When it is full, ``write`` waits for its reader, be that a supervisor that hangs or a terminal that
was stopped with Ctrl-S. The descriptor can't be made non-blocking: its mode belongs to all processes that share it.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable

from airyd.metrics import LogMetrics

#: Bytes of the log that may wait for the reader; more lines are dropped.
MOST_WAITING = 1024 * 1024
#: Seconds that the last lines may take when the process ends.
LAST_LINES = 2.0


class LogWriter(io.TextIOBase):
    """Stands in for ``sys.stdout``, to which twistd writes its log; never waits until the end.

    :param descriptor: where the lines go, one call of :meth:`write` each
    :param metrics: counts the lines that are dropped
    :param tell: called in the thread with a number of lines that were dropped, as soon as lines are written again
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int, metrics: LogMetrics, tell: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._metrics = metrics
        self._tell = tell
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._untold = 0
        self._is_ending = False
        self._has_given_up = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def writable(self) -> bool:
        """See ``io.IOBase``."""
        return True

    def fileno(self) -> int:
        """See ``io.IOBase``."""
        return self._descriptor

    def isatty(self) -> bool:
        """See ``io.IOBase``."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Let a line be written, or drop it if too many wait."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            if self._waiting and self._waiting + len(line) > MOST_WAITING:
                self._drop()
                return len(text)
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify_all()
            if self._thread is None:  # not before twistd has become a daemon: a thread doesn't survive that
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.end)
        return len(text)

    def flush(self) -> None:
        """Wait until all is written, if the process ends; not any more once that took too long."""
        if not self._is_ending or self._has_given_up:
            return
        with self._changed:
            self._has_given_up = not self._changed.wait_for(lambda: not self._waiting, LAST_LINES)

    def end(self) -> None:
        """Wait for what is not written yet, and from now on for each line: the process ends."""
        self._is_ending = True
        self.flush()

    def _drop(self) -> None:
        self._metrics.dropped += 1
        self._untold += 1

    def _write_all(self) -> None:
        # Signals are for the main thread, which may sleep meanwhile.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
            is_written = self._write(line)
            with self._changed:
                self._waiting -= len(line)
                untold = 0
                if not is_written:
                    self._drop()
                elif self._waiting <= MOST_WAITING // 2:
                    untold, self._untold = self._untold, 0
                self._changed.notify_all()
            if untold:
                self._tell(untold)

    def _write(self, line: bytes) -> bool:
        """Write a line, however long that takes; return whether that was possible: the reader may be gone."""
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # somebody who shares the descriptor has made it so
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll()
            except OSError:
                return False
        return True
