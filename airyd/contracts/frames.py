"""The headers of each frame of STOMP 1.2, for the AsyncAPI document; ``airyd.stomp.session`` is what checks them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from airyd.errors import Fault
from airyd.events import EVENT_ID, destination_tag
from airyd.limits import PREFETCH_CAP, PREFETCH_DEFAULT
from airyd.stomp.spec import ACK_ID, ALL_VERSIONS, HEART_BEAT, PREFETCH_COUNT, AckMode, Command, Header, Version


class HeaderRule(NamedTuple):
    """A header of a frame.

    :ivar text: a sentence about it
    :ivar schema: what its value may be, besides that it is text
    """

    name: str
    text: str
    schema: Mapping[str, Any] = MappingProxyType({})
    is_required: bool = False


class FrameRule(NamedTuple):
    """A kind of frame.

    :ivar text: a sentence about it
    :ivar headers: those that airyd reads or sends
    """

    text: str
    headers: tuple[HeaderRule, ...]


def pattern(expression: re.Pattern[str]) -> str:
    """Return a regular expression that begins at the start of the text as JSON Schema writes it (ECMA-262)."""
    return f"^{expression.pattern.removesuffix(chr(92) + 'Z')}$"


_EVENT_ID: Final = pattern(EVENT_ID)[1:]


def message_id_pattern(destination: str | None = None) -> str:
    """Return the pattern of the ``message-id`` of a destination's events, or of any destination's."""
    tag = "[0-9a-f]{8}" if destination is None else destination_tag(destination)
    return f"^{tag}-{_EVENT_ID}"


_MESSAGE_ID: Final = {"pattern": message_id_pattern()}
_LENGTH: Final = HeaderRule(Header.CONTENT_LENGTH, "Bytes of the body.", {"pattern": "^[0-9]+$"})
_RECEIPT: Final = HeaderRule(Header.RECEIPT, "A RECEIPT with this id answers the frame when it is done.")
_TRANSACTION: Final = HeaderRule(Header.TRANSACTION, "The open transaction that the frame is part of.")
_ITS_TRANSACTION: Final = HeaderRule(Header.TRANSACTION, "The client's name for the transaction.", is_required=True)
_ACKNOWLEDGED: Final = HeaderRule(
    Header.ID, "The header ack of the MESSAGE.", {"pattern": pattern(ACK_ID)}, is_required=True
)
_ACKNOWLEDGEMENT: Final = (_ACKNOWLEDGED, _TRANSACTION, _RECEIPT)
_CONNECT: Final = (
    HeaderRule(
        Header.ACCEPT_VERSION,
        "The versions that the client speaks, with commas between; the newest common one counts.",
    ),
    HeaderRule(
        Header.HEART_BEAT,
        "How often the client can send, and wants to receive, in milliseconds; 0 is never.",
        {"pattern": pattern(HEART_BEAT)},
    ),
    HeaderRule("Authorization", "The token, with or without `Bearer` before it."),
    HeaderRule(Header.PASSCODE, "The token, if there is no header Authorization."),
)

#: The frames by their commands.
FRAMES: Final[Mapping[str, FrameRule]] = MappingProxyType(
    {
        Command.CONNECT: FrameRule("The first frame of the client: it logs in.", _CONNECT),
        Command.STOMP: FrameRule("Another name of CONNECT.", _CONNECT),
        Command.CONNECTED: FrameRule(
            "The answer to CONNECT.",
            (
                HeaderRule(
                    Header.VERSION,
                    "The version of STOMP that the connection uses.",
                    {"enum": [version.value for version in Version]},
                    is_required=True,
                ),
                HeaderRule(
                    Header.HEART_BEAT,
                    "How often the server can send, and wants to receive, in milliseconds.",
                    {"pattern": pattern(HEART_BEAT)},
                ),
                HeaderRule(Header.SERVER, "The name and the version of the server.", is_required=True),
                HeaderRule(Header.SESSION, "The id of the connection on the admin page.", is_required=True),
            ),
        ),
        Command.SUBSCRIBE: FrameRule(
            "Begin a subscription, or resume one after an event.",
            (
                HeaderRule(
                    Header.DESTINATION,
                    "A destination, or a pattern: `*` is one segment, `**` at the end one or more.",
                    is_required=True,
                ),
                HeaderRule(Header.ID, "The client's id of the subscription.", is_required=True),
                HeaderRule(
                    Header.ACK,
                    "How events are acknowledged.",
                    {"enum": [mode.value for mode in AckMode], "default": AckMode.AUTO.value},
                ),
                HeaderRule(
                    Header.PREFETCH_COUNT,
                    f"How many events may be unacknowledged: {PREFETCH_DEFAULT} by default, {PREFETCH_CAP} at most.",
                    {"pattern": pattern(PREFETCH_COUNT)},
                ),
                HeaderRule(
                    Header.LAST_MESSAGE_ID, "The position after which to resume: of the last MESSAGE or RECEIPT."
                ),
                _RECEIPT,
            ),
        ),
        Command.UNSUBSCRIBE: FrameRule(
            "End a subscription.",
            (HeaderRule(Header.ID, "The client's id of the subscription.", is_required=True), _RECEIPT),
        ),
        Command.SEND: FrameRule(
            "Publish an event, or send a new token.",
            (
                HeaderRule(Header.DESTINATION, "The destination.", is_required=True),
                _TRANSACTION,
                _LENGTH,
                _RECEIPT,
            ),
        ),
        Command.ACK: FrameRule("Acknowledge an event.", _ACKNOWLEDGEMENT),
        Command.NACK: FrameRule("Acknowledge an event that the client could not use.", _ACKNOWLEDGEMENT),
        Command.BEGIN: FrameRule("Begin a transaction.", (_ITS_TRANSACTION, _RECEIPT)),
        Command.COMMIT: FrameRule("Carry out a transaction.", (_ITS_TRANSACTION, _RECEIPT)),
        Command.ABORT: FrameRule("Drop a transaction.", (_ITS_TRANSACTION, _RECEIPT)),
        Command.DISCONNECT: FrameRule("End the connection when everything before is done.", (_RECEIPT,)),
        Command.MESSAGE: FrameRule(
            "An event, byte for byte as it was published.",
            (
                HeaderRule(Header.SUBSCRIPTION, "The client's id of the subscription."),
                HeaderRule(Header.DESTINATION, "The destination of the event.", is_required=True),
                HeaderRule(
                    Header.CONTENT_TYPE, "The type of the body.", {"const": "application/json"}, is_required=True
                ),
                HeaderRule(
                    Header.MESSAGE_ID, "The same for all clients; compare it for equality only.", _MESSAGE_ID, True
                ),
                _LENGTH._replace(is_required=True),
                HeaderRule(
                    Header.ACK,
                    "What ACK and NACK name, if the subscription has acknowledgements.",
                    {"pattern": pattern(ACK_ID)},
                ),
            ),
        ),
        Command.RECEIPT: FrameRule(
            "The frame with this receipt is done.",
            (
                HeaderRule(Header.RECEIPT_ID, "The header receipt of the frame.", is_required=True),
                HeaderRule(
                    Header.LAST_MESSAGE_ID,
                    "Of a SUBSCRIBE to one destination: the position after which its events follow.",
                ),
                HeaderRule(
                    Header.RECOVERED,
                    "Of a SUBSCRIBE that resumes: whether everything after its position follows.",
                    {"enum": ["true", "false"]},
                ),
            ),
        ),
        Command.ERROR: FrameRule(
            "The last frame of the server; a close frame with the code of x-close-codes follows.",
            (
                HeaderRule(
                    Header.MESSAGE,
                    "What is wrong.",
                    {
                        "enum": [fault.message for fault in Fault],
                        "x-close-codes": {fault.message: int(fault.close_code) for fault in Fault},
                        "x-kinds": {fault.message: fault.kind for fault in Fault},
                    },
                    is_required=True,
                ),
                HeaderRule(Header.CONTENT_TYPE, "The type of the body.", {"const": "text/plain"}, is_required=True),
                _LENGTH._replace(is_required=True),
                HeaderRule(Header.RECEIPT_ID, "The header receipt of the frame at fault, if it had one."),
                HeaderRule(
                    Header.VERSION,
                    "The server's versions, if the client speaks none of them.",
                    {"const": ALL_VERSIONS},
                ),
            ),
        ),
    }
)


def headers_schema(rules: Iterable[HeaderRule]) -> dict[str, Any]:
    """Return the JSON Schema of a frame's headers, which are an object of texts."""
    listed = tuple(rules)
    return {
        "type": "object",
        "properties": {rule.name: {"type": "string", "description": rule.text, **rule.schema} for rule in listed},
        "required": [rule.name for rule in listed if rule.is_required],
    }
