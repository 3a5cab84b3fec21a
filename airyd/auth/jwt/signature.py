"""Verifies the signature of a token with a key that is for its algorithm, and returns its claims (RFC 7515)."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from jwt.api_jws import PyJWS

from airyd.auth.jwt.claims import Claims, printable, read_object
from airyd.auth.jwt.keys import PUBLIC_ALGORITHMS, SECRET_ALGORITHMS, VerificationKey
from airyd.errors import LoginFault, LoginRefused
from airyd.limits import LONGEST_TOKEN_HEADER

_ALGORITHMS: Final = (*SECRET_ALGORITHMS, *PUBLIC_ALGORITHMS)
_SEGMENTS: Final = 3
#: The verifier of each algorithm. PyJWT's own function for tokens would parse the header a second time, and check the
#: secret at each login: 40 µs.
_VERIFIERS: Final[dict[str, Any]] = {name: PyJWS(_ALGORITHMS).get_algorithm_by_name(name) for name in _ALGORITHMS}


class JoseHeader(NamedTuple):
    """The unverified header of a token; it only helps to choose the key.

    :ivar key_id: its ``kid``
    """

    algorithm: str
    key_id: str | None


def read_header(token: str, most: int) -> JoseHeader:
    """Return the header of a token.

    :param most: the most characters of the token

    Errors: ``LoginRefused``.
    """
    if len(token) > most:
        raise LoginRefused(LoginFault.TOO_BIG, f"the token has {len(token)} characters; the limit is {most}")
    count = token.count(".") + 1
    if count != _SEGMENTS or not token.isascii():
        raise LoginRefused(LoginFault.MALFORMED, f"not a signed JWT: it has {count} segments of {_SEGMENTS}")
    segment = token.partition(".")[0]
    if len(segment) > LONGEST_TOKEN_HEADER:
        raise LoginRefused(LoginFault.MALFORMED, f"the token's header has more than {LONGEST_TOKEN_HEADER} characters")
    return _read_header(segment)


@lru_cache(maxsize=64)  # the tokens of one issuer share it
def _read_header(segment: str) -> JoseHeader:
    try:
        header = read_object(_decoded(segment.encode()))
    except ValueError as error:
        raise LoginRefused(LoginFault.MALFORMED, f"the token's header: {error}") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise LoginRefused(LoginFault.ALGORITHM, f"alg is {printable(algorithm)}, not one of {', '.join(_ALGORITHMS)}")
    if "crit" in header or "b64" in header:  # RFC 7515, section 4.1.11, and RFC 7797
        raise LoginRefused(LoginFault.MALFORMED, "the token's header requires an extension")
    if not isinstance(key_id, str | None):
        raise LoginRefused(LoginFault.MALFORMED, "kid is not a string")
    return JoseHeader(algorithm, key_id)


def _names_of(tried: Sequence[VerificationKey], algorithm: str) -> str:
    if len(tried) > 1:
        return f"any of the {len(tried)} keys for {algorithm}"
    return f"the key for {algorithm}" if tried[0].id is None else f"the key {printable(tried[0].id)} for {algorithm}"


def verified_claims(token: str, header: JoseHeader, keys: Sequence[VerificationKey]) -> Claims:
    """Return the claims of a token that one of these keys has signed with the header's algorithm.

    Only keys for this algorithm are tried. Each try takes some 5 µs for HS256, 25 for RS256, 65 for ES256 and EdDSA,
    400 for ES384 and ES512.

    Errors: ``LoginRefused``.
    """
    tried = [key for key in keys if header.algorithm in key.algorithms]
    if not tried:
        raise LoginRefused(LoginFault.ALGORITHM, f"alg is {header.algorithm}, but the keys are for others")
    signed, _, last = token.encode().rpartition(b".")
    try:
        payload, signature = _decoded(signed.partition(b".")[2]), _decoded(last)
    except ValueError as error:
        raise LoginRefused(LoginFault.MALFORMED, f"not a signed JWT: {error}") from None
    verify = _VERIFIERS[header.algorithm].verify
    if not any(verify(signed, key.material, signature) for key in tried):
        raise LoginRefused(LoginFault.SIGNATURE, f"the signature does not match {_names_of(tried, header.algorithm)}")
    try:
        return read_object(payload)
    except ValueError as error:
        raise LoginRefused(LoginFault.MALFORMED, f"the token's claims: {error}") from None


def _decoded(segment: bytes) -> bytes:
    """Return the bytes of a base64url segment, with or without padding (RFC 7515, section 2).

    Raises ``ValueError`` if it is not base64url, or not in its canonical form.
    """
    padded = segment + b"=" * (-len(segment) % 4)
    try:
        data = urlsafe_b64decode(padded)
    except binascii.Error:
        raise ValueError("it is not base64url") from None
    if urlsafe_b64encode(data) != padded:  # Python skips characters outside the alphabet
        raise ValueError("it is not base64url")
    return data
