"""Shared by the tests of authenticators: a clock for both times, keys, tokens and credentials."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.auth import make_authenticator
from airyd.errors import LoginFault, LoginRefused
from airyd.interfaces import AuthenticatorContext, Credentials, IAuthenticator, IPrincipal, Opening
from airyd.limits import Limits
from tests.leaks import MARK

#: The secret of HS256, and when the tests happen.
SECRET: Final = f"a-secret-of-airy-{MARK}-that-nobody-is-to-see"
NOW: Final = 1_795_000_000.0
USER: Final = "6ae85efa-cd94-44e3-8068-0348fdf9117b"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_JWS: Final = PyJWS()


def authenticator(
    spec: str, clock: Clock | None = None, token_size: int = Limits().token_size, **environ: str
) -> IAuthenticator:
    """Return the authenticator of a spec; the given or a new clock is both reactor and wall clock."""
    clock = clock or Clock()
    context = AuthenticatorContext(
        cast(IReactorCore, clock), lambda: NOW + clock.seconds(), {"SECRET": SECRET, **environ}, token_size
    )
    return make_authenticator(spec, context)


def private_key(algorithm: str, number: int = 0) -> PrivateKey:
    """Return a key for an algorithm; the same number gives the same key, because making one is slow."""
    return _private_key(algorithm, number)


def log_in(door: IAuthenticator, credentials: Credentials) -> Deferred[IPrincipal]:
    """Ask an authenticator; the answer may be there at once."""
    return maybeDeferred(cast(Callable[[Credentials], Deferred[IPrincipal]], door.authenticate), credentials)


@cache
def _private_key(algorithm: str, number: int) -> PrivateKey:
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    curves: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(key: PrivateKey) -> bytes:
    """Return the PEM of a private key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PrivateKey) -> bytes:
    """Return the PEM of its public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, key_id: str | None, **more: Any) -> dict[str, Any]:
    """Return the JWK of its public half."""
    match key:
        case rsa.RSAPrivateKey():
            members = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case ec.EllipticCurvePrivateKey():
            members = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            members = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members.pop("key_ops", None)
    return {**members, **({} if key_id is None else {"kid": key_id}), **more}


def claims(**changed: Any) -> dict[str, Any]:
    """Return Airy's claims; a change to None leaves the claim out."""
    airys = {"user_id": USER, "sub": USER, "jti": USER, "iat": int(NOW), "exp": int(NOW) + 86400}
    return {name: value for name, value in {**airys, **changed}.items() if value is not None}


def token(
    payload: Mapping[str, Any] | bytes | None = None,
    key: PrivateKey | bytes | str = SECRET,
    algorithm: str | None = "HS256",
    **header: Any,
) -> str:
    """Return a signed token."""
    text = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    return _JWS.encode(text, key, algorithm, headers=header or None)


def segment(text: bytes) -> str:
    """Return a segment of a token."""
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def bearer(text: str) -> Credentials:
    """Return credentials with a token in CONNECT's Authorization, as Airy's client sends it."""
    return Credentials(None, None, {"Authorization": f"Bearer {text}"})


def in_handshake(authorization: str | None = None, cookie: str | None = None) -> Credentials:
    """Return credentials from the opening handshake only."""
    return Credentials(None, None, {}, Opening(authorization, cookie))


class AccessCase(SynchronousTestCase):
    """A test of logins."""

    def setUp(self) -> None:
        """Make a clock."""
        self.clock = Clock()

    def made(self, spec: str = "jwt:secret-env=SECRET", **environ: str) -> IAuthenticator:
        """Return the authenticator of a spec, on the test's clock."""
        return authenticator(spec, self.clock, Limits().token_size, **environ)

    def file(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path.absolute())

    def let_in(self, door: IAuthenticator, credentials: Credentials) -> IPrincipal:
        """Assert that a client is accepted at once; return its principal."""
        principal: IPrincipal = self.successResultOf(log_in(door, credentials))
        return principal

    def refused(self, door: IAuthenticator, credentials: Credentials) -> LoginFault:
        """Assert that a client is refused at once, without quoting its credentials; return the error."""
        failure = self.failureResultOf(log_in(door, credentials), LoginRefused)
        error = failure.value
        said = f"{error} {error!r} {error.stomp_error()}"
        shown = (credentials.passcode, *credentials.headers.values(), *credentials.opening)
        for text in filter(None, shown):
            for part in text.removeprefix("Bearer ").split("."):
                self.assertFalse(len(part) > 10 and part in said, said)
        self.assertNotIn(SECRET, said)
        fault: LoginFault = error.fault
        return fault
