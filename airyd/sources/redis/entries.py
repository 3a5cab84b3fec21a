"""Converts stream entries to events, and refuses entries whose payload is invalid."""

from __future__ import annotations

from typing import Final, NamedTuple

from airyd import payloads
from airyd.errors import PayloadFault, PayloadRefused
from airyd.events import Event
from airyd.sources.redis.protocol import RawEntry

#: The field of an entry that holds an event's body.
PAYLOAD: Final = b"payload"
#: The field of the entry that airyd adds to an empty stream, so that clients have a position to resume from.
POSITION: Final = b"airyd-position"


class RefusedEntry(NamedTuple):
    """An entry that is not a valid event.

    :ivar body: its payload; None if it has no such field
    """

    event_id: str
    body: bytes | None
    refusal: PayloadRefused


class Entries(NamedTuple):
    """The contents of several entries of one stream.

    :ivar last: the id of the last entry, event or not
    :ivar size: the bytes of all fields
    """

    events: list[Event]
    refused: list[RefusedEntry]
    last: str
    size: int


def read_entries(destination: str, raw: list[RawEntry], body_limit: int) -> Entries:
    """Convert one or more entries of a stream to events and refused entries."""
    events: list[Event] = []
    refused: list[RefusedEntry] = []
    size = 0
    event_id = ""
    for raw_id, fields in raw:
        event_id = raw_id.decode("ascii")
        if fields is None:
            continue
        body = fields[1] if fields[0] == PAYLOAD else _field(fields, PAYLOAD)
        if body is None:
            if _field(fields, POSITION) is None:
                refused.append(RefusedEntry(event_id, None, _NO_PAYLOAD))
            size += sum(map(len, fields))
            continue
        size += len(body) if len(fields) == 2 else sum(map(len, fields))
        try:
            payloads.check(destination, body, body_limit)
        except PayloadRefused as refusal:
            refused.append(RefusedEntry(event_id, body, refusal))
        else:
            events.append(Event(destination, event_id, body))
    return Entries(events, refused, event_id, size)


def _field(fields: list[bytes], name: bytes) -> bytes | None:
    for index in range(0, len(fields) - 1, 2):
        if fields[index] == name:
            return fields[index + 1]
    return None


_NO_PAYLOAD: Final = PayloadRefused(PayloadFault.NO_PAYLOAD, "the entry has no field 'payload'")
