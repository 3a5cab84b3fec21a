"""The first order, read before there is a reactor."""

from __future__ import annotations

import os
import threading

from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.limits import Limits
from airyd.stomp.spec import HeartBeat
from airyd.workers import messages
from airyd.workers.messages import Cover, Start, encode, read_start


class ReadStartTests(SynchronousTestCase):
    """It comes by a pipe, with others behind it."""

    def setUp(self) -> None:
        options = Options()
        arguments = ["--workers=3", "--source=redis://:s3cret@host/0", "--heart-beat=5,7", "--buffered=99999"]
        options.parseOptions([*arguments, "--path=/ws.communication", "--path=/ws.events"])
        self.start = Start(1, 3, "some.reactor", options.settings)
        data = encode(self.start)
        self.wire = len(data).to_bytes(4) + data
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.reader)
        self.patch(messages, "ORDERS", self.reader)

    def test_settings_arrive_as_they_are(self) -> None:
        os.write(self.writer, self.wire)
        os.close(self.writer)
        start = read_start()
        settings, sent = start.settings, self.start.settings
        for name in sent._fields:
            found, expected = getattr(settings, name), getattr(sent, name)
            self.assertEqual(list(found) if isinstance(expected, list) else found, expected, name)
        self.assertEqual((settings.heart_beat, settings.limits), (HeartBeat(5, 7), Limits(buffered=99999)))
        self.assertEqual((start.number, start.workers, start.reactor), (1, 3, "some.reactor"))

    def test_nothing_of_the_next_is_taken(self) -> None:
        """The reactor reads on where this ended."""
        rest = encode(Cover([0]))
        os.write(self.writer, self.wire + rest)
        os.close(self.writer)
        read_start()
        self.assertEqual(os.read(self.reader, 1000), rest)

    def test_in_pieces(self) -> None:
        def write() -> None:
            for byte in self.wire:
                os.write(self.writer, bytes([byte]))
            os.close(self.writer)

        writing = threading.Thread(target=write)
        writing.start()
        self.addCleanup(writing.join)
        self.assertEqual(read_start().number, 1)

    def test_parent_that_is_gone(self) -> None:
        for size in (0, 3, 10):
            reader, writer = os.pipe()
            self.addCleanup(os.close, reader)
            self.patch(messages, "ORDERS", reader)
            os.write(writer, self.wire[:size])
            os.close(writer)
            self.assertRaises(EOFError, read_start)
        os.close(self.writer)
