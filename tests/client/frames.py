"""Frames that the tests of a client send."""

from __future__ import annotations

from airyd.events import MESSAGE
from tests.doubles import EVENT, frame

CONNECT = frame("CONNECT", accept_version="1.2")


def subscribe(subscription: str, destination: str = MESSAGE, **headers: str) -> bytes:
    """Return a SUBSCRIBE whose receipt is ``+`` and the id."""
    return frame("SUBSCRIBE", b"", id=subscription, destination=destination, receipt=f"+{subscription}", **headers)


def unsubscribe(subscription: str) -> bytes:
    """Return an UNSUBSCRIBE whose receipt is ``-`` and the id."""
    return frame("UNSUBSCRIBE", id=subscription, receipt=f"-{subscription}")


def send(receipt: str, destination: str = MESSAGE, body: bytes = EVENT, **headers: str) -> bytes:
    """Return a SEND."""
    return frame("SEND", body, destination=destination, receipt=receipt, **headers)
