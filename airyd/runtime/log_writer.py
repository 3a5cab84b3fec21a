"""Writes the log to standard output in a separate thread, so that a reader that hangs only costs log lines.

A pipe holds 64 KiB. When it is full, ``write`` blocks until the reader continues, for instance a supervisor that hangs
or a terminal that was stopped with Ctrl-S. The descriptor can't be made non-blocking: all processes that share it share
the mode. A file on disk has no reader, so airyd writes to it without this thread.
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

#: Bytes of log lines that are queued for the reader; further lines are dropped.
MOST_WAITING = 1024 * 1024
#: Seconds that the process waits at its end for the last lines to be written.
FLUSH_TIMEOUT = 2.0


class LogWriter(io.TextIOBase):
    """Replaces ``sys.stdout``, to which twistd writes its log; it blocks only when the process ends.

    :param descriptor: the file to write to; each call of :meth:`write` is one line
    :param metrics: counts the dropped lines
    :param report: called in the thread with the number of dropped lines, once lines are written again
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int, metrics: LogMetrics, report: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._metrics = metrics
        self._report = report
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._unreported = 0
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
        """Queue a line for the thread, or drop it if too many bytes are queued."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            if self._waiting and self._waiting + len(line) > MOST_WAITING:
                self._drop()
                return len(text)
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify_all()
            if self._thread is None:  # not earlier, since a thread does not survive twistd's fork
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.end)
        return len(text)

    def flush(self) -> None:
        """While the process ends, wait until all lines are written, but at most ``FLUSH_TIMEOUT`` seconds in all."""
        if not self._is_ending or self._has_given_up:
            return
        with self._changed:
            self._has_given_up = not self._changed.wait_for(lambda: not self._waiting, FLUSH_TIMEOUT)

    def end(self) -> None:
        """Wait for the queued lines because the process ends; from now on each :meth:`flush` waits."""
        self._is_ending = True
        self.flush()

    def _drop(self) -> None:
        self._metrics.dropped += 1
        self._unreported += 1

    def _write_all(self) -> None:
        # The main thread must get the signals: they have to wake it up.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
            is_written = self._write(line)
            with self._changed:
                self._waiting -= len(line)
                unreported = 0
                if not is_written:
                    self._drop()
                elif self._waiting <= MOST_WAITING // 2:
                    unreported, self._unreported = self._unreported, 0
                self._changed.notify_all()
            if unreported:
                self._report(unreported)

    def _write(self, line: bytes) -> bool:
        """Write a line, blocking as long as needed; return False if the reader is gone."""
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another process that shares the descriptor has made it non-blocking
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll()
            except OSError:
                return False
        return True
