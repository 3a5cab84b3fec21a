"""Server-to-client WebSocket frames as bytes (RFC 6455, section 5.2): unmasked, final, one per message."""

from __future__ import annotations

import struct

_TEXT = 0x81
_SHORT = 126
_LONG = 1 << 16

_short_header = struct.Struct("!BBH").pack
_long_header = struct.Struct("!BBQ").pack


def text_header(length: int) -> bytes:
    """Return the header of a whole text message whose payload has ``length`` bytes."""
    if length < _SHORT:
        return bytes((_TEXT, length))
    if length < _LONG:
        return _short_header(_TEXT, _SHORT, length)
    return _long_header(_TEXT, 127, length)
