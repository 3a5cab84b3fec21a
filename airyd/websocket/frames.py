"""WebSocket frames as bytes (RFC 6455, section 5.2): those of the server, and a client's messages of one frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

_TEXT: Final = 0x81  # final, as all that are written here
_BINARY: Final = 0x82
_COMPRESSED: Final = 0x40  # RSV1 (RFC 7692, section 6)
_MASKED: Final = 0x80
_SHORT: Final = 126
_LONG: Final = 1 << 16
_MASK_BYTES: Final = 4
#: A ping without a payload, as the server sends it (section 5.5.2).
PING: Final = b"\x89\x00"
#: The bytes of the shortest frame of a client.
_SHORTEST_FRAME: Final = 2 + _MASK_BYTES

_short_header = struct.Struct("!BBH").pack
_long_header = struct.Struct("!BBQ").pack


def text_header(length: int, *, compressed: bool = False) -> bytes:
    """Return the header of a whole text message whose payload has ``length`` bytes on the wire; it isn't masked.

    :param compressed: whether the payload is compressed (RFC 7692, section 6)
    """
    first = _TEXT | _COMPRESSED if compressed else _TEXT
    if length < _SHORT:
        return bytes((first, length))
    if length < _LONG:
        return _short_header(first, _SHORT, length)
    return _long_header(first, 127, length)


def websocket_framing(frames: Sequence[bytes], receivers: int) -> bytes:
    """Put each STOMP frame into a WebSocket text message of its own (RFC 6455, section 5.6)."""
    if len(frames) == 1:  # a join would cost half as much again, for each of those who share their bytes with nobody
        return text_header(len(frames[0])) + frames[0]
    return b"".join([text_header(len(frame)) + frame for frame in frames])


def unmask(payload: bytes, mask: bytes, offset: int = 0) -> bytes:
    """Undo the masking of a piece of a frame's payload (RFC 6455, section 5.3).

    One operation on two long numbers: 0.5 µs for a frame of 100 bytes, where making Autobahn's masker and using it
    takes 4.

    :param offset: of the piece in the payload
    """
    length = len(payload)
    start = offset % _MASK_BYTES
    key = (mask[start:] + mask[:start]) * (length // _MASK_BYTES + 1)
    return (int.from_bytes(payload) ^ int.from_bytes(key[:length])).to_bytes(length)


def whole_messages(data: bytes) -> tuple[list[bytes], int]:
    """Return the payloads of the messages that ``data`` begins with, and where the next frame begins.

    Only messages of one frame that is here as a whole, has less than 64 KiB, and isn't compressed: nearly all are so.
    What follows them may be another kind of frame, a part of one, or one that breaks a rule. Time: 2 µs for a message.
    """
    messages = []
    start, size = 0, len(data)
    while size - start >= _SHORTEST_FRAME:
        first, length, at = data[start], data[start + 1] - _MASKED, start + 2
        if length == _SHORT:
            length, at = data[at] << 8 | data[at + 1], at + 2
            if length < _SHORT:  # not the shortest way to write it
                break
        elif not 0 <= length < _SHORT:
            break
        end = at + _MASK_BYTES + length
        if end > size or (first != _TEXT and first != _BINARY):
            break
        payload = unmask(data[at + _MASK_BYTES : end], data[at : at + _MASK_BYTES])
        if first == _TEXT and not _is_utf8(payload):
            break
        messages.append(payload)
        start = end
    return messages, start


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
