"""Keys that tokens are verified with. What a key is says which one algorithm it is good for."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

HS256: Final = "HS256"
#: The algorithms of public keys (RFC 7518, section 3.1, and RFC 8037, section 3.1).
PUBLIC_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
#: Bits that an RSA key has at least (RFC 7518, section 3.3), and bytes of an HS256 secret (section 3.2).
_RSA_BITS: Final = 2048
_SECRET_BYTES: Final = 32
#: Keys of a set that are looked at.
_MOST_KEYS: Final = 100
_READERS: Final[Mapping[str, Any]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_HMAC: Final = HMACAlgorithm(HMACAlgorithm.SHA256)
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key and the algorithm that it is for; ``repr`` shows nothing of the key.

    :ivar id: its ``kid``; None for a key that stands alone
    """

    algorithm: str
    material: bytes | PublicKey
    id: str | None = None

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, id={self.id!r})"


def secret_key(text: bytes, is_base64: bool) -> Key:
    """Return the key that is a shared secret (HS256).

    :param text: the secret itself without its line end, or its base64, with either alphabet, with or without padding

    Raises ``ValueError``, whose text shows nothing of it.
    """
    secret = text
    if is_base64:
        digits = text.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            secret = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
        except binascii.Error:
            raise ValueError("the secret is not base64") from None
    if len(secret) < _SECRET_BYTES:
        raise ValueError(
            f"the secret has {len(secret)} bytes, and HS256 needs {_SECRET_BYTES} at least (RFC 7518, section 3.2)"
        )
    if secret.lstrip().startswith(b"-----BEGIN "):
        raise ValueError("the secret is a PEM file: a public key is for key-file")
    try:
        _HMAC.prepare_key(secret)
    except PyJWTError:
        raise ValueError("the secret looks like a public key or a JWK: those are for key-file and jwks") from None
    return Key(HS256, secret)


def pem_key(pem: bytes) -> Key:
    """Return the key of a PEM file with a public key, or with a certificate.

    Raises ``ValueError``.
    """
    if _PRIVATE.search(pem):
        raise ValueError(
            "the file holds a private key, which only the issuer of tokens should have: give the public one"
        )
    try:
        is_certificate = b"-----BEGIN CERTIFICATE-----" in pem
        key = load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the file holds no public key in PEM") from None
    return _public_key(key, None)


def read_key_set(text: bytes) -> tuple[Key, ...]:
    """Return the keys of a JWK Set that tokens may be signed with (RFC 7517, section 5).

    Left out is what is for something else or of an unknown kind, as the RFC demands; and secrets, which have no
    business in a public document.

    Raises ``ValueError`` if it is no JWK Set, or has no such key.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    match document:
        case {"keys": [*entries]}:
            found = [_read_jwk(entry) for entry in entries[:_MOST_KEYS] if isinstance(entry, dict)]
        case _:
            raise ValueError("it is no JWK Set: it has no list of keys")
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError(f"it has no key for {', '.join(PUBLIC_ALGORITHMS)}")
    return keys


def _read_jwk(jwk: Mapping[str, Any]) -> Key | None:
    operations = jwk.get("key_ops", ["verify"])
    kind, key_id = jwk.get("kty"), jwk.get("kid")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    is_for_signatures = jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    if reader is None or not is_for_signatures or not isinstance(key_id, str | None):
        return None
    try:
        key = _public_key(reader.from_jwk(dict(jwk)), key_id)  # which refuses private ones
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):  # what PyJWT makes of a malformed one
        return None
    return key if jwk.get("alg", key.algorithm) == key.algorithm else None


def _public_key(key: object, key_id: str | None) -> Key:
    match key:
        case RSAPublicKey() if key.key_size < _RSA_BITS:
            raise ValueError(f"an RSA key needs {_RSA_BITS} bits at least (RFC 7518, section 3.3)")
        case RSAPublicKey():
            return Key("RS256", key, key_id)
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Key("ES256", key, key_id)
        case Ed25519PublicKey():
            return Key("EdDSA", key, key_id)
    raise ValueError("the key is not for RS256, ES256 (P-256) or EdDSA (Ed25519)")
