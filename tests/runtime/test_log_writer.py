"""Log lines are written to a descriptor in order, and block nothing."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Any, cast
from unittest.mock import patch

from twisted.logger import formatEventAsClassicLogText, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from airyd.metrics import LogMetrics
from airyd.runtime import log_writer
from airyd.runtime.log_writer import LogWriter
from tests.patience import PATIENCE

#: Bytes that may wait.
MOST = 2000


class LogWriterTests(SynchronousTestCase):
    """On a pipe of one page, which the test reads, or not."""

    def setUp(self) -> None:
        self.enterContext(patch.object(log_writer, "MOST_WAITING", MOST))
        self.enterContext(patch("atexit.register"))
        self.reader, self.pipe = os.pipe()
        self.room = fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, 4096)
        self.addCleanup(os.close, self.reader)
        self.metrics = LogMetrics()
        self.told: list[int] = []
        self.is_told = threading.Event()
        self.writer = LogWriter(self.pipe, self.metrics, self.report)
        self.addCleanup(self.finish)

    def finish(self) -> None:
        """Let the thread finish its work."""
        self.writer.end()
        os.close(self.pipe)

    def report(self, count: int) -> None:
        """Record how many lines were dropped."""
        self.told.append(count)
        self.is_told.set()

    def fill(self) -> list[str]:
        """Write lines until some were dropped; return those that were not."""
        written: list[str] = []
        while self.metrics.dropped < 5:
            before = self.metrics.dropped
            line = f"line {len(written)} {'x' * 80}\n"
            self.writer.write(line)
            if self.metrics.dropped == before:
                written.append(line)
        return written

    def read(self, size: int) -> str:
        """Read so many bytes."""
        data = b""
        while len(data) < size:
            data += os.read(self.reader, size - len(data))
        return data.decode()

    def test_in_order(self) -> None:
        lines = [f"line {number} \u00e4\n" for number in range(50)]
        for line in lines:
            self.assertEqual(self.writer.write(line), len(line))
        self.writer.end()
        self.assertEqual(self.read(len("".join(lines).encode())), "".join(lines))
        self.assertEqual(self.metrics.dropped, 0)

    def test_a_reader_that_hangs(self) -> None:
        """The queue is bounded; further lines are dropped, counted, and reported once lines are read again."""
        kept = "".join(self.fill())
        self.assertLess(len(kept), self.room + MOST + 200)
        self.assertEqual(self.told, [])
        self.assertEqual(self.read(len(kept)), kept)
        self.assertTrue(self.is_told.wait(PATIENCE))
        self.assertEqual(self.told, [5])
        self.writer.write("more\n")
        self.assertEqual(self.read(5), "more\n")

    def test_the_mode_of_the_descriptor_is_left_alone(self) -> None:
        before = fcntl.fcntl(self.pipe, fcntl.F_GETFL)
        kept = self.fill()
        self.assertEqual(fcntl.fcntl(self.pipe, fcntl.F_GETFL), before)
        self.read(len("".join(kept)))

    def test_a_descriptor_that_others_made_non_blocking(self) -> None:
        """Nothing is lost by that."""
        os.set_blocking(self.pipe, False)
        kept = "".join(self.fill())
        self.assertEqual(self.read(len(kept)), kept)

    def test_a_reader_that_is_gone(self) -> None:
        """Lines are counted, and raise nothing."""
        os.close(self.reader)
        for _ in range(10):
            self.writer.write("line\n")
        self.writer.end()
        self.assertEqual((self.metrics.dropped, self.told), (10, []))
        self.reader, other = os.pipe()
        os.close(other)

    def test_a_line_that_is_longer_than_all_that_may_wait(self) -> None:
        """It is written, if nothing waits."""
        line = "x" * 3 * MOST + "\n"
        self.writer.write(line)
        self.assertEqual(self.read(len(line)), line)

    def test_the_end_waits_for_a_while(self) -> None:
        """It waits once, and for no further line after a time-out."""
        self.enterContext(patch.object(log_writer, "FLUSH_TIMEOUT", 0.01))
        kept = "".join(self.fill())
        self.writer.end()
        self.enterContext(patch.object(log_writer, "FLUSH_TIMEOUT", 10 * PATIENCE))
        self.writer.flush()
        self.writer.end()
        self.read(len(kept))

    def test_no_flush_waits_before_the_end(self) -> None:
        self.enterContext(patch.object(log_writer, "FLUSH_TIMEOUT", 10 * PATIENCE))
        kept = "".join(self.fill())
        self.writer.flush()
        self.read(len(kept))

    def test_half_a_surrogate_pair(self) -> None:
        """Text that can't be encoded as UTF-8 is escaped."""
        self.writer.write("\ud83d\n")
        self.assertEqual(self.read(7), "\\ud83d\n")

    def test_twisted_writes_text_to_it(self) -> None:
        """As to any file."""
        event = {"log_format": "{what}", "what": "\u00e4", "log_time": 0.0}
        expected = formatEventAsClassicLogText(dict(event)) or ""
        textFileLogObserver(cast(Any, self.writer))(event)
        self.assertTrue(self.read(len(expected.encode())).endswith("\u00e4\n"))
        self.assertEqual((self.writer.fileno(), self.writer.isatty(), self.writer.writable()), (self.pipe, False, True))
