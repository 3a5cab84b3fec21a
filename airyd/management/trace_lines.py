"""The lines of a trace, from frames: secrets are masked, long bodies are cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from airyd.events import RESERVED_PREFIX
from airyd.limits import KIB
from airyd.management.queries import TraceLine
from airyd.stomp.frames import Frame
from airyd.stomp.message import HEARTBEAT
from airyd.stomp.spec import Header, Version
from airyd.stomp.watched_session import HEARTBEAT_COMMAND

#: Bytes of a body, and characters of a header's value.
BODY_BYTES: Final = 64 * KIB
_VALUE_CHARACTERS: Final = 1000
#: What stands for the value of a secret header.
MASK: Final = "***"
#: Headers whose names contain one of these words are secret.
_SECRET: Final = re.compile(
    "auth(?!or(?!i[sz]ation))|pass(?:code|word|wd|phrase)|cookie|token|secret|jwt|bearer|credential|api[-_]?key",
    re.IGNORECASE,
)
#: A JSON Web Token (RFC 7519, section 3) or a bearer token in a header of any other name, such as ``login``. A match
#: begins at the beginning of a word, so that a search takes linear time.
_TOKEN: Final = re.compile(r"(?<![\w-])(?:eyJ[\w-]+\.[\w.-]+|bearer +\S+)", re.ASCII | re.IGNORECASE)

IN: Final = "in"
OUT: Final = "out"
EVENT: Final = "event"
NOTE: Final = "note"


def frame_sent(encoded: bytes, version: Version) -> Frame:
    """Return the frame of a text message that airyd has sent."""
    return Frame(HEARTBEAT_COMMAND) if encoded == HEARTBEAT else Frame.decode(encoded, version)


def line_of(
    time: float, direction: str, frame: Frame, connection: str | None, subject: str | None, has_bodies: bool
) -> TraceLine:
    """Return the line of a frame.

    The body of a SEND to ``/airyd/token``, also with a spelling mistake behind ``/airyd/``, is a token and is never
    shown.
    """
    to_airyd = direction == IN and frame.headers.get(Header.DESTINATION, "").startswith(RESERVED_PREFIX)
    is_shown = has_bodies and not to_airyd
    return TraceLine(
        time=time,
        direction=direction,
        command=frame.command,
        connection=connection,
        subject=subject,
        headers=masked(frame.headers),
        size=len(frame.body),
        body=frame.body[:BODY_BYTES].decode(errors="replace") if is_shown and frame.body else None,
    )


@lru_cache(maxsize=256)  # most frames have the same few headers
def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def masked(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers in their order, with a mask in place of secret values, and of tokens in other values."""
    return [
        (name[:_VALUE_CHARACTERS], MASK if _is_secret(name) else _TOKEN.sub(MASK, value)[:_VALUE_CHARACTERS])
        for name, value in headers.items()
    ]


def note(
    time: float,
    command: str,
    headers: Iterable[tuple[str, str]] = (),
    connection: str | None = None,
    subject: str | None = None,
) -> TraceLine:
    """Return the line of something that happened."""
    return TraceLine(
        time=time, direction=NOTE, command=command, connection=connection, subject=subject, headers=list(headers)
    )


def size_of(line: TraceLine) -> int:
    """Return about how many bytes a line has."""
    return len(line.body or "") + sum([len(name) + len(value) for name, value in line.headers])
