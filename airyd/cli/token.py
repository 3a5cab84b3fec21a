"""Tokens on the command line: those that are shown to a server, and ``airyd token``, which makes one to try things."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

#: Bytes of a token file that are read: any token is shorter.
_LONGEST: Final = 64 * 1024
#: How every JSON Web Token begins: ``{"`` in base64.
_JWT_START: Final = "eyJ"

#: Gives the token to show, looked up anew, so that a file may be renewed meanwhile; None: there is none.
Tokens = Callable[[], str | None]


class TokenUnreadable(Exception):
    """The token can't be had; the text says why in one line."""


def token_source(path: str | None, variable: str, environ: Mapping[str, str]) -> Tokens:
    """Return where the token comes from: a file if one is named, else the environment.

    What it returns raises :class:`TokenUnreadable`. A token is never an argument, since who lists processes sees those.
    """

    def token() -> str | None:
        if path is None:
            text = environ.get(variable, "").strip()
            if text and not _is_token(text):
                raise TokenUnreadable(f"the environment's {variable} does not hold one token")
            return text or None
        if path.startswith(_JWT_START):
            raise TokenUnreadable("--token-file takes the path of a file with the token, not the token")
        try:
            with Path(path).open("rb") as file:
                text = file.read(_LONGEST).decode("ascii", "replace").strip()
        except OSError as error:
            raise TokenUnreadable(f"cannot read the token file {path}: {error.strerror}") from None
        if not text:
            raise TokenUnreadable(f"the token file {path} is empty")
        if not _is_token(text):
            raise TokenUnreadable(f"the token file {path} does not hold one token")
        return text

    return token


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and len(text) < _LONGEST


def mint(secret: bytes, is_base64: bool, subject: str, now: float, lifetime: int, more: Mapping[str, Any]) -> str:
    """Return a token of HS256 with the claims of Airy's.

    :param secret: as ``--auth jwt:secret-file=`` takes it
    :param lifetime: in seconds
    :param more: claims beside Airy's, or in their place

    Raises ``ValueError`` for a secret that is none.
    """
    import jwt

    from airyd.access.keys import secret_key

    issued = int(now)
    claims = {"user_id": subject, "sub": subject, "jti": subject, "iat": issued, "exp": issued + lifetime, **more}
    key = secret_key(secret, is_base64)
    assert isinstance(key.material, bytes)  # noqa: S101  # a secret is
    return jwt.encode(claims, key.material, key.algorithm)


def claim(text: str) -> tuple[str, Any]:
    """Return the name and value of ``NAME=JSON``; what is no JSON is text.

    Raises ``ValueError`` if it has no name.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("a claim is NAME=VALUE")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
