"""The payload rules: what a body must be to be published (docs/protocol.rst, "Payloads").

A body is refused only where a client could not use it. Everything else is left unread, so that the
forms of every Airy release pass, and fields that nobody knows yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from airyd.errors import PayloadFault, PayloadRefused
from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT


class _Object(msgspec.Struct):
    """Any JSON object."""


class _Identified(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    conversation_id: str
    message: _Identified


class _UnreadCount(msgspec.Struct):
    conversation_id: str
    unread_message_count: Annotated[int, msgspec.Meta(ge=0)]
    timestamp: str


class _TypedEvent(msgspec.Struct):
    type: str
    payload: _Object


#: The members of a body by their names, each as it is written.
Members = Mapping[str, msgspec.Raw]

_Decoder = (
    msgspec.json.Decoder[_Object]
    | msgspec.json.Decoder[_Message]
    | msgspec.json.Decoder[_UnreadCount]
    | msgspec.json.Decoder[_Identified]
    | msgspec.json.Decoder[_TypedEvent]
)

_ANY_OBJECT: Final = msgspec.json.Decoder(_Object)
_CHANNEL: Final = msgspec.json.Decoder(_Identified)
_DECODERS: Final[dict[str, _Decoder]] = {
    MESSAGE: msgspec.json.Decoder(_Message),
    UNREAD_COUNT: msgspec.json.Decoder(_UnreadCount),
    CHANNEL_CONNECTED: _CHANNEL,
    CHANNEL_DISCONNECTED: _CHANNEL,
    EVENTS: msgspec.json.Decoder(_TypedEvent),
}

_CHANNEL_PLACES: Final[Mapping[str, str | None]] = MappingProxyType({"channel_id": "id", "conversation_id": None})
#: Where what a filter of rows calls a field is in the body: the name of a member; None: it never is there. Whatever
#: isn't named here is the member of its own name.
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

# What a JSON string may hold after a backslash: a pair of surrogates, a lone surrogate (the group), anything else.
_ESCAPES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def check(destination: str, body: bytes, limit: int) -> None:
    """Raise ``PayloadRefused`` unless the body may be published to the destination.

    The body must be at most ``limit`` bytes, UTF-8 throughout, and one JSON object (RFC 8259, so
    without a byte order mark) that isn't nested too deep: some 900 levels, as Python's recursion
    limit allows. On Airy's four destinations the documented ids and time-stamps must be strings and
    the count an integer from 0 on; on ``/events`` the type must be a string and the payload an object.
    Time: about a microsecond for an ordinary event.
    """
    if len(body) > limit:
        raise PayloadRefused(PayloadFault.TOO_BIG, f"the body has {len(body)} bytes; the limit is {limit}")
    try:
        # msgspec looks at the encoding only of what it reads, and a browser at all of it.
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
    """Return which member of a destination's bodies holds a field (:data:`PLACES`); None: none ever does."""
    return PLACES.get(destination, _EXCEPT).get(field, field)


def text_of(members: Members, member: str) -> str | None:
    """Return the text that a member of a body is; None if there is none, or if it is no text."""
    written = bytes(members.get(member, b""))
    if not written.startswith(b'"'):
        return None
    try:
        return _TEXT.decode(written)
    except msgspec.DecodeError:
        return _TEXT.decode(_without_lone_surrogates(written))


def members_of(body: bytes) -> Members:
    """Return the members of a body, which passed :func:`check`.

    Raises ``RecursionError`` for one that is nested too deep for where in the stack this is called.
    """
    try:
        return _MEMBERS.decode(body)
    except msgspec.DecodeError:
        return _MEMBERS.decode(_without_lone_surrogates(body))


def fields_of_event(members: Members) -> Members:
    """Return the fields of an event on ``/events``: the members of its payload; none if that is no object.

    A channel's ``channel_id`` is its ``id``. What metadata is about is in ``subject`` and ``identifier``: that of a
    conversation has a ``conversation_id``, that of a channel a ``channel_id``.

    Raises ``RecursionError`` as :func:`members_of` does.
    """
    written = bytes(members.get("payload", b""))
    if not written.startswith(b"{"):  # checked only where it came in
        return {}
    payload = members_of(written)
    kind = (text_of(members, "type") or "").partition(".")[0]
    if kind == "channel":
        return {**payload, "channel_id": payload.get("id", _NOTHING)}
    if kind == "metadata":
        return {**payload, f"{text_of(payload, 'subject')}_id": payload.get("identifier", _NOTHING)}
    return payload


def _explain(decoder: _Decoder, body: bytes) -> None:
    """Say which rule the body breaks; nothing, if lone surrogates were all that disturbed."""
    try:
        # Whether it is JSON comes first: a wrong field may stand before the place where it breaks off.
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
    r"""Put U+FFFD for each escape of half a surrogate pair.

    RFC 8259 allows such an escape, and ``JSON.stringify`` writes one where a script cut an emoji in
    two; msgspec takes none.
    """
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
