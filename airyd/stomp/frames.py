"""A STOMP frame, and how it becomes bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airyd.stomp.spec import UNESCAPED, WITH_BODY, Header, Version, escape

# Beside these only more colons and line ends than a head has by itself need an escape.
_SPECIAL: Final = re.compile(r"[\\\r\0]")


@dataclass(slots=True)
class Frame:
    """One frame.

    :ivar command: such as ``SEND``
    :ivar headers: names and values, unescaped; of a repeated header the first
    :ivar body: the bytes, without the closing NUL
    """

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def receipt(self) -> str | None:
        """The ``receipt`` header, or None."""
        return self.headers.get(Header.RECEIPT)

    def encode(self, version: Version) -> bytes:
        """Return the frame's bytes, for a peer of this version.

        Headers are escaped as the version says, never in CONNECT and CONNECTED; what can't be
        represented becomes a space (see :func:`airyd.stomp.spec.escape`). ``content-length`` is
        the true one, on every frame that may have a body (STOMP 1.2, "Header content-length").
        """
        headers = self.headers
        if self.body or self.command in WITH_BODY:
            headers = {**headers, Header.CONTENT_LENGTH: str(len(self.body))}
        elif Header.CONTENT_LENGTH in headers:
            headers = {name: value for name, value in headers.items() if name != Header.CONTENT_LENGTH}
        head = _join(self.command, headers)
        # One look at the whole for anything to escape: a look at each name and value takes three times as long.
        if head.count(":") > len(headers) or head.count("\n") > len(headers) or _SPECIAL.search(head):
            escapes = None if self.command in UNESCAPED else version
            head = _join(self.command, {escape(n, escapes): escape(v, escapes) for n, v in headers.items()})
        return b"%b\n\n%b\0" % (head.encode(), self.body)


def _join(command: str, headers: Mapping[str, str]) -> str:
    return "\n".join([command, *[f"{name}:{value}" for name, value in headers.items()]])
