"""Server-to-client WebSocket frames as bytes (RFC 6455, section 5.2): unmasked, final, one per message."""

from __future__ import annotations

import struct

_TEXT = 0x81
_COMPRESSED = 0x40  # RSV1 (RFC 7692, section 6)
_SHORT = 126
_LONG = 1 << 16

_short_header = struct.Struct("!BBH").pack
_long_header = struct.Struct("!BBQ").pack


def text_header(length: int, *, compressed: bool = False) -> bytes:
    """Return the header of a whole text message whose payload has ``length`` bytes on the wire.

    :param compressed: whether the payload is compressed (RFC 7692, section 6)
    """
    first = _TEXT | _COMPRESSED if compressed else _TEXT
    if length < _SHORT:
        return bytes((first, length))
    if length < _LONG:
        return _short_header(first, _SHORT, length)
    return _long_header(first, 127, length)
