"""Attacks on tokens, each with its refusal (docs/security.rst, "Threats to the login")."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, NamedTuple

from airyd.errors import LoginFault, LoginRefused
from airyd.interfaces import IAuthenticator
from airyd.limits import MOST_TOKEN_SIZE
from tests.auth.case import (
    NOW,
    SECRET,
    USER,
    AccessCase,
    authenticator,
    bearer,
    claims,
    jwk,
    log_in,
    private_key,
    public_pem,
    segment,
    token,
)

HS256 = b'{"alg":"HS256"}'
RSA = private_key("RS256")
OTHER_RSA = private_key("RS256", 1)


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    """Return a token with this header and an invalid signature."""
    return f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims()).encode())}.{signature}"


def hs256(header: bytes, key: bytes = SECRET.encode()) -> str:
    """Return an HS256 token that PyJWT would not make: signed with a PEM, or with a strange header."""
    start = f"{segment(header)}.{segment(json.dumps(claims()).encode())}"
    return f"{start}.{segment(hmac.new(key, start.encode(), hashlib.sha256).digest())}"


def nested(depth: int) -> bytes:
    """Return claims with a list of lists."""
    return json.dumps(claims(x="X")).encode().replace(b'"X"', b"[" * depth + b"]" * depth)


class Attack(NamedTuple):
    """One attack: the token, its fault, and the authenticator's keys."""

    name: str
    token: str
    answer: LoginFault
    door: str = "secret"


GOOD = token()
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
ATTACKS = (
    # The signature is left out, or of the wrong kind.
    Attack("alg none", unsigned({"alg": "none"}), LoginFault.ALGORITHM),
    Attack("alg None", unsigned({"alg": "None"}), LoginFault.ALGORITHM),
    Attack("alg nOnE with a signature", unsigned({"alg": "nOnE"}, SIGNATURE), LoginFault.ALGORITHM),
    Attack("alg empty", unsigned({"alg": ""}), LoginFault.ALGORITHM),
    Attack("alg left out", unsigned({"typ": "JWT"}, SIGNATURE), LoginFault.ALGORITHM),
    Attack("alg a list", unsigned({"alg": ["HS256"]}, SIGNATURE), LoginFault.ALGORITHM),
    Attack("no signature", f"{HEAD}.{PAYLOAD}.", LoginFault.SIGNATURE),
    Attack("HS512, which the secret would do for", token(algorithm="HS512", key=SECRET * 2), LoginFault.ALGORITHM),
    # One key used as if it were another kind of key.
    Attack("HS256 with the RSA public key", hs256(HS256, public_pem(RSA)), LoginFault.ALGORITHM, "rsa"),
    Attack("the same, without the line end", hs256(HS256, public_pem(RSA).strip()), LoginFault.ALGORITHM, "rsa"),
    Attack(
        "HS256 with the key of the JWKS",
        hs256(b'{"alg":"HS256","kid":"k"}', public_pem(RSA)),
        LoginFault.ALGORITHM,
        "jwks",
    ),
    Attack("RS256 for a secret", token(key=RSA, algorithm="RS256"), LoginFault.ALGORITHM),
    Attack("ES256 for an RSA key", token(key=private_key("ES256"), algorithm="ES256"), LoginFault.ALGORITHM, "rsa"),
    Attack(
        "the kid of an RSA key on ES256",
        token(key=private_key("ES256"), algorithm="ES256", kid="k"),
        LoginFault.UNKNOWN_KEY,
        "jwks",
    ),
    # Somebody else's key.
    Attack("another secret", token(key="another-secret-which-is-as-long-as-it-must-be"), LoginFault.SIGNATURE),
    Attack("another RSA key", token(key=OTHER_RSA, algorithm="RS256"), LoginFault.SIGNATURE, "rsa"),
    Attack("a known kid, another key", token(key=OTHER_RSA, algorithm="RS256", kid="k"), LoginFault.SIGNATURE, "jwks"),
    Attack("an unknown kid", token(key=RSA, algorithm="RS256", kid="x"), LoginFault.UNKNOWN_KEY, "jwks"),
    Attack("a kid that is a path", token(key=RSA, algorithm="RS256", kid="../k"), LoginFault.UNKNOWN_KEY, "jwks"),
    Attack("a kid that is not text", unsigned({"alg": "RS256", "kid": ["k"]}, SIGNATURE), LoginFault.MALFORMED, "jwks"),
    Attack(
        "its own key in the header",
        token(key=OTHER_RSA, algorithm="RS256", kid="k", jwk=jwk(OTHER_RSA, "k")),
        LoginFault.SIGNATURE,
        "jwks",
    ),
    Attack(
        "its own key's address in the header",
        token(key=OTHER_RSA, algorithm="RS256", kid="y", jku="https://evil.example/keys"),
        LoginFault.UNKNOWN_KEY,
        "jwks",
    ),
    # The time, and for whom it is.
    Attack("expired", token(claims(exp=NOW - 1)), LoginFault.EXPIRED),
    Attack("expired at this moment", token(claims(exp=NOW)), LoginFault.EXPIRED),
    Attack("no expiry", token(claims(exp=None)), LoginFault.NO_EXPIRY),
    Attack("expiry null", token(json.dumps({**claims(), "exp": None}).encode()), LoginFault.CLAIM),
    Attack("expiry a text", token(claims(exp=str(NOW + 9))), LoginFault.CLAIM),
    Attack("expiry true", token(claims(exp=True)), LoginFault.CLAIM),
    Attack("expiry Infinity", token(json.dumps(claims(exp=float("inf"))).encode()), LoginFault.MALFORMED),
    Attack("expiry 1e999", token(json.dumps(claims(exp="E")).replace('"E"', "1e999").encode()), LoginFault.CLAIM),
    Attack("expiry of 400 digits", token(claims(exp=10**400)), LoginFault.CLAIM),
    Attack("expiry of 5000 digits", token(b'{"exp":%s}' % (b"9" * 5000)), LoginFault.MALFORMED),
    Attack("expiry in milliseconds", token(claims(exp=int(NOW + 60) * 1000)), LoginFault.NO_EXPIRY),
    Attack("expiry in microseconds", token(claims(exp=int(NOW + 60) * 10**6)), LoginFault.NO_EXPIRY),
    Attack("expiry in the year 10000", token(claims(exp=253402300800)), LoginFault.NO_EXPIRY),
    Attack("expiry 1e300", token(claims(exp=1e300)), LoginFault.NO_EXPIRY),
    Attack("expiry in more than ten years", token(claims(exp=NOW + 3653 * 86400)), LoginFault.NO_EXPIRY),
    Attack("expiry below zero", token(claims(exp=-1e300)), LoginFault.EXPIRED),
    Attack("issued in milliseconds", token(claims(iat=int(NOW) * 1000)), LoginFault.CLAIM),
    Attack("issued at 1e300", token(claims(iat=1e300)), LoginFault.CLAIM),
    Attack("issued at false", token(claims(iat=False)), LoginFault.CLAIM),
    Attack("issued at a list", token(claims(iat=[NOW])), LoginFault.CLAIM),
    Attack("not yet valid, in milliseconds", token(claims(nbf=int(NOW) * 1000)), LoginFault.NOT_YET_VALID),
    Attack("not yet valid, at 1e300", token(claims(nbf=1e300)), LoginFault.NOT_YET_VALID),
    Attack("not yet valid, true", token(claims(nbf=True)), LoginFault.CLAIM),
    Attack("not yet valid, null", token(json.dumps({**claims(), "nbf": None}).encode()), LoginFault.CLAIM),
    Attack("not yet valid", token(claims(nbf=NOW + 60)), LoginFault.NOT_YET_VALID),
    Attack("not yet valid, as a text", token(claims(nbf="tomorrow")), LoginFault.CLAIM),
    Attack("issued at a text", token(claims(iat="today")), LoginFault.CLAIM),
    Attack("a number for its jti", token(claims(jti=7)), LoginFault.CLAIM),
    Attack("its jti null", token(json.dumps({**claims(), "jti": None}).encode()), LoginFault.CLAIM),
    Attack("its jti empty", token(claims(jti="")), LoginFault.CLAIM),
    Attack("its jti of 256 characters", token(claims(jti="j" * 256)), LoginFault.CLAIM),
    Attack("its jti with a line end", token(claims(jti="j\n")), LoginFault.CLAIM),
    Attack("for an audience, where none is configured", token(claims(aud="another")), LoginFault.AUDIENCE),
    Attack("another audience", token(claims(iss="idp", aud="other")), LoginFault.AUDIENCE, "strict"),
    Attack("audiences without ours", token(claims(iss="idp", aud=["a", "b"])), LoginFault.AUDIENCE, "strict"),
    Attack("an audience that holds ours", token(claims(iss="idp", aud="airyd2")), LoginFault.AUDIENCE, "strict"),
    Attack("an audience of another type", token(claims(iss="idp", aud={"airyd": 1})), LoginFault.AUDIENCE, "strict"),
    Attack("no audience", token(claims(iss="idp")), LoginFault.AUDIENCE, "strict"),
    Attack("another issuer", token(claims(iss="idp2", aud="airyd")), LoginFault.ISSUER, "strict"),
    Attack("no issuer", token(claims(aud="airyd")), LoginFault.ISSUER, "strict"),
    Attack("expired, and for others", token(claims(iss="idp", aud="b", exp=1)), LoginFault.AUDIENCE, "strict"),
    # Who it is.
    Attack("subject a number", token(claims(sub=7)), LoginFault.SUBJECT),
    Attack("subject a list", token(claims(sub=[USER])), LoginFault.SUBJECT),
    Attack("subject empty", token(claims(sub="")), LoginFault.SUBJECT),
    Attack("no subject", token(claims(sub=None)), LoginFault.SUBJECT),
    Attack("subject that forges a log line", token(claims(sub="ann\n2026 ok")), LoginFault.SUBJECT),
    Attack("subject of 256 characters", token(claims(sub="x" * 256)), LoginFault.SUBJECT),
    # What it looks like.
    Attack("huge", token(claims(x="x" * 9000)), LoginFault.TOO_BIG),
    Attack("nested deep", token(nested(2500)), LoginFault.MALFORMED),
    Attack("a token in a token", token(GOOD.encode(), cty="JWT"), LoginFault.MALFORMED),
    Attack("claims that are a list", token(b"[1]"), LoginFault.MALFORMED),
    Attack("claims that are not JSON", token(b"{"), LoginFault.MALFORMED),
    Attack("claims that are not UTF-8", token(b'{"sub":"\xff"}'), LoginFault.MALFORMED),
    Attack("a claim twice", token(json.dumps(claims()).encode()[:-1] + b',"sub":"admin"}'), LoginFault.MALFORMED),
    Attack("a member of a claim twice", token(b'{"only":{"a":["1"],"a":["2"]}}'), LoginFault.MALFORMED),
    Attack("alg twice", hs256(b'{"alg":"none","alg":"HS256"}'), LoginFault.MALFORMED),
    Attack("an extension that must be understood", token(crit=["x"], x=1), LoginFault.MALFORMED),
    Attack("claims outside of the token (b64)", hs256(b'{"alg":"HS256","b64":false}'), LoginFault.MALFORMED),
    Attack("a header that is not JSON", f"{segment(b'{')}.{PAYLOAD}.{SIGNATURE}", LoginFault.MALFORMED),
    Attack("a header that is long", hs256(b'{"alg":"HS256","x":"%b"}' % (b"x" * 8000)), LoginFault.MALFORMED, "large"),
    Attack("a header that is a list", f"{segment(b'[]')}.{PAYLOAD}.{SIGNATURE}", LoginFault.MALFORMED),
    Attack("encrypted (JWE)", f"{HEAD}.a.b.c.d", LoginFault.MALFORMED),
    Attack("two segments", f"{HEAD}.{PAYLOAD}", LoginFault.MALFORMED),
    Attack("dots", "..", LoginFault.MALFORMED),
    Attack("one word", "hunter2hunter2", LoginFault.MALFORMED),
    Attack("other alphabets", "é.ü.ß", LoginFault.MALFORMED),
    Attack("padding in the middle", f"{HEAD}.{PAYLOAD}=.{SIGNATURE}", LoginFault.MALFORMED),
    # Changed on its way.
    Attack("truncated signature", GOOD[:-3], LoginFault.SIGNATURE),
    Attack("truncated by one character", GOOD[:-1], LoginFault.MALFORMED),
    Attack("longer by one character", f"{GOOD}A", LoginFault.SIGNATURE),
    Attack(
        "other claims", f"{HEAD}.{segment(json.dumps(claims(sub='admin')).encode())}.{SIGNATURE}", LoginFault.SIGNATURE
    ),
    Attack("another header", f"{segment(HS256 + b' ')}.{PAYLOAD}.{SIGNATURE}", LoginFault.SIGNATURE),
)


class AttackTests(AccessCase):
    """Each is refused for its reason, and the client learns only whether its token has expired."""

    maxDiff = None

    def setUp(self) -> None:
        """Make authenticators with all kinds of keys."""
        super().setUp()
        keys = json.dumps({"keys": [jwk(RSA, "k"), jwk(private_key("EdDSA"), "e")]}).encode()
        self.doors: dict[str, IAuthenticator] = {
            "secret": self.made(),
            "large": authenticator("jwt:secret-env=SECRET", self.clock, MOST_TOKEN_SIZE),
            "strict": self.made("jwt:secret-env=SECRET:issuer=idp:audience=airyd"),
            "rsa": self.made(f"jwt:key-file={self.file(public_pem(RSA))}"),
            "jwks": self.made(f"jwt:jwks={self.file(keys)}"),
        }
        for door in self.doors.values():
            door.start()
            self.addCleanup(door.stop)

    def test_good_ones_pass(self) -> None:
        """Each authenticator accepts a valid token."""
        for door, good in (
            ("secret", token()),
            ("strict", token(claims(iss="idp", aud=["x", "airyd"]))),
            ("rsa", token(key=RSA, algorithm="RS256")),
            ("rsa", token(key=RSA, algorithm="RS256", kid="any")),
            ("jwks", token(key=RSA, algorithm="RS256", kid="k")),
            ("jwks", token(key=RSA, algorithm="RS256")),
        ):
            self.assertEqual(self.let_in(self.doors[door], bearer(good)).name, USER, door)

    def test_reasons_are_short(self) -> None:
        """A log line stays short, however large a number in the token is."""
        for attack in ATTACKS:
            failure = self.failureResultOf(log_in(self.doors[attack.door], bearer(attack.token)), LoginRefused)
            self.assertLess(len(failure.value.reason), 300, attack.name)

    def test_attacks(self) -> None:
        answers = {attack.name: self.refused(self.doors[attack.door], bearer(attack.token)) for attack in ATTACKS}
        self.assertEqual(answers, {attack.name: attack.answer for attack in ATTACKS})
        self.assertEqual(len(answers), len(ATTACKS))
