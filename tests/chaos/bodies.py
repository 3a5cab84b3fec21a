"""The bodies of the events: those of Airy, with a share for row filters."""

from __future__ import annotations

from typing import Final

from tests.integration.payloads import body

#: The shares of each destination; the row filter of a client with one lets one share pass.
SHARES: Final = 8


def body_of(destination: str, number: int) -> bytes:
    """Return the body of an event; ``share`` is one of :data:`SHARES`, as text."""
    return body(destination, number).replace(b'"n":', b'"share":"%d","n":' % (number % SHARES))
