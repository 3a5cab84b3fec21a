"""Readers of option values: each raises ``ValueError`` with a text that says what to give instead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from airyd.limits import LEAST_TOKEN_SIZE, MOST_TOKEN_SIZE
from airyd.revocation import MOST_TOKEN_MAX_AGE

AUTO_WORKERS: Final = "auto"
#: Each worker holds the sockets of all workers, so that open sockets grow with the square of this number.
MOST_WORKERS: Final = 64
#: The greatest number of bytes, seconds and the like.
MOST: Final = (1 << 31) - 1
#: Seconds. The timer wheel ticks ten times in a ping interval, and each tick costs CPU.
_SHORTEST_PING_INTERVAL: Final = 0.1
#: The name of a field or a claim: printable, without white space; a ``=`` only in a claim, since it ends the field.
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,255}")
_TIMES: Final = ("exp", "iat", "nbf")
#: A path that a request can have (RFC 3986, section 3.3): without ``//``, which begins a host, and without ``;``.
_PATH: Final = re.compile(r"/(?!/)[0-9A-Za-z._~!$&'()*+,=:@%/-]*\Z")
_SWITCH: Final = {
    **dict.fromkeys(("1", "on", "true", "yes"), True),
    **dict.fromkeys(("0", "off", "false", "no"), False),
}


def positive(text: str) -> int:
    """Read a positive whole number."""
    number = _whole(text)
    if not 1 <= number <= MOST:
        raise ValueError(f"give a whole number from 1 to {MOST}")
    return number


def token_size(text: str) -> int:
    """Read the largest size of a token, in bytes."""
    number = _whole(text)
    if not LEAST_TOKEN_SIZE <= number <= MOST_TOKEN_SIZE:
        raise ValueError(f"give a whole number of bytes from {LEAST_TOKEN_SIZE} to {MOST_TOKEN_SIZE}")
    return number


def lifetime(text: str) -> int:
    """Read the longest lifetime of a token, in seconds."""
    number = _whole(text)
    if not 1 <= number <= MOST_TOKEN_MAX_AGE:
        raise ValueError(f"give a whole number of seconds from 1 to {MOST_TOKEN_MAX_AGE}")
    return number


def workers(text: str) -> int:
    """Read the number of worker processes."""
    if text == AUTO_WORKERS:
        return len(os.sched_getaffinity(0))
    number = _whole(text)
    if not 1 <= number <= MOST_WORKERS:
        raise ValueError(f"give a number from 1 to {MOST_WORKERS}, or {AUTO_WORKERS}")
    return number


def seconds(text: str) -> float:
    """Read a number of seconds, with or without a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MOST:
        raise ValueError(f"give a number of seconds from 0 to {MOST}")
    return number


def ping_interval(text: str) -> float:
    """Read the seconds between pings, or 0 for none."""
    number = seconds(text)
    if 0 < number < _SHORTEST_PING_INTERVAL:
        raise ValueError(f"give 0, or {_SHORTEST_PING_INTERVAL} seconds or more")
    return number


def user_field(text: str) -> tuple[str, str]:
    """Read a field and its claim, ``FIELD=CLAIM``."""
    field, equals, claim = text.partition("=")
    if not equals or not _NAME.fullmatch(field) or not _NAME.fullmatch(claim):
        raise ValueError("give FIELD=CLAIM, such as user_id=sub, without white space")
    if claim in _TIMES:
        raise ValueError(f"the claim {claim} is a time, not text or a list of texts")
    return field, claim


def request_path(text: str) -> str:
    """Read the path of a request."""
    if not _PATH.match(text):
        raise ValueError(
            "give a path such as /ws.communication, with one slash first, of letters, digits and ._~!$&'()*+,=:@%/-"
        )
    return text


def file_name(text: str) -> str:
    """Read the path of a file."""
    if not text:
        raise ValueError("name a file")
    return text


def switch(text: str) -> bool:
    """Read the value of a switch, as the environment and the configuration file give it."""
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError("give true or false") from None


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a reader that accepts only these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"give {' or '.join(choices)}")
        return text

    return read


def _whole(text: str) -> int:
    """Return the number; 0 if the text is not a whole number, or too large for any option."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
