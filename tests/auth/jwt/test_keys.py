"""The keys of one issuer: several secrets, several public keys, and the algorithms of each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from airyd.auth.jwt.keys import MOST_KEYS, PUBLIC_ALGORITHMS, SECRET_ALGORITHMS, VerificationKey
from airyd.auth.jwt.signature import read_header, verified_claims
from airyd.client.token_refresh import check_subject
from airyd.errors import ConfigurationError, LoginFault, LoginRefused
from airyd.interfaces import IAuthenticator, IPrincipal
from airyd.metrics import Metrics
from tests.auth.case import (
    AccessCase,
    PrivateKey,
    bearer,
    claims,
    jwk,
    log_in,
    private_key,
    private_pem,
    public_pem,
    segment,
    token,
)
from tests.leaks import MARK

#: Long enough for HS512.
OLD: Final = f"the-old-secret-{MARK}-".ljust(64, "o")
NEW: Final = f"the-new-secret-{MARK}-".ljust(64, "n")
ALL: Final = (*SECRET_ALGORITHMS, *PUBLIC_ALGORITHMS)


def signed_with(algorithm: str) -> PrivateKey | str:
    """Return a key that can sign by an algorithm, always the same."""
    return OLD if algorithm in SECRET_ALGORITHMS else private_key(algorithm)


def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate in PEM."""
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
    return (
        x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(by, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


class KeysCase(AccessCase):
    """A test of logins with keys in files."""

    def with_secrets(self, content: bytes | str, words: str = "") -> IAuthenticator:
        """Return an authenticator with a file of secrets."""
        data = content if isinstance(content, bytes) else content.encode()
        return self.made(f"jwt:secret-file={self.file(data)}{words}")

    def with_keys(self, *pems: bytes, words: str = "") -> IAuthenticator:
        """Return an authenticator with a file of public keys."""
        return self.made(f"jwt:key-file={self.file(b''.join(pems))}{words}")

    def with_set(self, *keys: dict[str, Any], words: str = "") -> IAuthenticator:
        """Return an authenticator with a JWK Set in a file."""
        door = self.made(f"jwt:jwks={self.file(json.dumps({'keys': keys}).encode())}{words}")
        door.start()
        self.addCleanup(door.stop)
        return door

    def said(self, spec: str) -> str:
        """Return why a spec is refused, in one line without secrets."""
        text = str(self.assertRaises(ConfigurationError, self.made, spec))
        self.assertEqual(len(text.splitlines()), 1)
        self.assertNotIn(MARK, text)
        return text

    def assert_same_user(self, before: IPrincipal, after: IPrincipal) -> None:
        """Assert that both principals are the same user, as a token refresh requires."""
        check_subject(before, after, Metrics(), "peer")


class SecretsTests(KeysCase):
    """``secret-file=`` with several secrets."""

    def test_any_is_good(self) -> None:
        for content in (f"{NEW}\n{OLD}\n", f"{OLD}\n{NEW}", f"\n{NEW}\r\n\r\n{OLD}\r\n\n", f"{NEW}\n" * 9 + OLD):
            door = self.with_secrets(content)
            old, new = (self.let_in(door, bearer(token(key=secret))) for secret in (OLD, NEW))
            self.assert_same_user(old, new)
            self.assert_same_user(new, old)
            other = bearer(token(key="another-secret-which-is-as-long-as-it-must-be"))
            self.assertEqual(self.refused(door, other), LoginFault.SIGNATURE)
            self.assertEqual(self.refused(door, bearer(token(claims(exp=1), OLD))), LoginFault.EXPIRED)
        self.assertEqual(self.refused(self.with_secrets(NEW), bearer(token(key=OLD))), LoginFault.SIGNATURE)

    def test_which_keys_were_tried(self) -> None:
        """The log says which key a signature does not match, in words."""
        one, two = jwk(private_key("RS256"), "one"), jwk(private_key("RS256", 1), "two")
        other = private_key("RS256", 2)
        for door, credentials, keys in [
            (self.with_secrets(NEW), token(key=OLD), "the key for HS256"),
            (self.with_secrets(f"{NEW}\n{NEW}x"), token(key=OLD), "any of the 2 keys for HS256"),
            (self.with_set(one, two), token(key=other, algorithm="RS256", kid="two"), "the key 'two' for RS256"),
        ]:
            error = self.failureResultOf(log_in(door, bearer(credentials)), LoginRefused).value
            self.assertEqual(str(error), f"the signature does not match {keys}")

    def test_two_auths_are_two_realms(self) -> None:
        """Equal names of two issuers are different users, even with the same secret."""
        one, other = (self.let_in(self.with_secrets(OLD), bearer(token(key=OLD))) for _ in range(2))
        self.assertEqual(one.name, other.name)
        self.assertRaises(LoginRefused, self.assert_same_user, one, other)

    def test_of_the_environment(self) -> None:
        for text in (f"{NEW}\n{OLD}", f"{OLD}\r\n{NEW}\n"):
            door = self.made("jwt:secret-env=BOTH", BOTH=text)
            for secret in (OLD, NEW):
                self.let_in(door, bearer(token(key=secret)))
        odd = "\udcff" * 40  # how Python represents environment bytes that are not UTF-8
        self.let_in(self.made("jwt:secret-env=ODD", ODD=odd), bearer(token(key=b"\xff" * 40)))

    def test_base64(self) -> None:
        secrets = [b"\xfb\xff\n" * 16, b"\0" * 32 + b"x", b"#" * 48]
        lines = [
            base64.b64encode(secrets[0]),
            base64.urlsafe_b64encode(secrets[1]).rstrip(b"="),
            b"Iy" + b"MjIy" * 15 + b"Mj",
        ]
        door = self.with_secrets(b"\n".join(lines), ":base64")
        for secret in secrets:
            self.let_in(door, bearer(token(key=secret)))

    def test_bytes_are_one_secret(self) -> None:
        """One binary secret is accepted, unless it contains a line feed: then its meaning is ambiguous."""
        secret = bytes(range(128, 180))
        self.let_in(self.with_secrets(secret + b"\n"), bearer(token(key=secret)))
        for content in (secret + b"\n" + secret, OLD.encode() + b"\n" + secret, b"\0" * 40 + b"\n" + OLD.encode()):
            self.assertIn("give it as base64", self.said(f"jwt:secret-file={self.file(content)}"))

    def test_wrong(self) -> None:
        for content, words, expected in (
            (f"{OLD}\nshort-{MARK}\n", "", f"line 2: the secret has {len(MARK) + 6} bytes"),
            (f"{OLD}\n\n#{NEW}\n", "", "line 3: there are no comments"),
            (f"# the old secret of {MARK}, until the end of the month\n", "", "there are no comments"),
            (f"{OLD}\n-----BEGIN PUBLIC KEY-----\n", "", "key-file"),
            (f"{OLD}!\n{OLD}\n", ":base64", "line 1: the secret is not base64"),
            (
                f"{'QUJD' * 16}\nQUJD\n",
                ":base64",
                "line 2: the secret has 3 bytes",
            ),  # as openssl rand -base64 51 has it
            (base64.b64encode(b"-----BEGIN PUBLIC KEY-----hunter2").decode(), ":base64", "key-file"),
            (OLD[:63], ":alg=HS512", "the secret has 63 bytes, but HS512 needs at least 64"),
            (OLD[:47], ":alg=HS256,HS384", "the secret has 47 bytes, but HS384 needs at least 48"),
            (f"{OLD}\n{NEW[:63]}", ":alg=HS512", "line 2: the secret has 63 bytes"),
            (" \n\r\n\t\n", "", "there is no secret in it"),
        ):
            self.assertIn(expected, self.said(f"jwt:secret-file={self.file(content.encode())}{words}"))

    def test_most(self) -> None:
        """A bad token is tried with each."""
        secrets = [f"{number}{OLD}" for number in range(MOST_KEYS + 1)]
        self.let_in(self.with_secrets("\n".join(secrets[:-1])), bearer(token(key=secrets[-2])))
        too_many = self.file("\n".join(secrets).encode())
        self.assertIn(f"holds {MOST_KEYS + 1} secrets", self.said(f"jwt:secret-file={too_many}"))


class PublicKeysTests(KeysCase):
    """``key-file=`` with several keys."""

    def test_any_is_good(self) -> None:
        """Of one kind or of several, with text between them, with a ``kid`` or without."""
        keys = [("RS256", 0), ("ES256", 0), ("RS256", 1), ("EdDSA", 0), ("ES256", 1)]
        pems = [b"# %d\n%s\n" % (number, public_pem(private_key(*key))) for number, key in enumerate(keys)]
        door = self.with_keys(*pems, pems[0])
        heads: tuple[dict[str, Any], ...] = ({}, {"kid": "k"})
        principals = [
            self.let_in(door, bearer(token(key=private_key(*key), algorithm=key[0], **header)))
            for key in keys
            for header in heads
        ]
        for principal in principals[1:]:
            self.assert_same_user(principals[0], principal)
        other = bearer(token(key=private_key("RS256", 2), algorithm="RS256"))
        self.assertEqual(self.refused(door, other), LoginFault.SIGNATURE)
        self.assertEqual(self.refused(door, bearer(token())), LoginFault.ALGORITHM)

    def test_certificates(self) -> None:
        """An old and a renewed self-signed certificate with the same name."""
        old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        pems = [certificate("idp", each, "idp", each) for each in (old, new, new)]
        door = self.with_keys(*pems, public_pem(private_key("EdDSA")))
        for key in (old, new):
            self.let_in(door, bearer(token(key=key, algorithm="ES256")))

    def test_chain(self) -> None:
        """The key of a certificate authority is not a key for tokens."""
        authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        chain = certificate("idp", key, "ca", authority), certificate("ca", authority, "ca", authority)
        for pems in (chain, chain[::-1]):
            self.assertIn("has signed another", self.said(f"jwt:key-file={self.file(b''.join(pems))}"))

    def test_wrong(self) -> None:
        pem, other = public_pem(private_key("RS256")), public_pem(private_key("ES256"))
        weak = public_pem(rsa.generate_private_key(65537, 1024))  # noqa: S505  # that is the point
        bitcoin = public_pem(ec.generate_private_key(ec.SECP256K1()))
        request = pem.replace(b"PUBLIC KEY", b"CERTIFICATE REQUEST")
        for content, words, expected in (
            (pem + other[:-40], "", "has no end"),
            (other[:-40] + pem, "", "has no end"),
            (b"-----BEGIN X-----" * 15_000 + pem, "", "has no end"),
            (pem + private_pem(private_key("ES256")), "", "private key"),
            (pem + weak, "", "2048 bits"),
            (pem + bitcoin, "", "not RSA, P-256"),
            (pem + request, "", "no public key in PEM"),
            (
                pem + public_pem(private_key("ES384")),
                "",
                "it holds a key for ES384, but the allowed algorithms are RS256, ES256",
            ),
            (pem + other, ":alg=RS256", "it holds a key for ES256, but the allowed algorithms are RS256"),
            (pem, ":alg=RS256,ES384", "no key for ES384"),
        ):
            self.assertIn(expected, self.said(f"jwt:key-file={self.file(content)}{words}"))

    def test_most(self) -> None:
        pems = [public_pem(private_key("EdDSA", number)) for number in range(MOST_KEYS + 1)]
        self.with_keys(*pems[:-1])
        self.assertIn(f"{MOST_KEYS} is the limit", self.said(f"jwt:key-file={self.file(b''.join(pems))}"))


class AuthoritiesTests(KeysCase):
    """``ca-file=``."""

    def test_large(self) -> None:
        """Some systems have more than 256 KiB of authorities in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = certificate("ca", key, "ca", key)
        file = self.file(pem + b"# text\n" * 50_000 + pem)
        self.made(f"jwt:jwks=https://idp.example/keys:ca-file={file}")


class AlgorithmsTests(KeysCase):
    """``alg=``."""

    def door(self, algorithm: str, words: str) -> IAuthenticator:
        """Return an authenticator with the key that signs by this algorithm."""
        key = signed_with(algorithm)
        return self.with_secrets(key, words) if isinstance(key, str) else self.with_keys(public_pem(key), words=words)

    def test_each_where_it_is_named(self) -> None:
        for algorithm in ALL:
            good = bearer(token(key=signed_with(algorithm), algorithm=algorithm))
            self.let_in(self.door(algorithm, f":alg={algorithm}"), good)
            if algorithm in PUBLIC_ALGORITHMS:
                key = private_key(algorithm)
                self.let_in(self.with_set(jwk(key, None), words=f":alg={algorithm}"), good)
                self.let_in(
                    self.with_set(jwk(key, None, alg=algorithm), words=":alg=" + ",".join(PUBLIC_ALGORITHMS)), good
                )

    def test_not_where_it_is_not(self) -> None:
        """A key is refused for every algorithm but the one in alg=."""
        families = (SECRET_ALGORITHMS, [name for name in ALL if name.startswith(("RS", "PS"))])
        for family in families:
            for named in family:
                key = signed_with(family[0])
                words = f":alg={named}"
                doors = (
                    [self.with_secrets(key, words)]
                    if isinstance(key, str)
                    else [
                        self.with_keys(public_pem(key), words=words),
                        self.with_set(jwk(key, "k"), words=words),
                    ]
                )
                for algorithm in family:
                    credentials = bearer(token(key=key, algorithm=algorithm, kid="k"))
                    for door in doors:
                        if algorithm == named:
                            self.let_in(door, credentials)
                        else:
                            self.assertEqual(self.refused(door, credentials), LoginFault.ALGORITHM)

    def test_several(self) -> None:
        """Two algorithms at once, as while an issuer changes its algorithm."""
        secrets = self.with_secrets(f"{OLD}\n{NEW}", ":alg=HS256,HS512")
        keys = private_key("RS256"), private_key("ES384")
        public = self.with_keys(*map(public_pem, keys), words=":alg=RS256,PS256,ES384")
        for door, key, good, bad in (
            (secrets, OLD, ("HS256", "HS512"), ("HS384",)),
            (secrets, NEW, ("HS256", "HS512"), ("HS384",)),
            (public, keys[0], ("RS256", "PS256"), ("RS512", "PS384")),
            (public, keys[1], ("ES384",), ()),
        ):
            for algorithm in good:
                self.let_in(door, bearer(token(key=key, algorithm=algorithm)))
            for algorithm in bad:
                credentials = bearer(token(key=key, algorithm=algorithm))
                self.assertEqual(self.refused(door, credentials), LoginFault.ALGORITHM)

    def test_usual(self) -> None:
        """Without alg= there is one algorithm for each kind of key, whatever its length."""
        for algorithm in ALL:
            credentials = bearer(token(key=signed_with(algorithm), algorithm=algorithm))
            usual = algorithm in ("HS256", "RS256", "ES256", "EdDSA")
            if algorithm in ("ES384", "ES512"):
                spec = f"jwt:key-file={self.file(public_pem(private_key(algorithm)))}"
                self.assertIn(f"it holds a key for {algorithm}", self.said(spec))
            elif usual:
                self.let_in(self.door(algorithm, ""), credentials)
            else:
                self.assertEqual(self.refused(self.door(algorithm, ""), credentials), LoginFault.ALGORITHM)

    def test_sets(self) -> None:
        """A key's own ``alg`` restricts it, and allows nothing that alg= doesn't."""
        key, other = private_key("RS256"), private_key("ES384")
        door = self.with_set(jwk(key, "pss", alg="PS256"), jwk(key, "rs"), jwk(other, "ec"), words=":alg=RS256,PS256")
        for algorithm, key_id, fault in (
            ("PS256", "pss", None),
            ("RS256", "pss", LoginFault.UNKNOWN_KEY),
            ("RS256", "rs", None),
            ("PS256", "rs", None),
            ("RS512", "rs", LoginFault.ALGORITHM),
        ):
            credentials = bearer(token(key=key, algorithm=algorithm, kid=key_id))
            if fault is None:
                self.let_in(door, credentials)
            else:
                self.assertEqual(self.refused(door, credentials), fault, (algorithm, key_id))
        credentials = bearer(token(key=other, algorithm="ES384", kid="ec"))
        self.assertEqual(self.refused(door, credentials), LoginFault.ALGORITHM)

    def test_keys_of_a_set_with_one_name(self) -> None:
        """Some issuers give two keys one ``kid``: both are tried."""
        keys = [private_key("ES256", number) for number in range(2)]
        door = self.with_set(*(jwk(key, "k") for key in keys))
        for key in keys:
            self.let_in(door, bearer(token(key=key, algorithm="ES256", kid="k")))

    def test_most_keys_of_a_set_with_one_name(self) -> None:
        """Of many keys with one kid only the last eight are tried."""
        keys = [private_key("ES256", number) for number in range(MOST_KEYS + 1)]
        door = self.with_set(*(jwk(key, "k") for key in keys))
        first, *others = (bearer(token(key=key, algorithm="ES256", kid="k")) for key in keys)
        self.assertEqual(self.refused(door, first), LoginFault.SIGNATURE)
        for credentials in others:
            self.let_in(door, credentials)

    def test_a_key_is_tried_with_its_own_algorithms_alone(self) -> None:
        """Whichever keys are given to verify with."""
        key = VerificationKey(("HS384",), OLD.encode())
        made = token(key=OLD)
        refused = self.assertRaises(LoginRefused, verified_claims, made, read_header(made, 8192), [key])
        self.assertEqual(refused.fault, LoginFault.ALGORITHM)

    def test_public_keys_are_no_secrets(self) -> None:
        """No public text is accepted as a signing secret, whatever the keys."""
        key = private_key("RS256")
        texts = [public_pem(key), public_pem(key).strip(), json.dumps(jwk(key, None)).encode()]
        texts.append(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        named = ":alg=" + ",".join(name for name in PUBLIC_ALGORITHMS if name.startswith(("RS", "PS")))
        doors = [
            door
            for words in ("", named)
            for door in (
                self.with_keys(public_pem(key), words=words),
                self.with_set(jwk(key, "k"), words=words),
            )
        ]
        for name in SECRET_ALGORITHMS:
            start = (
                f"{segment(json.dumps({'alg': name, 'kid': 'k'}).encode())}.{segment(json.dumps(claims()).encode())}"
            )
            for text in texts:
                digest = hmac.new(text, start.encode(), getattr(hashlib, name.replace("HS", "sha"))).digest()
                for door in doors:
                    self.assertEqual(self.refused(door, bearer(f"{start}.{segment(digest)}")), LoginFault.ALGORITHM)

    def test_wrong(self) -> None:
        secret = f"jwt:secret-file={self.file(OLD.encode())}"
        public = f"jwt:key-file={self.file(public_pem(private_key('RS256')))}"
        for spec, expected in (
            (f"{secret}:alg=none", "There are: HS256, HS384, HS512"),
            (f"{secret}:alg=hs512", "did you mean HS512?"),
            (f"{secret}:alg=HS512,", "with commas between them"),
            (f"{secret}:alg=HS256, HS512", "with commas between them"),
            (f"{secret}:alg=RS256", "alg=RS256 is not for the keys of secret-file="),
            (f"{public}:alg=HS256", "alg=HS256 is not for the keys of key-file="),
            (f"{public}:alg=RS256,HS512", "alg=HS512 is not for the keys of key-file="),
            (f"{public}:alg=none", "There are: RS256"),
            ("jwt:jwks=/keys:alg=HS256", "alg=HS256 is not for the keys of jwks="),
        ):
            self.assertIn(expected, self.said(spec))
