"""Reading standard input."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.lines import DescriptorReader, Line, LineQueue, LineTooLong


class LineTestCase(SynchronousTestCase):
    """A queue that reads from a pipe, whenever the reactor would say so."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        out, self.input = os.pipe()
        self.queue = LineQueue()
        self.reader = DescriptorReader(self.reactor, out, self.queue)
        self.reader.start()
        self.open = [out, self.input]

    def tearDown(self) -> None:
        for descriptor in self.open:
            os.close(descriptor)

    @property
    def reading(self) -> bool:
        """Whether the reactor would watch the pipe."""
        return self.reader in self.reactor.getReaders()

    def write(self, data: bytes) -> None:
        os.write(self.input, data)
        if self.reading:
            self.reader.doRead()

    def end(self) -> None:
        """Close the writing end."""
        self.open.remove(self.input)
        os.close(self.input)
        while self.reading:
            self.reader.doRead()

    def next_line(self) -> Line | None:
        return self.successResultOf(self.queue.next_line())


class QueueTests(LineTestCase):
    """Lines in their order, with their numbers."""

    def test_interfaces(self) -> None:
        self.assertTrue(IReadDescriptor.providedBy(self.reader))

    def test_lines(self) -> None:
        """Blank lines are counted and left out; a line's end may be CR LF; the last line needs none."""
        self.write(b"one\n\n  \r\nfour\r\nfi")
        self.write(b"ve")
        self.end()
        self.assertEqual(
            [Line(1, b"one"), Line(4, b"four"), Line(5, b"five"), None], [self.next_line() for _ in range(4)]
        )
        self.assertIsNone(self.next_line())

    def test_waits(self) -> None:
        waiting = self.queue.next_line()
        self.write(b"half")
        self.assertNoResult(waiting)
        self.write(b" and half\n")
        self.assertEqual(Line(1, b"half and half"), self.successResultOf(waiting))

    def test_end_while_waiting(self) -> None:
        waiting = self.queue.next_line()
        self.end()
        self.assertIsNone(self.successResultOf(waiting))

    def test_nothing_at_all(self) -> None:
        self.end()
        self.assertIsNone(self.next_line())

    def test_reads_no_further_than_needed(self) -> None:
        """A million lines wait in the pipe, not in memory."""
        self.write(b"x\n" * 1000)
        self.assertFalse(self.reading)
        for number in range(1, 1001):
            self.assertEqual(Line(number, b"x"), self.next_line())
        self.assertTrue(self.reading)
        self.end()
        self.assertIsNone(self.next_line())

    def test_too_long(self) -> None:
        self.queue.MAX_LENGTH = 100
        self.write(b"fine\n" + b"x" * 200)
        self.assertEqual(Line(1, b"fine"), self.next_line())
        failure = self.failureResultOf(self.queue.next_line(), LineTooLong)
        self.assertIn("line 2 is longer than 100 bytes", str(failure.value))
        self.assertFalse(self.reading)

    def test_cannot_be_read(self) -> None:
        """Such as a directory as standard input."""
        directory = os.open(os.curdir, os.O_RDONLY)
        self.open.append(directory)
        queue = LineQueue()
        reader = DescriptorReader(self.reactor, directory, queue)
        reader.start()
        reader.doRead()
        waiting: Deferred[Line | None] = queue.next_line()
        self.failureResultOf(waiting, OSError)
