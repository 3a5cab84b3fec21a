"""Patterns for destinations, such as ``/queue/*`` and ``/queue/**`` (wildcards)."""

from __future__ import annotations

import re
from typing import Final

#: The segment that matches any one segment, and the one that matches the rest of a destination.
ANY_SEGMENT: Final = "*"
ANY_REST: Final = "**"

_SEGMENT: Final = re.compile(r"[0-9A-Za-z._~+@%-]*")


class Pattern:
    """Matches destinations by a text such as ``/queue/*``.

    A segment ``*`` matches any one segment: ``/queue/*`` matches ``/queue/message``, but neither ``/queue`` nor
    ``/queue/channel/connected``. ``**`` as the last segment matches one or more segments: ``/queue/**`` matches
    ``/queue/message`` and ``/queue/channel/connected``. Every other segment matches itself.

    :ivar text: the pattern as given

    Raises ``ValueError`` with a text that says what a pattern must be.
    """

    __slots__ = ("_destination", "text")

    def __init__(self, text: str) -> None:
        slash, *segments = text.split("/")
        if slash or not segments:
            raise ValueError(f"{text[:200]!r} is not a pattern: begin with a slash, as in /queue/{ANY_SEGMENT}")
        self.text = text
        ends_open = segments[-1] == ANY_REST
        written = [_segment(segment, text) for segment in segments[: -1 if ends_open else None]]
        self._destination = re.compile("".join(f"/{segment}" for segment in [*written, *[".+"] * ends_open]))

    def matches(self, destination: str) -> bool:
        """Return whether the pattern matches a destination."""
        return self._destination.fullmatch(destination) is not None


def _segment(segment: str, text: str) -> str:
    """Return the regular expression for a segment."""
    if segment == ANY_SEGMENT:
        return "[^/]+"
    if not _SEGMENT.fullmatch(segment):
        raise ValueError(
            f"{text[:200]!r} is not a pattern: a segment is {ANY_SEGMENT}, at the end also {ANY_REST}, "
            "or has letters, digits and ._~+@%- only"
        )
    return re.escape(segment)
