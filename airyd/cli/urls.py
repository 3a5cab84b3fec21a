"""Checks the server URLs of a command line; errors are ``ValueError`` whose text has no user name and no password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

WEBSOCKET_URL: Final = "ws://127.0.0.1:8080/ws.communication"
WEBSOCKET_PATH: Final = "/ws.communication"
ADMIN_URL: Final = "http://127.0.0.1:8081"

#: The start of the URL of a unix socket, as in ``--admin``.
UNIX: Final = "unix:"
_UNIX_EXAMPLE: Final = "unix:/run/airyd/admin.sock"

#: Characters of a wrong value that an error quotes.
QUOTED: Final = 200
_USER_INFO: Final = re.compile(r"//[^/?#]*@")
#: What to write instead of a scheme that belongs to the other kind of URL.
_OTHER_SCHEME: Final = {"http": "ws", "https": "wss"}


def websocket_url(text: str) -> str:
    """Check a WebSocket URL and return it with a path."""
    parts = _url(text, ("ws", "wss"), WEBSOCKET_URL)
    return parts._replace(path=parts.path if parts.path not in ("", "/") else WEBSOCKET_PATH).geturl()


def admin_url(text: str) -> str:
    """Check the URL of an admin page and return it."""
    parts = _url(text, ("http", "https"), ADMIN_URL)
    if parts.query:
        raise ValueError(f"the admin page's URL has no query; it looks like {ADMIN_URL}")
    return parts.geturl()


def health_url(text: str) -> str:
    """Check the URL of an admin page, or its unix socket as ``unix:/PATH``, and return it."""
    if not text.startswith(UNIX):
        return admin_url(text)
    if not text.removeprefix(UNIX).startswith("/") or not text.isprintable():
        raise ValueError(f"{text[:QUOTED]!r} is not a unix socket; one looks like {_UNIX_EXAMPLE}")
    return text


def node_name(url: str) -> str:
    """Return what a table calls the node with this admin page: the URL without its scheme."""
    return url.partition("//")[2].rstrip("/")


def plain_scheme(url: str) -> str:
    """Return the start of the same URL without TLS, such as ``ws://``."""
    return f"{urlsplit(url).scheme.replace('wss', 'ws').replace('https', 'http')}://"


def tls_scheme(url: str) -> str:
    """Return the start of the same URL with TLS, such as ``wss://``."""
    return plain_scheme(url).replace("://", "s://")


def _url(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Check the common parts of URLs, and return the parsed URL."""
    shown = _USER_INFO.sub("//", text)[:QUOTED]
    wrong = f"{shown!r} is not a {' or '.join(schemes)} URL"
    parts = port = None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        if parts is not None:
            raise ValueError(f"{wrong}: a port is a number from 1 to 65535") from None
    if parts is None or not text.isascii() or not text.isprintable() or " " in text or parts.fragment:
        raise ValueError(f"{wrong}: use ASCII characters without spaces and '#', as in {example}")
    if parts.scheme not in schemes:
        instead = _OTHER_SCHEME.get(parts.scheme)
        hint = (
            f"did you mean {instead}{shown[len(parts.scheme) :]}?"
            if instead in schemes
            else f"one looks like {example}"
        )
        raise ValueError(f"{wrong}; {hint}")
    if parts.username is not None:
        raise ValueError("a user name in the URL is not supported")
    if not parts.hostname:
        raise ValueError(f"{wrong}; one looks like {example}")
    if port == 0:
        raise ValueError(f"{wrong}: a port is a number from 1 to 65535")
    is_address = ":" in parts.hostname
    try:
        parts.hostname.encode("idna")  # as the resolver does
    except UnicodeError:
        raise ValueError(f"{parts.hostname[:QUOTED]!r} is not a host name: a part of it is empty or too long") from None
    host = f"[{parts.hostname}]" if is_address else parts.hostname
    return parts._replace(netloc=host if port is None else f"{host}:{port}")
