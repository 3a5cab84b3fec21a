"""Verification keys: reads secrets, PEM files and JWK Sets, and restricts each key to algorithms."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import Certificate, load_pem_x509_certificate
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

#: The minimum size of a secret in bytes (RFC 7518, section 3.2).
_SECRET_BYTES: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES: Final[Mapping[str, type[Any]]] = {"ES256": SECP256R1, "ES384": SECP384R1, "ES512": SECP521R1}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EDDSA: Final = "EdDSA"
#: The algorithms of secrets and of public keys (RFC 7518, section 3.1, and RFC 8037, section 3.1).
SECRET_ALGORITHMS: Final = tuple(_SECRET_BYTES)
PUBLIC_ALGORITHMS: Final = (*_RSA, *_CURVES, _EDDSA)
#: The default algorithms: one for each kind of key.
USUAL_SECRET_ALGORITHMS: Final = ("HS256",)
USUAL_PUBLIC_ALGORITHMS: Final = ("RS256", "ES256", _EDDSA)
#: The maximum number of keys of one issuer: a bad token is checked with each of them.
MOST_KEYS: Final = 8
#: The minimum size of an RSA key in bits (RFC 7518, section 3.3).
_RSA_BITS: Final = 2048
#: The maximum size of a file or document with keys, in bytes.
MOST_BYTES: Final = 256 * 1024
#: The maximum number of keys read from a set.
_MOST_OF_SET: Final = 100
_READERS: Final[Mapping[str, Any]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_HMAC: Final = HMACAlgorithm(HMACAlgorithm.SHA256)
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_PEM_GIVEN: Final = "the secret is a PEM file: a public key is for key-file"
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class VerificationKey:
    """A key and the algorithms that it is for; ``repr`` shows nothing of the key.

    :ivar id: its ``kid``, or None
    """

    algorithms: Sequence[str]
    material: bytes | PublicKey
    id: str | None = None

    def __repr__(self) -> str:
        return f"Key({', '.join(self.algorithms)}, id={self.id!r})"


def is_variable(name: str) -> bool:
    """Return whether a shell allows this name for an environment variable."""
    return name.isascii() and name.isidentifier()


def read_variable(name: str, environ: Mapping[str, str]) -> bytes:
    """Return the value of an environment variable.

    Raises ``ValueError`` if it is not set.
    """
    if name not in environ:
        raise ValueError("the environment variable is not set")
    return os.fsencode(environ[name])


def secret_keys(
    text: bytes, is_base64: bool, algorithms: Sequence[str] = USUAL_SECRET_ALGORITHMS
) -> Sequence[VerificationKey]:
    """Return the keys of a file of shared secrets, one on each line.

    Empty lines and repeated secrets are skipped. Ambiguous lines are refused: a comment would be a secret that can be
    guessed, and binary data may contain a line feed.

    :param text: the secrets, plain or as base64 of either alphabet, with or without padding
    :param algorithms: the algorithms that each secret is for

    Raises ``ValueError``, whose text shows nothing of a secret.
    """
    lines = [(number, line.removesuffix(b"\r")) for number, line in enumerate(text.split(b"\n"), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise ValueError("there is no secret in it: it is empty")
    if any(_is_pem(line) for _, line in lines):
        raise ValueError(_PEM_GIVEN)
    secrets: dict[bytes, None] = {}
    for number, line in lines:
        try:
            if len(lines) > 1 and not is_base64 and not _is_text(line):
                raise ValueError("the secret is not text: give it as base64, with the word base64")
            secrets[_secret(line, is_base64, algorithms)] = None
        except ValueError as error:
            if len(lines) == 1:
                raise
            raise ValueError(f"line {number}: {error} (each line is a secret)") from None
    _check_number(len(secrets), "secrets")
    return [VerificationKey(algorithms, secret) for secret in secrets]


def _secret(line: bytes, is_base64: bool, algorithms: Sequence[str]) -> bytes:
    secret = line
    if is_base64:
        digits = line.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            secret = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
        except binascii.Error:
            raise ValueError("the secret is not base64") from None
    elif line.startswith(b"#"):
        raise ValueError("there are no comments; give a secret that begins with # as base64, with the word base64")
    most = max(algorithms, key=_SECRET_BYTES.__getitem__)
    if len(secret) < _SECRET_BYTES[most]:
        raise ValueError(
            f"the secret has {len(secret)} bytes, but {most} needs at least {_SECRET_BYTES[most]} "
            "(RFC 7518, section 3.2)"
        )
    if _is_pem(secret):
        raise ValueError(_PEM_GIVEN)
    try:
        _HMAC.prepare_key(secret)
    except PyJWTError:
        raise ValueError("the secret looks like a public key or a JWK: those are for key-file and jwks") from None
    return secret


def _is_pem(text: bytes) -> bool:
    return text.lstrip().startswith(b"-----BEGIN ")


def _is_text(line: bytes) -> bool:
    try:
        return line.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _check_number(number: int, what: str) -> None:
    if number > MOST_KEYS:
        raise ValueError(f"it holds {number} {what}, but {MOST_KEYS} is the limit: a bad token costs time with each")


def pem_keys(pem: bytes, algorithms: Sequence[str] = USUAL_PUBLIC_ALGORITHMS) -> Sequence[VerificationKey]:
    """Return the keys of a PEM file with public keys or certificates.

    :param algorithms: the allowed algorithms; each key gets those of its kind

    Raises ``ValueError``.
    """
    if _PRIVATE.search(pem):
        raise ValueError(
            "the file holds a private key, which only the issuer of tokens should have: give the public one"
        )
    blocks = list(_BLOCK.finditer(pem))
    if not blocks or len(blocks) != pem.count(b"-----BEGIN "):
        raise ValueError("the file holds no public key in PEM" if not blocks else "a key in the file has no end")
    try:
        loaded = [_load_pem(block[0]) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the file holds no public key in PEM, or something else beside it") from None
    _check_no_chain([each for each in loaded if isinstance(each, Certificate)])
    keys: list[VerificationKey] = []
    for each in loaded:
        key = _public_key(each.public_key() if isinstance(each, Certificate) else each, None, algorithms)
        if not any(key.material == other.material for other in keys):
            keys.append(key)
    _check_number(len(keys), "keys")
    unused = [name for name in algorithms if not any(name in key.algorithms for key in keys)]
    if unused and algorithms != USUAL_PUBLIC_ALGORITHMS:
        raise ValueError(f"it holds no key for {', '.join(unused)}, which alg= names")
    return keys


def _load_pem(block: bytes) -> Certificate | object:
    return load_pem_x509_certificate(block) if b"CERTIFICATE-----" in block else load_pem_public_key(block)


def _check_no_chain(certificates: Sequence[Certificate]) -> None:
    """Raise ``ValueError`` if one certificate has signed another: an authority's key does not sign tokens."""
    for one in certificates:
        for other in certificates:
            if one.public_key() != other.public_key() and _has_signed(one, other):
                raise ValueError(
                    "one of its certificates has signed another: leave those of authorities out, because every key in "
                    "this file can sign tokens"
                )


def _has_signed(authority: Certificate, certificate: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def read_key_set(text: bytes, algorithms: Sequence[str] = USUAL_PUBLIC_ALGORITHMS) -> tuple[VerificationKey, ...]:
    """Return the keys of a JWK Set that verify signatures (RFC 7517, section 5).

    Keys for other uses or of an unknown kind are skipped, as the RFC demands; so are secrets, which do not belong in a
    public document.

    :param algorithms: the allowed algorithms; each key gets those of its kind, or only its own ``alg``

    Raises ``ValueError`` if it is not a JWK Set, or has no such key.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    match document:
        case {"keys": [*entries]}:
            found = [_read_jwk(entry, algorithms) for entry in entries[:_MOST_OF_SET] if isinstance(entry, dict)]
        case _:
            raise ValueError("it is not a JWK Set: it has no list of keys")
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError(f"it has no key for {', '.join(algorithms)} (alg= names the algorithms)")
    return keys


def _read_jwk(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> VerificationKey | None:
    operations = jwk.get("key_ops", ["verify"])
    kind, key_id = jwk.get("kty"), jwk.get("kid")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    is_for_signatures = jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    if reader is None or not is_for_signatures or not isinstance(key_id, str | None):
        return None
    if "alg" in jwk:
        algorithms = [name for name in algorithms if name == jwk["alg"]]
    try:
        return _public_key(reader.from_jwk(dict(jwk)), key_id, algorithms)  # refuses private keys
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):  # what PyJWT raises for a malformed key
        return None


def _public_key(key: object, key_id: str | None, algorithms: Sequence[str]) -> VerificationKey:
    match key:
        case RSAPublicKey() if key.key_size < _RSA_BITS:
            raise ValueError(f"an RSA key needs at least {_RSA_BITS} bits (RFC 7518, section 3.3)")
        case RSAPublicKey():
            possible: Sequence[str] = _RSA
        case EllipticCurvePublicKey():
            possible = [name for name, curve in _CURVES.items() if isinstance(key.curve, curve)]
        case Ed25519PublicKey():
            possible = (_EDDSA,)
        case _:
            possible = ()
    if not isinstance(key, PublicKey) or not possible:
        raise ValueError("a key is not RSA, P-256, P-384, P-521 or Ed25519")
    chosen = tuple(name for name in algorithms if name in possible)
    if not chosen:
        raise ValueError(
            f"it holds a key for {' or '.join(possible)}, but the allowed algorithms are {', '.join(algorithms)} "
            "(alg= names them)"
        )
    return VerificationKey(chosen, key, key_id)
