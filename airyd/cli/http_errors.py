"""Turns HTTP error responses into one line for the user."""

from __future__ import annotations

import json
import re
from typing import Final

#: Characters of a server's text that are quoted.
LONGEST_QUOTE: Final = 300
#: Characters that are printed of an error in an answer; airyd's own errors are shorter.
LONGEST_ERROR: Final = 1000
_TITLE: Final = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)


def parse_json(body: bytes) -> object:
    """Return the value of a JSON document; None if the text is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stated_error(body: bytes) -> str | None:
    """Return the error text in a response body of airyd's admin page; None if there is none."""
    match parse_json(body):
        case {"error": str(reason)}:
            return " ".join(reason.split())[:LONGEST_ERROR]
    return None


def http_reason(status: int, phrase: str, location: str | None, body: bytes) -> str:
    """Return the status of an HTTP response with the first line of its body, or the title of its HTML page."""
    answer = f"{status} {phrase}".strip()
    if location is not None and 300 <= status < 400:
        return f"{answer}: it redirects to {location[:LONGEST_QUOTE]}"
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = " ".join(title[1].split()) if title is not None else ""
    said = stated_error(body) or text.partition("\n")[0].strip()[:LONGEST_QUOTE].rstrip(".")
    return f"{answer}: {said}" if said and said != answer else answer
