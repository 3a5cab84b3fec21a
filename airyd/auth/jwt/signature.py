"""Verifies the signature of a token with a key that is for its algorithm, and returns its claims (RFC 7515)."""

from __future__ import annotations

import binascii
import hmac
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
#: From the alphabet of base64url to that of base64 (RFC 4648, section 5); what is in neither, or only in base64's, is
#: in no alphabet afterwards.
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/--")
#: The hashes of HMAC, in one call of C: 1 µs, where PyJWT's function takes 4.
_HMAC_HASHES: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
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
    if not _is_signed(signed, signature, header.algorithm, tried):
        raise LoginRefused(LoginFault.SIGNATURE, f"the signature does not match {_names_of(tried, header.algorithm)}")
    try:
        return read_object(payload)
    except ValueError as error:
        raise LoginRefused(LoginFault.MALFORMED, f"the token's claims: {error}") from None


def _is_signed(signed: bytes, signature: bytes, algorithm: str, keys: Sequence[VerificationKey]) -> bool:
    """Return whether one of these keys has made the signature."""
    name = _HMAC_HASHES.get(algorithm)
    if name is None:
        verify = _VERIFIERS[algorithm].verify
        return any(verify(signed, key.material, signature) for key in keys)
    return any(
        isinstance(key.material, bytes) and hmac.compare_digest(hmac.digest(key.material, signed, name), signature)
        for key in keys
    )


def _decoded(segment: bytes) -> bytes:
    """Return the bytes of a base64url segment, with or without padding (RFC 7515, section 2).

    Raises ``ValueError`` if it is not base64url, or not in its canonical form.
    """
    padded = segment + b"=" * (-len(segment) % 4)
    plain = padded.translate(_FROM_URL)
    try:
        data = binascii.a2b_base64(plain)
    except binascii.Error:
        raise ValueError("it is not base64url") from None
    if binascii.b2a_base64(data, newline=False) != plain:  # Python skips characters outside the alphabet
        raise ValueError("it is not base64url")
    return data
