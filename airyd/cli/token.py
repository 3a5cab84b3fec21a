"""The command ``airyd token``, and the reader of tokens in files (``--token-file``) and the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from airyd.cli.urls import QUOTED
from airyd.files import read_file
from airyd.limits import KIB, MOST_TOKEN_SIZE

#: Largest token file, in bytes; any token is shorter.
_LONGEST: Final = MOST_TOKEN_SIZE + KIB
#: The start of every JSON Web Token: ``{"`` in base64.
_JWT_START: Final = "eyJ"

#: Returns the token, or None. Each call reads the file again, because it may have a new token.
Tokens = Callable[[], str | None]

#: The first characters of lists, objects and strings in JSON: such a value is not meant as plain text.
_JSON_BEGINS: Final = ("[", "{", '"')


class TokenUnreadable(Exception):
    """The token can't be read; the text says why in one line."""


def token_source(path: str | None, variable: str, environ: Mapping[str, str]) -> Tokens:
    """Return a function that reads the token from the file if one is named, else from the environment.

    The function raises :class:`TokenUnreadable`. A token is never an argument, because all users can see arguments.
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
            text = read_file(path, _LONGEST, may_block=True).decode("ascii", "replace").strip()
        except ValueError as error:
            raise TokenUnreadable(f"--token-file {path}: {error}") from None
        if not text:
            raise TokenUnreadable(f"--token-file {path}: the file is empty")
        if not _is_token(text):
            raise TokenUnreadable(f"--token-file {path}: the file does not hold one token")
        return text

    return token


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and len(text) < _LONGEST


def secrets_of(path: str | None, variable: str | None, environ: Mapping[str, str]) -> bytes:
    """Return the secrets from a file if one is named, else from an environment variable.

    Raises ``ValueError`` with one line that says why that failed.
    """
    from airyd.auth.jwt.keys import MOST_BYTES, is_variable, read_variable

    if path is None and not is_variable(variable or ""):
        raise ValueError("--secret-env takes the name of an environment variable")
    try:
        if path is None:
            return read_variable(variable or "", environ)
        return read_file(path, MOST_BYTES, may_block=True)
    except ValueError as error:
        place = f"--secret-env {variable}" if path is None else f"--secret-file {path}"
        raise ValueError(f"{place}: {error}") from None


def mint(
    secrets: bytes,
    is_base64: bool,
    subject: str,
    now: float,
    lifetime: int,
    more: Mapping[str, Any],
    algorithm: str = "HS256",
) -> str:
    """Return a token with Airy's claims, signed with the first of the secrets.

    :param secrets: in the format of ``--auth jwt:secret-file=``
    :param lifetime: seconds until it expires
    :param more: claims to add, or to use instead of Airy's

    Raises ``ValueError`` for a secret or a claim that no server would accept.
    """
    import jwt

    from airyd.auth.jwt.claims import ClaimRules, read_identity
    from airyd.auth.jwt.keys import secret_keys
    from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
    from airyd.auth.jwt.signature import read_header, verified_claims
    from airyd.errors import LoginRefused

    issued = int(now)
    claims = {"user_id": subject, "sub": subject, "jti": subject, "iat": issued, "exp": issued + lifetime, **more}
    if not isinstance(claims.get("iss", ""), str):
        raise ValueError("the claim 'iss' must be text")
    key = secret_keys(secrets, is_base64, (algorithm,))[0]
    assert isinstance(key.material, bytes)  # noqa: S101  # a secret is
    token = jwt.encode(claims, key.material, algorithm)
    try:
        read = verified_claims(token, read_header(token, MOST_TOKEN_SIZE), [key])
        PermissionCache(PermissionClaims()).principal(read_identity(read, ClaimRules()), read)
    except LoginRefused as error:
        raise ValueError(f"a server would refuse this token: {error.reason}") from None
    return token


def claim(text: str) -> tuple[str, Any]:
    """Return the name and value of a claim ``NAME=VALUE``; a value that is not JSON is text.

    Raises ``ValueError`` if it has no name, or the value is broken JSON: it begins like JSON and is not.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("a claim is NAME=VALUE")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError):
        if value.lstrip().startswith(_JSON_BEGINS):
            raise ValueError(
                f"the value of {name[:QUOTED]} is broken JSON; in a shell, write it in quotes: 'NAME=[\"/queue/*\"]'"
            ) from None
        return name, value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
