"""A STOMP frame and its encoding as bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airyd.stomp.spec import UNESCAPED, WITH_BODY, Header, Version, escape, unescape

# Besides these, only colons and line ends inside a header need an escape.
_SPECIAL: Final = re.compile(r"[\\\r\0]")


@dataclass(slots=True)
class Frame:
    """One STOMP frame.

    :ivar command: such as ``SEND``
    :ivar headers: unescaped names and values; a repeated header has its first value
    :ivar body: the bytes, without the closing NUL
    """

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def receipt(self) -> str | None:
        """The ``receipt`` header, or None."""
        return self.headers.get(Header.RECEIPT)

    @classmethod
    def decode(cls, encoded: bytes, version: Version) -> Frame:
        """Return a frame that :meth:`encode` or ``airyd.stomp.message`` has encoded for a peer of this version."""
        head, _, body = encoded.partition(b"\n\n")
        command, *lines = head.decode().split("\n")
        frame = cls(command, body=body[:-1])
        for line in lines:
            name, _, value = line.partition(":")
            if "\\" in line and command not in UNESCAPED:
                name, value = unescape(name, version), unescape(value, version)
            frame.headers.setdefault(name, value)
        return frame

    def encode(self, version: Version) -> bytes:
        """Return the frame's bytes for a peer that speaks this version.

        Headers are escaped by the version's rules, except in CONNECT and CONNECTED; a character without
        an escape becomes a space (see :func:`airyd.stomp.spec.escape`). Every frame that may have a body
        gets its true ``content-length`` (STOMP 1.2, "Header content-length").
        """
        headers = self.headers
        if self.body or self.command in WITH_BODY:
            headers = {**headers, Header.CONTENT_LENGTH: str(len(self.body))}
        elif Header.CONTENT_LENGTH in headers:
            headers = {name: value for name, value in headers.items() if name != Header.CONTENT_LENGTH}
        head = _join(self.command, headers)
        # Search the whole head for characters to escape: checking each name and value takes three times as long.
        if head.count(":") > len(headers) or head.count("\n") > len(headers) or _SPECIAL.search(head):
            escapes = None if self.command in UNESCAPED else version
            head = _join(self.command, {escape(n, escapes): escape(v, escapes) for n, v in headers.items()})
        return b"%b\n\n%b\0" % (head.encode(), self.body)


def _join(command: str, headers: Mapping[str, str]) -> str:
    return "\n".join([command, *[f"{name}:{value}" for name, value in headers.items()]])
