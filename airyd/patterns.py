"""Patterns: how an operator names many destinations at once."""

from __future__ import annotations

import re
from typing import Final

#: What stands for any one segment, and for any number of them.
ANY_SEGMENT: Final = "*"
ANY_REST: Final = "**"

_SEGMENT: Final = re.compile(r"[0-9A-Za-z._~+@%-]*")


class Pattern:
    """Which destinations are meant by a text such as ``/queue/*``.

    A segment ``*`` stands for any one segment: ``/queue/*`` is ``/queue/message``, and neither ``/queue`` nor
    ``/queue/channel/connected``. ``**`` as the last segment stands for one segment or more: ``/queue/**`` is the first
    and the third of these. Every other segment stands for itself.

    :ivar text: as it was given

    Raises ``ValueError``, which says what a pattern must be, for a text that is none.
    """

    __slots__ = ("_destination", "text")

    def __init__(self, text: str) -> None:
        slash, *segments = text.split("/")
        if slash or not segments:
            raise ValueError(f"{text[:200]!r} is no pattern: one begins with a slash, as /queue/{ANY_SEGMENT} does")
        self.text = text
        ends_open = segments[-1] == ANY_REST
        written = [_segment(segment, text) for segment in segments[: -1 if ends_open else None]]
        self._destination = re.compile("".join(f"/{segment}" for segment in [*written, *[".+"] * ends_open]))

    def matches(self, destination: str) -> bool:
        """Say whether a destination is meant."""
        return self._destination.fullmatch(destination) is not None


def _segment(segment: str, text: str) -> str:
    """Return the regular expression of what a segment stands for."""
    if segment == ANY_SEGMENT:
        return "[^/]+"
    if not _SEGMENT.fullmatch(segment):
        raise ValueError(
            f"{text[:200]!r} is no pattern: a segment is {ANY_SEGMENT}, at the end also {ANY_REST}, "
            "or of letters, digits and ._~+@%-"
        )
    return re.escape(segment)
