"""The payload rules for published bodies (docs/protocol.rst, "Payloads"), and the fields that row filters read.

A body is refused only if clients could not use it: few fields are checked, so that the bodies of all Airy
releases pass. A row filter selects the events that a client may see (the claim ``only`` of its token).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from airyd.errors import PayloadFault, PayloadRefused
from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT


class JsonObject(msgspec.Struct):
    """Any JSON object."""


class AiryMessage(msgspec.Struct):
    """A message; it has more members, which differ between the releases of Airy.

    :ivar id: the same for each later event about the message
    """

    id: str


class MessagePayload(msgspec.Struct):
    """A message was created or updated.

    :ivar conversation_id: the conversation of the message
    """

    conversation_id: str
    message: AiryMessage


class UnreadCountPayload(msgspec.Struct):
    """The unread count of a conversation has changed.

    :ivar unread_message_count: written without a fraction or an exponent: 1, not 1.0
    :ivar timestamp: of two counts of a conversation, the later one is right
    """

    conversation_id: str
    unread_message_count: Annotated[int, msgspec.Meta(ge=0)]
    timestamp: str


class ChannelPayload(msgspec.Struct):
    """A channel was connected, updated or disconnected.

    :ivar id: the channel's id
    """

    id: str


class TypedPayload(msgspec.Struct):
    """An event of Airy 0.10 and later.

    :ivar type: what has happened, such as message.created
    """

    type: str
    payload: JsonObject


#: The values in a body by member name, as raw JSON.
Members = Mapping[str, msgspec.Raw]

#: What the body of an event must be, by destination; on the others it is any :class:`JsonObject`. The JSON Schemas
#: (``airyd.contracts``) are made of it, too.
PAYLOADS: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType(
    {
        MESSAGE: MessagePayload,
        UNREAD_COUNT: UnreadCountPayload,
        CHANNEL_CONNECTED: ChannelPayload,
        CHANNEL_DISCONNECTED: ChannelPayload,
        EVENTS: TypedPayload,
    }
)
_Decoder = msgspec.json.Decoder[msgspec.Struct]
_ANY_OBJECT: Final[_Decoder] = msgspec.json.Decoder(JsonObject)
_DECODERS: Final[Mapping[str, _Decoder]] = {name: msgspec.json.Decoder(kind) for name, kind in PAYLOADS.items()}

_CHANNEL_PLACES: Final[Mapping[str, str | None]] = MappingProxyType({"channel_id": "id", "conversation_id": None})
#: The member of a body that holds a row filter's field, by destination and field; None if no body has the field.
#: A field that is not listed is the member of the same name.
PLACES: Final[Mapping[str, Mapping[str, str | None]]] = MappingProxyType(
    {
        MESSAGE: MappingProxyType({"channel_id": "channel_id", "conversation_id": "conversation_id"}),
        UNREAD_COUNT: MappingProxyType({"channel_id": None, "conversation_id": "conversation_id"}),
        CHANNEL_CONNECTED: _CHANNEL_PLACES,
        CHANNEL_DISCONNECTED: _CHANNEL_PLACES,
    }
)
_EXCEPT: Final[Mapping[str, str | None]] = MappingProxyType({})
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_NOTHING: Final = msgspec.Raw()

# The escapes of a JSON string: a pair of surrogates, a lone surrogate (the group), any other.
_ESCAPES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def check(destination: str, body: bytes, limit: int) -> None:
    """Raise ``PayloadRefused`` unless the body may be published to the destination.

    The body must have at most ``limit`` bytes, all UTF-8, and be one JSON object (RFC 8259, so without a
    byte order mark). Python's recursion limit bounds its depth; some 900 levels always pass. On Airy's
    four destinations the documented ids and timestamps must be strings and the count a non-negative
    integer; on ``/events`` the type must be a string and the payload an object.
    Time: about a microsecond for an ordinary event.
    """
    if len(body) > limit:
        raise PayloadRefused(PayloadFault.TOO_BIG, f"the body has {len(body)} bytes; the limit is {limit}")
    try:
        # msgspec checks the encoding only of what it reads; a browser checks all of it.
        body.decode()
    except UnicodeDecodeError as error:
        raise PayloadRefused(
            PayloadFault.NOT_UTF8, f"the body is not UTF-8: invalid byte at offset {error.start}"
        ) from None
    decoder = _DECODERS.get(destination, _ANY_OBJECT)
    try:
        decoder.decode(body)
    except msgspec.DecodeError:
        _explain(decoder, _without_lone_surrogates(body))
    except RecursionError:
        raise _too_deep() from None


def place_of(destination: str, field: str) -> str | None:
    """Return the member of a destination's bodies that holds a field (:data:`PLACES`); None if no member does."""
    return PLACES.get(destination, _EXCEPT).get(field, field)


def text_of(members: Members, member: str) -> str | None:
    """Return the text of a member; None if the member is missing or not text."""
    written = bytes(members.get(member, b""))
    if not written.startswith(b'"'):
        return None
    try:
        return _TEXT.decode(written)
    except msgspec.DecodeError:
        return _TEXT.decode(_without_lone_surrogates(written))


def members_of(body: bytes) -> Members:
    """Return the members of a body that has passed :func:`check`.

    Raises ``RecursionError`` if it is nested deeper than Python's stack allows at this call; ``check`` may have had
    more room.
    """
    try:
        return _MEMBERS.decode(body)
    except msgspec.DecodeError:
        return _MEMBERS.decode(_without_lone_surrogates(body))


def fields_of_event(members: Members) -> Members:
    """Return the fields of an event on ``/events``: the members of its payload; none if that is not an object.

    A channel's ``channel_id`` is its ``id``. Metadata names its subject in ``subject`` and ``identifier``: metadata of
    a conversation gets a ``conversation_id``, metadata of a channel a ``channel_id``.

    Raises ``RecursionError`` as :func:`members_of` does.
    """
    written = bytes(members.get("payload", b""))
    if not written.startswith(b"{"):  # a source of a plugin may deliver a body that was not checked
        return {}
    payload = members_of(written)
    kind = (text_of(members, "type") or "").partition(".")[0]
    if kind == "channel":
        return {**payload, "channel_id": payload.get("id", _NOTHING)}
    if kind == "metadata":
        return {**payload, f"{text_of(payload, 'subject')}_id": payload.get("identifier", _NOTHING)}
    return payload


def _explain(decoder: _Decoder, body: bytes) -> None:
    """Raise ``PayloadRefused`` for the rule that the body breaks; return if only lone surrogates were wrong."""
    try:
        # Check first whether it is JSON: the decoder reports a wrong field even if the JSON is malformed after it.
        _ANY_OBJECT.decode(body)
    except msgspec.DecodeError as error:
        raise PayloadRefused(PayloadFault.NOT_JSON_OBJECT, f"the body is not a JSON object: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    try:
        decoder.decode(body)
    except msgspec.DecodeError as error:
        raise PayloadRefused(PayloadFault.BAD_FIELD, f"the payload does not fit its destination: {error}") from None


def _too_deep() -> PayloadRefused:
    return PayloadRefused(PayloadFault.TOO_DEEP, "the body is nested too deep")


def _without_lone_surrogates(body: bytes) -> bytes:
    r"""Replace each escape of a lone surrogate with U+FFFD.

    RFC 8259 allows these escapes, and ``JSON.stringify`` writes one if a script has cut an emoji in
    two; msgspec refuses them.
    """
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
