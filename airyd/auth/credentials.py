"""Finds the token in a client's credentials: CONNECT headers, ``Authorization`` of the handshake, or a cookie."""

from __future__ import annotations

from typing import Final

from airyd.interfaces import Credentials

#: The white space of HTTP (RFC 9110, section 5.6.3). ``str.strip`` also strips the handshake's bytes 85 and A0.
_SPACE: Final = " \t"
#: The spellings of the header in CONNECT: STOMP's names are case-sensitive, but clients write it as in HTTP.
_HEADERS: Final = ("Authorization", "authorization")
_SCHEME: Final = "bearer"


def has_credentials(credentials: Credentials) -> bool:
    """Return whether a client sends credentials; cookies don't count, because browsers always add them."""
    stated = (credentials.login, credentials.passcode, credentials.opening.authorization)
    return any(stated) or any(credentials.headers.get(name) for name in _HEADERS)


def find_token(credentials: Credentials, cookie: str | None) -> str | None:
    """Return the client's token, or None.

    The first of these counts: CONNECT's ``Authorization`` (``Bearer TOKEN``, or the token alone as Airy's first
    clients send it), CONNECT's ``passcode``, the opening handshake's ``Authorization``, the cookie of this name.
    Another scheme, such as ``Basic``, is for a proxy and is ignored. The URL is never read, because URLs are logged
    everywhere.
    """
    for name in _HEADERS:
        token = _bearer(credentials.headers.get(name))
        if token is not None:
            return token
    return (
        credentials.passcode
        or _bearer(credentials.opening.authorization)
        or (cookie and _cookie(credentials.opening.cookie, cookie))
        or None
    )


def _bearer(authorization: str | None) -> str | None:
    """Return the token of an ``Authorization`` header (RFC 6750, section 2.1)."""
    scheme, space, rest = (authorization or "").strip(_SPACE).partition(" ")
    if not space:
        return None if scheme.lower() == _SCHEME else scheme or None
    return rest.strip(_SPACE) or None if scheme.lower() == _SCHEME else None


def _cookie(header: str | None, name: str) -> str | None:
    """Return the value of a cookie (RFC 6265, section 4.2.1), or None."""
    for pair in (header or "").split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip(_SPACE) == name:
            return value.strip(_SPACE).strip('"') or None
    return None
