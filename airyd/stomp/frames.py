"""A STOMP frame, and how it becomes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from airyd.stomp.spec import UNESCAPED, WITH_BODY, Header, Version, escape


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
        escapes = None if self.command in UNESCAPED else version
        lines = [self.command]
        lines.extend(
            f"{escape(name, escapes)}:{escape(value, escapes)}"
            for name, value in self.headers.items()
            if name != Header.CONTENT_LENGTH
        )
        if self.body or self.command in WITH_BODY:
            lines.append(f"{Header.CONTENT_LENGTH}:{len(self.body)}")
        head = "\n".join(lines)
        return b"%b\n\n%b\0" % (head.encode(), self.body)
