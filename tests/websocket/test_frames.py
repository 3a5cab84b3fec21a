"""WebSocket frames as bytes (RFC 6455, section 5.2)."""

from __future__ import annotations

from autobahn.websocket.protocol import create_xor_masker  # type: ignore[attr-defined]  # not in its __all__
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.websocket.frames import text_header, unmask, whole_messages
from tests.integration.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, websocket_frame


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


class WholeMessagesTests(SynchronousTestCase):
    """What a read may begin with."""

    def test_messages(self) -> None:
        """Text and binary, of every form of length that is shorter than 64 KiB."""
        for size in (0, 1, 125, 126, 0x1234, 65535):
            for opcode in (TEXT, BINARY):
                payload = bytes(each % 128 for each in range(size))
                wire = websocket_frame(opcode, payload)
                self.assertEqual(whole_messages(wire), ([payload], len(wire)))
                self.assertEqual(whole_messages(wire * 2 + wire[:-1]), ([payload] * 2, 2 * len(wire)))

    def test_what_follows(self) -> None:
        """Is left where it is: where the second number points."""
        first = websocket_frame(TEXT, b"ab") + websocket_frame(BINARY, b"\xff")
        for rest in (
            websocket_frame(TEXT, b"c", fin=False),
            websocket_frame(CONTINUATION, b"c"),
            websocket_frame(PING, b"c"),
            websocket_frame(CLOSE, b""),
            websocket_frame(TEXT, b"c", rsv=4),
            websocket_frame(BINARY, b"c" * 65536),
            websocket_frame(TEXT, b"cdefg", masked=False),
            websocket_frame(TEXT, b"\xff"),
            websocket_frame(TEXT, b"\xc3"),
            b"\x81\xfe\x00\x7d" + bytes(4 + 125),
            b"\x81\xff" + bytes(7) + b"\x01" + bytes(5),
        ):
            found = whole_messages(first + rest + websocket_frame(TEXT, b"never"))
            self.assertEqual(found, ([b"ab", b"\xff"], len(first)), rest[:10])


class UnmaskTests(SynchronousTestCase):
    """Against Autobahn's."""

    @given(st.lists(st.binary(max_size=300)), st.binary(min_size=4, max_size=4))
    def test_pieces(self, pieces: list[bytes], mask: bytes) -> None:
        masker = create_xor_masker(mask)
        offset = 0
        for piece in pieces:
            self.assertEqual(unmask(piece, mask, offset), masker.process(piece))
            offset += len(piece)
