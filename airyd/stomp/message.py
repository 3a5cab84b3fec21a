"""Encodes events as MESSAGE frames.

A MESSAGE has two parts, so that each is encoded only once: its *head* is the same for all events of a
subscription, and its *tail* is the same for all subscriptions that get the event. A *framing* wraps STOMP
frames for one transport, such as WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from airyd.events import Event, destination_tag, message_id
from airyd.stomp.spec import Version, ack_id, escape

#: Returns the wire bytes of one or more STOMP frames; the second argument is the number of clients that get them.
Framing = Callable[[Sequence[bytes], int], bytes]

#: The server's heart-beat before framing (STOMP 1.2, "Heart-beating").
HEARTBEAT = b"\n"


def message_tail(event: Event) -> bytes:
    """Return the part of a MESSAGE that all subscriptions share: the end of its id, its length, its body."""
    return b"%b\ncontent-length:%d\n\n%b\0" % (event.id.encode(), len(event.body), event.body)


@lru_cache(maxsize=128)  # many subscriptions have the same few heads, whose bytes they share
def message_head(
    version: Version, destination: str, subscription_id: str | None, subscribed: str | None = None
) -> bytes:
    """Return the part of a subscription's MESSAGEs that comes before :func:`message_tail`.

    :param subscription_id: the client's id for it; None leaves out the ``subscription`` header (STOMP 1.0)
    :param subscribed: the name that the client subscribed to, if that is not the destination's
    """
    subscription = "" if subscription_id is None else f"subscription:{escape(subscription_id, version)}\n"
    return (
        f"MESSAGE\n{subscription}destination:{escape(subscribed or destination, version)}\n"
        f"content-type:application/json\nmessage-id:{destination_tag(destination)}-"
    ).encode()


def message_frames(head: bytes, events: Sequence[Event], ordinal: int | None) -> list[bytes]:
    """Return the MESSAGEs of these events for one subscription.

    :param ordinal: the subscription's number in its connection, if each MESSAGE needs an ``ack`` header (STOMP 1.2,
        "MESSAGE"), which then precedes the headers of ``head``; else None
    """
    if ordinal is None:
        return [head + message_tail(event) for event in events]
    rest = head.removeprefix(b"MESSAGE\n")
    named = [(ack_id(ordinal, message_id(event.destination, event.id)).encode(), event) for event in events]
    return [b"MESSAGE\nack:%b\n%b%b" % (ack, rest, message_tail(event)) for ack, event in named]
