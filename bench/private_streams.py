"""Private streams: clients whose tokens hold a row filter of their own, and events for one of them or for all."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt

from bench.scenarios import MESSAGE
from bench.servers import SECRET

#: The field of an event's body that says whom it is for.
FIELD: Final = "user_id"
#: The value of that field in an event for all clients; each filter lets it pass.
EVERYONE: Final = "all"
#: Four destinations of a deployment, all with :data:`FIELD`, and the options of airyd that add them to Airy's own.
DESTINATIONS: Final = (MESSAGE, "/queue/own/unread", "/queue/own/typing", "/queue/own/presence")
OPTIONS: Final = tuple(word for name in DESTINATIONS[1:] for word in ("--destination", name))
#: Finds in what a client has received whom each event is for, and when it was published.
RECEIVED: Final = re.compile(rb'"user_id":"(\w+)","at":(\d+)')

_DAY: Final = 24 * 60 * 60


def user(number: int) -> str:
    """Return the subject of a client, which is its value of :data:`FIELD`, too."""
    return f"u{number}"


def private_body(whom: str, at: int) -> bytes:
    """Return the body of an event, of about 320 bytes.

    :param whom: a :func:`user`, or :data:`EVERYONE`
    :param at: nanoseconds of ``time.monotonic_ns`` for :data:`RECEIVED`
    """
    text = "x" * 220
    return f'{{"conversation_id":"c","message":{{"id":"m","content":"{text}"}},"{FIELD}":"{whom}","at":{at}}}'.encode()


def private_claims(subject: str, is_filtered: bool, now: int) -> Mapping[str, Any]:
    """Return the claims of a token that is good for a day.

    :param is_filtered: whether the client sees only its own events and those for all; else it sees all events
    """
    claims = {"sub": subject, "jti": subject, "iat": now, "exp": now + _DAY, "subscribe": ["/queue/**"]}
    return {**claims, "only": {FIELD: [subject, EVERYONE]}} if is_filtered else claims


def private_token(number: int, is_filtered: bool = True) -> str:
    """Return a client's token (HS256)."""
    return jwt.encode(dict(private_claims(user(number), is_filtered, int(time.time()))), SECRET, "HS256")
