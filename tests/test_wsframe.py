"""Headers of the server's WebSocket frames (RFC 6455, section 5.2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.wsframe import text_header


class TextHeaderTests(SynchronousTestCase):
    """A text message in one unmasked frame, with the shortest form of its length."""

    def test_up_to_125_bytes(self) -> None:
        self.assertEqual(text_header(0), b"\x81\x00")
        self.assertEqual(text_header(1), b"\x81\x01")
        self.assertEqual(text_header(125), b"\x81\x7d")

    def test_up_to_65535_bytes(self) -> None:
        self.assertEqual(text_header(126), b"\x81\x7e\x00\x7e")
        self.assertEqual(text_header(0x1234), b"\x81\x7e\x12\x34")
        self.assertEqual(text_header(65535), b"\x81\x7e\xff\xff")

    def test_longer(self) -> None:
        self.assertEqual(text_header(65536), b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00")
        self.assertEqual(text_header(0x1_2345_6789), b"\x81\x7f\x00\x00\x00\x01\x23\x45\x67\x89")

    def test_compressed(self) -> None:
        """RSV1 says so (RFC 7692, section 6)."""
        self.assertEqual(text_header(1, compressed=True), b"\xc1\x01")
        self.assertEqual(text_header(126, compressed=True), b"\xc1\x7e\x00\x7e")
        self.assertEqual(text_header(65536, compressed=True), b"\xc1\x7f\x00\x00\x00\x00\x00\x01\x00\x00")
