"""Makes WebSocket and STOMP frames exactly as asked, and reads them strictly.

Written from RFC 6455 and the STOMP specifications with the standard library alone, so that it shares no mistake
with the server.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

VERSIONS: Final = ("1.0", "1.1", "1.2")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: The masking key where a test doesn't choose one; it is the same in each run.
KEY: Final = b"\x9c\x35\xe1\x07"
_ESCAPES: Final = {"1.1": {"n": "\n", "c": ":", "\\": "\\"}, "1.2": {"n": "\n", "r": "\r", "c": ":", "\\": "\\"}}


class WebSocketFrame(NamedTuple):
    """One WebSocket frame, as received."""

    fin: bool
    rsv: int
    opcode: int
    payload: bytes


class StompFrame(NamedTuple):
    """One STOMP frame, as received in its own WebSocket message."""

    command: str
    headers: dict[str, str]
    body: bytes
    opcode: int = TEXT


def encode(command: str, headers: dict[str, str] | Sequence[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Return the bytes of a STOMP frame exactly as given, without escaping or additions."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    head = "".join([command, "\n", *(f"{name}:{value}\n" for name, value in pairs), "\n"])
    return head.encode() + body + b"\0"


def decode(payload: bytes, opcode: int, version: str) -> StompFrame:
    """Read a WebSocket message that must contain exactly one STOMP frame, else raise ``AssertionError``."""
    head, blank, rest = payload.partition(b"\n\n")
    lines = head.decode().split("\n")
    if not blank or not rest.endswith(b"\0"):
        raise AssertionError(f"not a whole STOMP frame: {payload[:200]!r}")
    body = rest[:-1]
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise AssertionError(f"not a header line: {line!r}")
        escaped = version in _ESCAPES and lines[0] != "CONNECTED"
        headers.setdefault(*(_unescape(part, version) if escaped else part for part in (name, value)))
    if "content-length" in headers:
        if int(headers["content-length"]) != len(body):
            raise AssertionError(f"content-length {headers['content-length']}, but {len(body)} bytes, or joined frames")
    elif b"\0" in body:
        raise AssertionError(f"a NUL within a frame without content-length: {payload[:200]!r}")
    return StompFrame(lines[0], headers, body, opcode)


def _unescape(text: str, version: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES[version]:
            raise AssertionError(f"escape {match[0]!r} does not exist in STOMP {version}")
        return _ESCAPES[version][match[1]]

    return re.sub(r"\\(.?)", replace, text, flags=re.DOTALL)


def mask_payload(payload: bytes, key: bytes) -> bytes:
    """Mask, or unmask, a payload (RFC 6455, section 5.3)."""
    size = len(payload)
    whole = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


def websocket_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    rsv: int = 0,
    length: int | None = None,
    key: bytes = KEY,
) -> bytes:
    """Return the bytes of a WebSocket frame.

    :param length: the length in the head; None: the true one
    :param key: the masking key
    """
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if not masked:
        return head + payload
    return head + key + mask_payload(payload, key)


def whole_frames(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Yield the first byte, the payload and the end offset of each whole frame of a server."""
    end = len(data)
    while end - start >= 2:
        first, size = data[start], data[start + 1]
        if size & 0x80:
            raise AssertionError("the server masked a frame")
        at = start + 2
        if size >= 126:
            at += 2 if size == 126 else 8
            if end < at:
                return
            size = int.from_bytes(data[start + 2 : at], "big")
        start = at + size
        if end < start:
            return
        yield first, data[at:start], start
