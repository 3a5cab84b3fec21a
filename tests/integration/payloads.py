"""Valid and invalid events for the four Airy destinations."""

from __future__ import annotations

import json
from typing import Any, Final

MESSAGE: Final = "/queue/message"
UNREAD_COUNT: Final = "/queue/unread-count"
CHANNEL_CONNECTED: Final = "/queue/channel/connected"
CHANNEL_DISCONNECTED: Final = "/queue/channel/disconnected"
DESTINATIONS: Final = (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED)

#: Text that breaks programs which confuse characters, bytes and UTF-16 units.
DIFFICULT_TEXT: Final = 'naïve Grüße 你好 🎉👩\u200d👩\u200d👧 \u2028 "quoted" back\\slash a:b \\n \\c \x7f end'


def event(destination: str, number: int, text: str = "") -> dict[str, Any]:
    """Return a valid payload that contains ``number`` (see :func:`number_of`) and ``text``."""
    if destination == MESSAGE:
        return {
            "conversation_id": "b8ce1f4c-6a2b-4b2c-8e3b-5f0f5f3a9d11",
            "channel_id": "32ce1f4c-6a2b-4b2c-8e3b-5f0f5f3a9d11",
            "message": {
                "id": f"m-{number}",
                "content": {"type": "text", "text": text},
                "state": "DELIVERED",
                "sender_type": "source_contact",
                "sent_at": "2021-01-12T14:49:05.000Z",
            },
            "n": number,
        }
    if destination == UNREAD_COUNT:
        return {
            "conversation_id": "b8ce1f4c-6a2b-4b2c-8e3b-5f0f5f3a9d11",
            "unread_message_count": 42,
            "timestamp": "2021-01-12T14:49:05.000Z",
            "text": text,
            "n": number,
        }
    return {
        "id": "32ce1f4c-6a2b-4b2c-8e3b-5f0f5f3a9d11",
        "name": text or "my page 1",
        "source": "facebook",
        "source_channel_id": "fb-page-id-1",
        "image_url": None,
        "n": number,
    }


def body(destination: str, number: int, text: str = "") -> bytes:
    """Return a valid event as compact UTF-8 JSON."""
    return json.dumps(event(destination, number, text), ensure_ascii=False, separators=(",", ":")).encode()


def number_of(data: bytes) -> int:
    """Return the number that :func:`body` was given."""
    return int(json.loads(data)["n"])


def _without(destination: str, *path: str) -> bytes:
    return _changed(destination, path, None, remove=True)


def _changed(destination: str, path: tuple[str, ...], value: object, *, remove: bool = False) -> bytes:
    payload = event(destination, 0)
    inner = payload
    for name in path[:-1]:
        inner = inner[name]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(payload).encode()


#: ``(what is wrong, destination, body)``: airyd must refuse each, and no client may get it.
BAD: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("empty", MESSAGE, b""),
    ("not JSON", MESSAGE, b"hello"),
    ("cut off", MESSAGE, body(MESSAGE, 0)[:-1]),
    ("something after it", MESSAGE, body(MESSAGE, 0) + b"x"),
    ("two objects", MESSAGE, body(MESSAGE, 0) * 2),
    ("an array", MESSAGE, b"[" + body(MESSAGE, 0) + b"]"),
    ("a string", MESSAGE, b'"text"'),
    ("null", MESSAGE, b"null"),
    ("broken UTF-8 in a field that nobody reads", MESSAGE, body(MESSAGE, 0, "XX").replace(b"XX", b"\xff\xfe")),
    ("a surrogate in UTF-8", MESSAGE, body(MESSAGE, 0, "XX").replace(b"XX", b"\xed\xa0\x80")),
    ("overlong UTF-8", MESSAGE, body(MESSAGE, 0, "XX").replace(b"XX", b"\xc0\xaf")),
    ("UTF-8 cut off", MESSAGE, body(MESSAGE, 0, "XX").replace(b"XX", "é".encode()[:1])),
    ("broken UTF-8 in a name", CHANNEL_CONNECTED, body(CHANNEL_CONNECTED, 0).replace(b'"source"', b'"sour\xffce"')),
    ("too deep", MESSAGE, body(MESSAGE, 0)[:-1] + b',"deep":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ("too deep and cut off", MESSAGE, b'{"a":' * 40_000),
    ("too large", MESSAGE, body(MESSAGE, 0, "x" * (256 * 1024))),
    ("no conversation_id", MESSAGE, _without(MESSAGE, "conversation_id")),
    ("conversation_id a number", MESSAGE, _changed(MESSAGE, ("conversation_id",), 7)),
    ("conversation_id null", MESSAGE, _changed(MESSAGE, ("conversation_id",), None)),
    ("no message", MESSAGE, _without(MESSAGE, "message")),
    ("message a string", MESSAGE, _changed(MESSAGE, ("message",), "text")),
    ("no message.id", MESSAGE, _without(MESSAGE, "message", "id")),
    ("message.id an object", MESSAGE, _changed(MESSAGE, ("message", "id"), {})),
    ("no conversation_id in a count", UNREAD_COUNT, _without(UNREAD_COUNT, "conversation_id")),
    ("no count", UNREAD_COUNT, _without(UNREAD_COUNT, "unread_message_count")),
    ("count a string", UNREAD_COUNT, _changed(UNREAD_COUNT, ("unread_message_count",), "42")),
    ("count a fraction", UNREAD_COUNT, _changed(UNREAD_COUNT, ("unread_message_count",), 4.5)),
    ("count below 0", UNREAD_COUNT, _changed(UNREAD_COUNT, ("unread_message_count",), -1)),
    ("count a boolean", UNREAD_COUNT, _changed(UNREAD_COUNT, ("unread_message_count",), True)),
    ("no timestamp", UNREAD_COUNT, _without(UNREAD_COUNT, "timestamp")),
    ("timestamp a number", UNREAD_COUNT, _changed(UNREAD_COUNT, ("timestamp",), 1610462945000)),
    ("no channel id", CHANNEL_CONNECTED, _without(CHANNEL_CONNECTED, "id")),
    ("channel id a number", CHANNEL_DISCONNECTED, _changed(CHANNEL_DISCONNECTED, ("id",), 1)),
)

#: Unusual events that some release of Airy or a deployment may send: each must arrive byte for byte.
ODD: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("content a string", MESSAGE, _changed(MESSAGE, ("message", "content"), '{"text":"raw"}')),
    ("content an array", MESSAGE, _changed(MESSAGE, ("message", "content"), [{"type": "text"}])),
    ("content null", MESSAGE, _changed(MESSAGE, ("message", "content"), None)),
    ("no content", MESSAGE, _without(MESSAGE, "message", "content")),
    ("an unknown state", MESSAGE, _changed(MESSAGE, ("message", "delivery_state"), "half-delivered")),
    ("a date that is none", MESSAGE, _changed(MESSAGE, ("message", "sent_at"), "yesterday")),
    ("white space", MESSAGE, json.dumps(event(MESSAGE, 0), indent=2).encode() + b"\n"),
    ("a NUL as an escape", MESSAGE, body(MESSAGE, 0, "XX").replace(b"XX", b"\\u0000")),
    ("no channel", MESSAGE, _without(MESSAGE, "channel_id")),
    ("ids that are not UUIDs", UNREAD_COUNT, _changed(UNREAD_COUNT, ("conversation_id",), "case 7/ä")),
    ("a channel with metadata", CHANNEL_CONNECTED, b'{"id":"1","metadata":{"name":"n"},"extra":[1.50,1e3,null]}'),
    ("difficult text", MESSAGE, body(MESSAGE, 0, DIFFICULT_TEXT)),
    ("200 KiB", MESSAGE, body(MESSAGE, 0, "é🎉x" * (200 * 1024 // 7))),
)
