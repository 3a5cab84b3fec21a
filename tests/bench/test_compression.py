"""What the compression benchmark makes of its figures and of the bytes that it reads."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.deflate import deflate_framing
from airyd.encoding import websocket_framing
from bench.compression import Figures, first_length, verdicts


class CompressionTests(SynchronousTestCase):
    """The benchmark's arithmetic."""

    def test_first_length(self) -> None:
        """Of a frame's header and payload, in all forms of length; 0 until it is all there."""
        for size in (1, 2, 125, 126, 65_535, 65_536):
            for framing in (websocket_framing, deflate_framing()):
                wire = framing([b"x" * size], 1000)
                self.assertEqual(first_length(wire + b"more"), len(wire))
                self.assertEqual(first_length(wire[:-1]), 0)
        self.assertEqual(first_length(b""), 0)

    def test_verdicts(self) -> None:
        medians = {"none": Figures(4.0, 400.0), "all": Figures(5.0, 100.0), "half": Figures(4.0, 250.0)}
        self.assertEqual(
            list(verdicts(4, medians)),
            [
                ("CPU per delivery, all", 1.25, 1.15),
                ("bytes, all", 0.25, 0.45),
                ("CPU per delivery, half", 1.0, 1.1),
                ("bytes, half", 0.625, None),
            ],
        )
        self.assertEqual([most for *_, most in verdicts(16, medians)], [1.15, None, 1.1, None])
