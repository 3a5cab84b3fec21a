"""Patterns for destinations, such as ``/queue/*`` and ``/queue/**`` (wildcards)."""

from __future__ import annotations

import re
from typing import Final

#: The segment that matches any one segment, and the one that matches the rest of a destination.
ANY_SEGMENT: Final = "*"
ANY_REST: Final = "**"
_WILD: Final = (ANY_SEGMENT, ANY_REST)

#: No possessive quantifiers: those of Python 3.11.2, which Debian 12 has, do not match "/**".
_PATTERN: Final = re.compile(r"(?:/(?:[0-9A-Za-z._~+@%-]*|\*))*(?:/\*\*)?")


class Pattern:
    """Matches destinations by a text such as ``/queue/*``.

    A segment ``*`` matches any one segment: ``/queue/*`` matches ``/queue/message``, but neither ``/queue`` nor
    ``/queue/channel/connected``. ``**`` as the last segment matches one or more segments: ``/queue/**`` matches
    ``/queue/message`` and ``/queue/channel/connected``. Every other segment matches itself.

    :ivar text: the pattern as given

    Raises ``ValueError`` with a text that says what a pattern must be.
    """

    __slots__ = ("_literal", "_segments", "text")

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"{text[:200]!r} is not a pattern: begin with a slash, as in /queue/{ANY_SEGMENT}")
        if not _PATTERN.fullmatch(text):
            raise ValueError(
                f"{text[:200]!r} is not a pattern: a segment is {ANY_SEGMENT}, at the end also {ANY_REST}, "
                "or has letters, digits and ._~+@%- only"
            )
        self.text = text
        # A token may have thousands of patterns: to compile a regular expression for each would take 50 to 200 µs.
        self._literal = text.partition(ANY_SEGMENT)[0]
        self._segments = text[len(self._literal) :].split("/")

    def matches(self, destination: str) -> bool:
        """Return whether the pattern matches a destination."""
        if not destination.startswith(self._literal):
            return False
        rest, own = destination[len(self._literal) :], self._segments
        if len(own) == 1:
            return rest == own[0] or (rest != "" and own[0] in _WILD and (own[0] == ANY_REST or "/" not in rest))
        others = rest.split("/", len(own) - 1)
        if len(others) != len(own) or (own[-1] != ANY_REST and "/" in others[-1]):
            return False
        return all(mine == other or (mine in _WILD and other) for mine, other in zip(own, others, strict=True))
