"""Events, row filters, the names of destinations, and ``message-id`` headers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

#: The destinations that every Airy platform has (Airy's "Outbound Queues").
MESSAGE: Final = "/queue/message"
UNREAD_COUNT: Final = "/queue/unread-count"
CHANNEL_CONNECTED: Final = "/queue/channel/connected"
CHANNEL_DISCONNECTED: Final = "/queue/channel/disconnected"
AIRY_DESTINATIONS: Final = (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED)
#: The one destination of Airy 0.10 and later (docs/clients.rst, "Airy's clients"); served if the operator adds it.
EVENTS: Final = "/events"

#: The destination of notices about the server itself (``airyd.sources.status``).
STATUS: Final = "/airyd/status"
#: Where a client sends a new token (docs/protocol.rst, "Another token"). It can't be subscribed to.
REFRESH: Final = "/airyd/token"
#: The prefix of all names that airyd reserves for itself.
RESERVED_PREFIX: Final = "/airyd/"
#: The prefix of user destinations, if there are any (``--user-destinations``): ``/user/queue/message`` is
#: ``/queue/message`` with the client's own events only.
USER_PREFIX: Final = "/user/"

#: An event id. These characters need no escapes in any STOMP version.
EVENT_ID = re.compile(r"[0-9A-Za-z._-]{1,100}\Z")
#: A destination that an operator may add. It has no asterisk, because that is special in patterns.
DESTINATION = re.compile(r"/[0-9A-Za-z._~/+@%-]{1,200}\Z")


class Event(NamedTuple):
    """One event, as the source delivers it.

    :ivar destination: such as ``/queue/message``
    :ivar id: the source's id; ids are ordered within a destination (see ``IEventSource.order``)
    :ivar body: UTF-8 JSON, delivered byte for byte
    """

    destination: str
    id: str
    body: bytes


class HistoryPage(NamedTuple):
    """A page of history.

    :ivar events: the events after the requested id, oldest first
    :ivar complete: False if an event after that id is lost, or the id is unknown; then ``events`` is empty
    :ivar more: whether more events followed when this page was read
    """

    events: tuple[Event, ...]
    complete: bool
    more: bool


class InvalidEntry(NamedTuple):
    """An entry of a feed that is not a valid event.

    :ivar reason: why; of the body it holds only positions
    """

    reason: str


class Row(Protocol):
    """One event, as row filters see it; all filters get the same object, so that its body is decoded once."""

    @property
    def event(self) -> Event:
        """The event."""
        ...

    def text(self, field: str) -> str | None:
        """Return the text of a field of the body; None if the field is missing or not text.

        Raises ``RecursionError`` if the body is nested too deep.
        """
        ...


class FilterKey(NamedTuple):
    """What an event must have to pass a row filter, so that filters which cannot match need not be called.

    :ivar field: a field of the body (``Row.text``)
    :ivar values: the field must have one of these
    :ivar suffices: whether every event with one of these values passes, so that the filter need not be called
    """

    field: str
    values: Collection[str]
    suffices: bool = False


class RowFilter(Protocol):
    """Decides which events of a destination a principal receives.

    Implementations are hashable and compare by value: equal filters are evaluated once per event.
    """

    @property
    def key(self) -> FilterKey | None:
        """What an event must have to pass; None if the filter must be called for each event.

        It must always be the same, and must not raise: subscriptions are found again by it.
        """
        ...

    def matches(self, row: Row) -> bool:
        """Return whether the principal receives the event.

        It should not raise: that ends the connections of all clients that have this filter, with an ERROR.
        """
        ...


@lru_cache(maxsize=256)  # called for every event and SUBSCRIBE, with names of the catalogue only
def destination_tag(destination: str) -> str:
    """Return the tag of a destination in message ids: eight hex digits.

    It is a hash, so that all nodes use the same tag even if their catalogues differ.
    """
    return sha256(destination.encode()).hexdigest()[:8]


def user_destination(destination: str) -> str:
    """Return the name of a destination's user destination."""
    return USER_PREFIX + destination.removeprefix("/")


def plain_destination(user_destination: str) -> str:
    """Return the name of the destination that a user destination filters."""
    return user_destination[len(USER_PREFIX) - 1 :]


def names_with_one_tag(destinations: Iterable[str]) -> tuple[str, str] | None:
    """Return two destinations that have the same tag, so that their message ids could be confused; None if none do."""
    names: dict[str, str] = {}
    for name in destinations:
        other = names.setdefault(destination_tag(name), name)
        if other != name:
            return other, name
    return None


def message_id(destination: str, event_id: str) -> str:
    """Return the ``message-id`` header of an event: unique within a connection and equal on all nodes."""
    return f"{destination_tag(destination)}-{event_id}"


def event_id_of(destination: str, wire_id: str) -> str | None:
    """Return the source's id in a ``message-id``; None if that is not a message id of this destination."""
    tag, dash, event_id = wire_id.partition("-")
    if not dash or tag != destination_tag(destination) or not EVENT_ID.match(event_id):
        return None
    return event_id
