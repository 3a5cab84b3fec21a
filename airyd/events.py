"""Events, and how they are named on the wire."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

#: The destinations of every Airy platform (Airy's "Outbound Queues").
MESSAGE: Final = "/queue/message"
UNREAD_COUNT: Final = "/queue/unread-count"
CHANNEL_CONNECTED: Final = "/queue/channel/connected"
CHANNEL_DISCONNECTED: Final = "/queue/channel/disconnected"
AIRY_DESTINATIONS: Final = (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED)
#: The one destination of Airy 0.10 and later (docs/clients.rst, "Airy's clients"); served if the operator adds it.
EVENTS: Final = "/events"

#: What each client can know of the server itself (``airyd.sources.status``), and what the names of all such begin with.
STATUS: Final = "/airyd/status"
#: Where a client sends a new token: a command, no destination (docs/protocol.rst, "Another token").
REFRESH: Final = "/airyd/token"
OWN: Final = "/airyd/"

#: What an event id may look like: safe in a header of every STOMP version, unescaped.
EVENT_ID = re.compile(r"[0-9A-Za-z._-]{1,100}\Z")
#: What a destination of a deployment's own may look like: no asterisk, which patterns give a meaning to.
DESTINATION = re.compile(r"/[0-9A-Za-z._~/+@%-]{1,200}\Z")


class Event(NamedTuple):
    """One event as the source gave it.

    :ivar destination: such as ``/queue/message``
    :ivar id: the source's own id, ordered within the destination (see ``IEventSource.order``)
    :ivar body: UTF-8 JSON, delivered byte for byte
    """

    destination: str
    id: str
    body: bytes


class Replay(NamedTuple):
    """A page of history.

    :ivar events: what came after the id that was asked for, oldest first
    :ivar complete: False if something after that id is gone, or the id is unknown; then ``events`` is empty
    :ivar more: whether there was more to read when this page was made
    """

    events: tuple[Event, ...]
    complete: bool
    more: bool


class Row(Protocol):
    """An event as row filters look at it: all of them at the same one, which decodes its body once."""

    @property
    def event(self) -> Event:
        """The event."""
        ...

    def text(self, field: str) -> str | None:
        """Return the text of a field of the body; None if there is none, or if it is no text.

        Raises ``RecursionError`` for a body that is nested too deep to be looked at.
        """
        ...


class RowFilter(Protocol):
    """Decides which events of a destination a principal sees; equal filters share their work.

    Implementations are hashable and compare by value.
    """

    def matches(self, row: Row) -> bool:
        """Say whether the event is for this principal."""
        ...


@lru_cache(maxsize=256)  # asked for with every event and SUBSCRIBE; the names are those of the catalogue
def destination_tag(destination: str) -> str:
    """Return the short tag that stands for a destination in message ids: eight hex digits.

    A hash, not a number in the catalogue, so that every node gives the same whatever its options.
    """
    return sha256(destination.encode()).hexdigest()[:8]


def share_a_tag(destinations: Collection[str]) -> bool:
    """Say whether message ids of two of these could be mistaken for each other."""
    return len({destination_tag(name) for name in destinations}) < len(destinations)


def message_id(destination: str, event_id: str) -> str:
    """Return the ``message-id`` header of an event: unique in a connection, equal on every node."""
    return f"{destination_tag(destination)}-{event_id}"


def event_id_of(destination: str, wire_id: str) -> str | None:
    """Return the source's id inside a ``message-id``, or None if it is not one of this destination."""
    tag, dash, event_id = wire_id.partition("-")
    if not dash or tag != destination_tag(destination) or not EVENT_ID.match(event_id):
        return None
    return event_id
