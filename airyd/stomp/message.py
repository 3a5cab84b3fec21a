"""From an event to the bytes of its MESSAGE on the wire.

A MESSAGE is cut in two so that the most is made once: its *head* is the same for all events of a
subscription, and its *tail* is the same for all subscriptions of an event. A *framing* makes of
whole STOMP frames what one transport carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from airyd.events import Event, destination_tag, message_id
from airyd.stomp.spec import Version, ack_id, escape

#: Makes the wire bytes of STOMP frames, one at least; the number says how many clients get these very bytes.
Framing = Callable[[Sequence[bytes], int], bytes]

#: The wire bytes of the server's heart-beat before framing (STOMP 1.2, "Heart-beating").
HEARTBEAT = b"\n"


def message_tail(event: Event) -> bytes:
    """Return the part of a MESSAGE that all subscriptions share: the id's end, the length, the body."""
    return b"%b\ncontent-length:%d\n\n%b\0" % (event.id.encode(), len(event.body), event.body)


@lru_cache(maxsize=128)  # many subscriptions share few heads, and so they share the bytes, too
def message_head(version: Version, destination: str, subscription_id: str | None) -> bytes:
    """Return the part of a subscription's MESSAGEs that comes before :func:`message_tail`.

    :param subscription_id: as the client named it; None leaves the header out (STOMP 1.0)
    """
    subscription = "" if subscription_id is None else f"subscription:{escape(subscription_id, version)}\n"
    return (
        f"MESSAGE\n{subscription}destination:{escape(destination, version)}\n"
        f"content-type:application/json\nmessage-id:{destination_tag(destination)}-"
    ).encode()


def message_frames(head: bytes, events: Sequence[Event], ordinal: int | None) -> list[bytes]:
    """Return the MESSAGEs of one subscription alone.

    :param ordinal: the number of the subscription in its connection, where each has an ``ack`` header (STOMP 1.2,
        "MESSAGE"), before the headers of ``head``; else None
    """
    if ordinal is None:
        return [head + message_tail(event) for event in events]
    rest = head.removeprefix(b"MESSAGE\n")
    named = [(ack_id(ordinal, message_id(event.destination, event.id)).encode(), event) for event in events]
    return [b"MESSAGE\nack:%b\n%b%b" % (ack, rest, message_tail(event)) for ack, event in named]
