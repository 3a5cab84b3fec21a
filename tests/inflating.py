"""The client's side of permessage-deflate, strict, written from RFC 7692 with zlib alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

#: What the sender leaves out at the end of each message (section 7.2.1).
FLUSH_END = b"\x00\x00\xff\xff"
#: RSV1, in the three bits of ``rsv``.
RSV1 = 4


def deflated(payload: bytes, level: int = 6) -> bytes:
    """Return a message's payload as sent by a client that begins each message with an empty window."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH_END)


class Inflating:
    """Inflates the messages that one client gets.

    :param window_bits: size of its window, as a power of two
    :param takeover: whether the window is kept from message to message
    :ivar compressed: how many messages came compressed
    """

    def __init__(self, window_bits: int = zlib.MAX_WBITS, takeover: bool = True) -> None:
        self._window_bits = window_bits
        self._takeover = takeover
        self._inflater = zlib.decompressobj(-window_bits)
        self.compressed = 0

    def message(self, rsv: int, payload: bytes) -> bytes:
        """Return the content of a whole message.

        :param rsv: the RSV bits of its first frame
        """
        if not rsv:
            return payload
        assert rsv == RSV1, f"RSV {rsv}"
        assert payload, "a compressed message has at least one byte (section 7.2.3.6)"
        self.compressed += 1
        if not self._takeover:
            self._inflater = zlib.decompressobj(-self._window_bits)
        text = self._inflater.decompress(payload + FLUSH_END)
        assert not self._inflater.eof, "a final block"
        assert not self._inflater.unconsumed_tail
        return text

    def read(self, wire: bytes) -> Iterator[bytes]:
        """Yield the content of each message: single text frames of a server, with the shortest form of the length."""
        while wire:
            first, length, start = wire[0], wire[1], 2
            assert first & ~(RSV1 << 4) == 0x81, f"not a text message: {wire[:20]!r}"
            if length == 126:
                length, start = int.from_bytes(wire[2:4], "big"), 4
                assert length > 125
            elif length == 127:
                length, start = int.from_bytes(wire[2:10], "big"), 10
                assert length > 0xFFFF
            assert len(wire) >= start + length, "cut off"
            yield self.message(first >> 4 & 7, wire[start : start + length])
            wire = wire[start + length :]
