"""Why a server could not be reached, or what it answered, in one line."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import urlsplit

from airyd.hostnames import why_not_connected

#: Characters that are quoted of what a server sent.
LONGEST_QUOTE: Final = 300
_TITLE: Final = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)


def connect_reason(error: Exception, url: str) -> str:
    """Return why no connection could be made to the host of a URL."""
    host = urlsplit(url).hostname
    if isinstance(error, ValueError):
        return f"{host} is not a host name"
    return why_not_connected(error, str(host)).rstrip(".")


def plain_scheme(url: str) -> str:
    """Return what the URL would begin with on a port without TLS, such as ``ws://``."""
    return f"{urlsplit(url).scheme.replace('wss', 'ws').replace('https', 'http')}://"


def tls_scheme(url: str) -> str:
    """Return what the URL would begin with on a port with TLS, such as ``wss://``."""
    return plain_scheme(url).replace("://", "s://")


def parsed(body: bytes) -> object:
    """Return the value of a JSON document; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stated_error(body: bytes) -> str | None:
    """Return the error that a body of airyd's admin endpoint states; None if it is none."""
    match parsed(body):
        case {"error": str(reason)}:
            return " ".join(reason.split())
    return None


def http_reason(status: int, phrase: str, location: str | None, body: bytes) -> str:
    """Return the status of an HTTP response, and the first line of its body, or the title of its HTML page."""
    answer = f"{status} {phrase}".strip()
    if location is not None and 300 <= status < 400:
        return f"{answer}: it redirects to {location[:LONGEST_QUOTE]}"
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = " ".join(title[1].split()) if title is not None else ""
    said = stated_error(body) or text.partition("\n")[0].strip()[:LONGEST_QUOTE].rstrip(".")
    return f"{answer}: {said}" if said and said != answer else answer
