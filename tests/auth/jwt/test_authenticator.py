"""The option ``--auth jwt:...``: keys, times, places of the token, and secrets in errors."""

from __future__ import annotations

import base64
import gc
import json
import tracemalloc
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.auth.credentials import find_token
from airyd.errors import ConfigurationError, LoginFault, LoginRefused
from airyd.events import MESSAGE, Event
from airyd.hub.row_filter import LazyRow
from airyd.interfaces import Credentials, IAuthenticator, IRevocable, Opening
from airyd.limits import MOST_TOKEN_SIZE
from tests.auth.case import (
    NOW,
    SECRET,
    USER,
    AccessCase,
    authenticator,
    bearer,
    claims,
    in_handshake,
    jwk,
    log_in,
    private_key,
    private_pem,
    public_pem,
    token,
)
from tests.sources.redis.certificates import Certificates

#: A certificate that is none.
BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#: A secret as a JWK (RFC 7517), which is not the secret itself.
JWK = b'{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"}'


class KeyTests(AccessCase):
    """The places of keys, and their algorithms."""

    def test_interface(self) -> None:
        verifyObject(IAuthenticator, self.made())
        verifyObject(IRevocable, self.let_in(self.made(), bearer(token())))

    def test_secret_of_the_environment(self) -> None:
        principal = self.let_in(self.made(), bearer(token()))
        self.assertEqual((principal.name, principal.expires), (USER, NOW + 86400))

    def test_secret_of_a_file(self) -> None:
        for content in (SECRET, f"{SECRET}\n", f"{SECRET}\r\n"):
            self.let_in(self.made(f"jwt:secret-file={self.file(content.encode())}"), bearer(token()))
        self.let_in(self.made(f"jwt:secret-file={self.file(SECRET.encode() + b' ')}"), bearer(token(key=f"{SECRET} ")))

    def test_base64_as_airys(self) -> None:
        """Either alphabet, with or without padding."""
        key = b"\xfb\xff\xbf" * 11
        padded = base64.b64encode(key + b"x")
        for text in (base64.b64encode(key), base64.urlsafe_b64encode(key) + b"\n"):
            self.let_in(self.made(f"jwt:secret-file={self.file(text)}:base64"), bearer(token(key=key)))
        for text in (padded, padded.rstrip(b"=")):
            self.let_in(self.made("jwt:base64:secret-env=B", B=text.decode()), bearer(token(key=key + b"x")))

    def test_public_keys(self) -> None:
        for algorithm in ("RS256", "ES256", "EdDSA"):
            key = private_key(algorithm)
            door = self.made(f"jwt:key-file={self.file(public_pem(key))}")
            self.let_in(door, bearer(token(key=key, algorithm=algorithm)))
            other = bearer(token(key=private_key(algorithm, 1), algorithm=algorithm))
            self.assertEqual(self.refused(door, other), LoginFault.SIGNATURE)

    def test_certificate(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        made = Certificates(directory)
        key = load_pem_private_key(Path(made.server_key).read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self.let_in(self.made(f"jwt:key-file={made.server}"), bearer(token(key=key, algorithm="ES256")))

    def test_rules(self) -> None:
        spec = r"jwt:secret-env=SECRET:issuer=https://idp.example:8443/a:audience=urn\:airyd:leeway=5:subject-claim=user_id"
        door = self.made(spec)
        good = claims(iss="https://idp.example:8443/a", aud="urn:airyd", exp=NOW - 4, nbf=NOW + 5, sub=None)
        principal = self.let_in(door, bearer(token(good)))
        self.assertEqual((principal.name, principal.expires), (USER, NOW + 1))
        self.clock.advance(1)
        self.assertEqual(self.refused(door, bearer(token(good))), LoginFault.EXPIRED)

    def test_eternal(self) -> None:
        door = self.made("jwt:secret-env=SECRET:allow-eternal")
        self.assertIsNone(self.let_in(door, bearer(token(claims(exp=None)))).expires)
        self.assertEqual(self.refused(door, bearer(token(claims(exp=1)))), LoginFault.EXPIRED)

    def test_as_good_as_eternal(self) -> None:
        """A token that expires in more than ten years has no expiry; an earlier one has."""
        door = self.made("jwt:secret-env=SECRET:allow-eternal")
        for far in (int(NOW) * 1000, 10**15, 1e300, NOW + 3653 * 86400):
            self.assertIsNone(self.let_in(door, bearer(token(claims(exp=far)))).expires)
        soon = NOW + 3652 * 86400 + 0.5
        for spec in ("jwt:secret-env=SECRET", "jwt:secret-env=SECRET:allow-eternal"):
            self.assertEqual(self.let_in(self.made(spec), bearer(token(claims(exp=soon)))).expires, soon)

    def test_leeway(self) -> None:
        """nbf has 5 s of leeway by default; exp and iat have none."""
        for words, ahead, behind in (("", 5, 0), (":leeway=0", 0, 0), (":leeway=2", 2, 2), (":leeway=30", 30, 30)):
            door = self.made(f"jwt:secret-env=SECRET{words}")
            principal = self.let_in(door, bearer(token(claims(nbf=NOW + ahead, iat=NOW + 9, exp=NOW + 9))))
            assert IRevocable.providedBy(principal)
            self.assertEqual((principal.issued, principal.expires), (NOW + 9 - behind, NOW + 9 + behind))
            early = bearer(token(claims(nbf=NOW + ahead + 1)))
            self.assertEqual(self.refused(door, early), LoginFault.NOT_YET_VALID)
            expired = bearer(token(claims(exp=NOW - behind)))
            self.assertEqual(self.refused(door, expired), LoginFault.EXPIRED)

    def test_time_is_the_wall_clock(self) -> None:
        door = self.made()
        self.clock.advance(86399)
        self.let_in(door, bearer(token()))
        self.clock.advance(1)
        self.assertEqual(self.refused(door, bearer(token())), LoginFault.EXPIRED)


class ConfigurationTests(AccessCase):
    """A wrong spec fails at the start with one line without secrets."""

    def test_wrong(self) -> None:
        secret = self.file(SECRET.encode())
        small = private_pem(private_key("ES256"))
        for spec, said in (
            ("jwt", "secret-file"),
            ("jwt:", "secret-file"),
            ("jwt:issuer=x", "secret-file"),
            (f"jwt:secret-env=SECRET:secret-file={secret}", "give one of"),
            ("jwt:secret-env=NOTHING", "NOTHING: the environment variable is not set"),
            ("jwt:secret-env=EMPTY", "EMPTY: there is no secret in it: it is empty"),
            ("jwt:secret-env=hunter2-hunter2", "takes the name of an environment variable"),
            (f"jwt:secret-file={self.file(b'')}", "there is no secret in it: it is empty"),
            (f"jwt:secret-file={self.mktemp()}", "there is no such file"),
            ("jwt:secret-file=/", "this is a folder"),
            ("jwt:secret-file=/dev/zero", "this is a device"),
            (f"jwt:key-file={self.file(b'')}", "no public key"),
            ("jwt:key-file=/no/such/file", "there is no such file"),
            ("jwt:secret-file=/no/such/file", "there is no such file"),
            (f"jwt:secret-file={self.file(b'hunter2')}", "32"),
            (f"jwt:secret-file={self.file(b'=hunter2=' * 9)}:base64", "not base64"),
            (f"jwt:secret-file={self.file(public_pem(private_key('RS256')))}", "key-file"),
            (f"jwt:secret-file={self.file(JWK)}", "jwks"),
            (f"jwt:key-file={secret}", "no public key"),
            (f"jwt:key-file={self.file(small)}", "private key"),
            (f"jwt:key-file={secret}:base64", "base64 is for secret-file= and secret-env="),
            ("jwt:jwks=http://idp.example/keys", "https:"),
            ("jwt:jwks=https://ann@idp.example/keys", "user name"),
            (r"jwt:jwks=https://ann\:hunter2@idp.example/keys", "user name"),
            (
                "jwt:jwks=https://ann:hunter2@idp.example/keys",
                r"parameter 2 is unknown (a colon within a value is written \:)",
            ),
            ("jwt:jwks=ftp://idp.example/keys", "URL"),
            ("jwt:jwks=https:///keys", "URL"),
            ("jwt:jwks=https:/idp/keys", "URL"),
            ("jwt:jwks=https://idp:99999/keys", "URL"),
            ("jwt:jwks=https://idp:0/keys", "URL"),
            ("jwt:jwks=https://idp/k#f", "URL"),
            ("jwt:jwks=https://idp/a b", "URL"),
            ("jwt:jwks=https://idp/\u00fc", "URL"),
            (r"jwt:jwks=https://[\:\:1/keys", "URL"),
            ("jwt:jwks=https://a..b/keys", "a..b is not a host name"),
            (f"jwt:jwks=https://{'a' * 64}/keys", "is not a host name"),
            (
                "jwt:jwks=https://idp.example/keys?hunter2:ca-file=/no/such/file",
                "ca-file /no/such/file: there is no such file",
            ),
            (f"jwt:jwks=https://idp.example/keys:ca-file={self.file(BROKEN)}", "a certificate in it is broken"),
            (f"jwt:secret-env=SECRET:ca-file={secret}", "ca-file"),
            (f"jwt:jwks=https://idp.example/keys:ca-file={secret}", "no certificate"),
            ("jwt:secret-env=SECRET:leeway=-1", "leeway"),
            ("jwt:secret-env=SECRET:leeway=nan", "leeway"),
            ("jwt:secret-env=SECRET:leeway=601", "from 0 to 600"),
            ("jwt:secret-env=SECRET:cookie=a;b", "cookie"),
            ("jwt:secret-env=SECRET:issuer=", "issuer"),
            ("jwt:secret-env=SECRET:allow-eternal=1", "takes no value"),
            ("jwt:secret-env=SECRET:base64:base64", "twice"),
            ("jwt:secret-env=SECRET:audiense=airyd", "unknown parameter 'audiense'; did you mean audience?"),
            ("jwt:secret-env=SECRET:base65", "unknown parameter 'base65'; did you mean base64?"),
            ("jwt:secret=hunter2", "unknown parameter 'secret'; did you mean"),
            ("jwt:secret-env=SECRET:colour=hunter2", "unknown parameter 'colour'. These are known here: secret-file="),
            ("jwt:secret-env=SECRET:hunter2", "parameter 2 is unknown"),
            ("jwt:secret-env=SECRET:", "parameter 2 is empty"),
            ("jtw:secret-env=SECRET", "did you mean jwt?"),
        ):
            error = self.assertRaises(ConfigurationError, self.made, spec, EMPTY="\n")
            self.assertIn(said, str(error), spec)
            self.assertEqual(len(str(error).splitlines()), 1, spec)
            self.assertNotIn(SECRET, str(error))
            self.assertNotIn("hunter2", str(error))

    def test_weak_rsa_key(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  # that is the point
        error = self.assertRaises(ConfigurationError, self.made, f"jwt:key-file={self.file(public_pem(weak))}")
        self.assertIn("2048 bits", str(error))

    def test_nothing_is_shown(self) -> None:
        """No repr contains a secret, a token or a cookie."""
        from airyd.auth.jwt.keys import secret_keys

        opening = Opening("Bearer hunter2", "session=hunter2")
        credentials = Credentials("ann", "hunter2", {"passcode": "hunter2"}, opening, "tcp4:192.0.2.1:1")
        for thing in (
            credentials,
            opening,
            *secret_keys(b"hunter2" * 5, False),
            self.made(),
            [credentials],
            f"{credentials}",
        ):
            self.assertNotIn("hunter2", repr(thing))

    def test_public(self) -> None:
        self.assertTrue(self.made().public)


class PlaceTests(SynchronousTestCase):
    """Where a token may be."""

    def test_places(self) -> None:
        for credentials, expected in (
            (bearer("t"), "t"),
            (Credentials(None, None, {"Authorization": "t"}), "t"),
            (Credentials(None, None, {"Authorization": "bearer  t "}), "t"),
            (Credentials(None, None, {"authorization": "Bearer t"}), "t"),
            (Credentials(None, None, {"Authorization": "Basic YW5uOnB3"}), None),
            (Credentials(None, None, {"Authorization": "Bearer"}), None),
            (Credentials(None, None, {"Authorization": "Bearer "}), None),
            (Credentials(None, None, {"Authorization": ""}), None),
            (Credentials("ann", "t", {}), "t"),
            (Credentials("ann", "", {}), None),
            (Credentials("t", None, {"token": "t", "jwt": "t"}), None),
            (in_handshake("Bearer t"), "t"),
            (in_handshake("Basic YW5uOnB3"), None),
            (in_handshake(cookie="a=b; token=t"), "t"),
            (in_handshake(cookie='token="t"; a=b'), "t"),
            (in_handshake(cookie="xtoken=u;token=t;token=v"), "t"),
            (in_handshake(cookie="token=; b=c"), None),
            (in_handshake(cookie="token"), None),
            (in_handshake(cookie="Token=t"), None),
            (in_handshake(cookie="city=\xc3\x85rhus; token=t"), "t"),
            (in_handshake(cookie="a=b;\ttoken\t=\tt\t; c=d"), "t"),
            (in_handshake(cookie="a=b;\x85token=t"), None),
            (in_handshake(cookie="a=b; token=\xa0t"), "\xa0t"),
            (in_handshake("\x85Bearer t"), None),
            (in_handshake("Bearer \x85t"), "\x85t"),
            (Credentials(None, None, {}), None),
        ):
            self.assertEqual(find_token(credentials, "token"), expected)

    def test_cookie_only_if_named(self) -> None:
        self.assertIsNone(find_token(in_handshake(cookie="token=t"), None))
        self.assertFalse(authenticator("jwt:secret-env=SECRET").cookies)
        self.assertTrue(authenticator("jwt:secret-env=SECRET:cookie=token").cookies)

    def test_the_first_counts(self) -> None:
        """CONNECT takes precedence over the handshake, so that a good cookie doesn't help a bad token there."""
        opening = Opening("Bearer h", "token=c")
        headers = {"Authorization": "Bearer a"}
        self.assertEqual(find_token(Credentials("ann", "p", headers, opening), "token"), "a")
        self.assertEqual(find_token(Credentials("ann", "p", {}, opening), "token"), "p")
        self.assertEqual(find_token(Credentials(None, None, {}, opening), "token"), "h")
        self.assertEqual(find_token(in_handshake(cookie="token=c"), "token"), "c")

    def test_none(self) -> None:
        door = authenticator("jwt:secret-env=SECRET")
        self.assertFalse(door.takes(Credentials(None, None, {})))
        failure = self.failureResultOf(log_in(door, Credentials("ann", None, {})))
        self.assertEqual(failure.value.fault, LoginFault.MISSING)


class KeySetTests(AccessCase):
    """Which keys of a JWK Set are used."""

    def door(self, *keys: object) -> IAuthenticator:
        """Return an authenticator with these keys in a file."""
        door = self.made(f"jwt:jwks={self.file(json.dumps({'keys': keys}).encode())}")
        door.start()
        self.addCleanup(door.stop)
        return door

    def test_chosen_by_kid(self) -> None:
        one, two = private_key("RS256"), private_key("RS256", 1)
        door = self.door(jwk(one, "1"), jwk(two, "2"), jwk(private_key("ES256"), "3"))
        self.let_in(door, bearer(token(key=one, algorithm="RS256", kid="1")))
        self.let_in(door, bearer(token(key=two, algorithm="RS256", kid="2")))
        self.assertEqual(self.refused(door, bearer(token(key=two, algorithm="RS256", kid="1"))), LoginFault.SIGNATURE)
        self.let_in(door, bearer(token(key=private_key("ES256"), algorithm="ES256")))

    def test_without_kid_there_must_be_no_choice(self) -> None:
        one, two = private_key("RS256"), private_key("RS256", 1)
        self.let_in(self.door(jwk(one, None)), bearer(token(key=one, algorithm="RS256")))
        self.let_in(self.door(jwk(one, "1")), bearer(token(key=one, algorithm="RS256")))
        both = self.door(jwk(one, "1"), jwk(two, "2"))
        self.assertEqual(self.refused(both, bearer(token(key=one, algorithm="RS256"))), LoginFault.UNKNOWN_KEY)

    def test_left_out(self) -> None:
        """Keys for other uses, private, symmetric, weak or unknown ones are skipped."""
        key = private_key("RS256")
        ec_key = private_key("ES256")
        assert isinstance(ec_key, EllipticCurvePrivateKey)
        secret = {"kty": "oct", "kid": "o", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()}
        others = (
            secret,
            jwk(key, "enc", use="enc"),
            jwk(key, "ops", key_ops=["encrypt"]),
            jwk(key, "alg", alg="RS512"),
            {**json.loads(ECAlgorithm.to_jwk(ec_key)), "kid": "private"},
            {**jwk(key, "half-private"), "d": "AQAB"},
            jwk(key, None) | {"kid": 7},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            {"kty": "RSA", "kid": "half"},
            {"kty": "new", "kid": "new"},
            {"kty": ["RSA"]},
            "no object",
            None,
        )
        door = self.door(*others, jwk(key, "good", use="sig", alg="RS256", key_ops=["verify"]))
        self.let_in(door, bearer(token(key=key, algorithm="RS256", kid="good")))
        for key_id in ("enc", "ops", "alg", "half-private", "broken"):
            self.assertEqual(
                self.refused(door, bearer(token(key=key, algorithm="RS256", kid=key_id))), LoginFault.UNKNOWN_KEY
            )
        leaked = bearer(token(key=ec_key, algorithm="ES256", kid="private"))
        self.assertEqual(self.refused(door, leaked), LoginFault.UNKNOWN_KEY)
        self.assertEqual(self.refused(door, bearer(token(kid="o"))), LoginFault.ALGORITHM)


class SizeTests(AccessCase):
    """Tokens up to the size that is allowed, which lists of thousands of values make so large."""

    def channels(self, number: int) -> list[str]:
        """Return ids of channels, which differ from number to number."""
        return [f"{number:08}-0000-4000-8000-{channel:012}" for channel in range(2000)]

    def test_largest(self) -> None:
        for more in ({}, {"only": {"channel_id": self.channels(0)}}, {"subscribe": ["/queue/**", *["/x"] * 9000]}):
            made = token(claims(**more))
            self.let_in(authenticator("jwt:secret-env=SECRET", self.clock, len(made)), bearer(made))
            less = authenticator("jwt:secret-env=SECRET", self.clock, len(made) - 1)
            # The reason is checked without a comparison that would print the token.
            failure = self.failureResultOf(log_in(less, bearer(made)), LoginRefused)
            self.assertIs(failure.value.fault, LoginFault.TOO_BIG)
            self.assertIn(f"has {len(made)} characters; the limit is {len(made) - 1}", failure.value.reason)

    def test_thousands_of_channels(self) -> None:
        door = authenticator("jwt:secret-env=SECRET", self.clock, MOST_TOKEN_SIZE)
        channels = self.channels(1)
        row_filter = self.let_in(door, bearer(token(claims(only={"channel_id": channels})))).row_filter(MESSAGE)
        assert row_filter is not None
        for channel, is_seen in ((channels[0], True), (channels[-1], True), (self.channels(2)[0], False)):
            event = Event(MESSAGE, "1", json.dumps({"channel_id": channel}).encode())
            self.assertEqual(row_filter.matches(LazyRow(event)), is_seen)

    def test_thousands_of_destinations(self) -> None:
        door = authenticator("jwt:secret-env=SECRET", self.clock, MOST_TOKEN_SIZE)
        names = [f"/queue/{each}" for each in self.channels(1)[:1500]]
        patterns = [f"{name}/*" for name in names[:500]]
        principal = self.let_in(door, bearer(token(claims(subscribe=[*names, "/" + "x" * 1000], send=patterns))))
        self.assertTrue(principal.may_subscribe(names[0]) and principal.may_subscribe(names[-1]))
        self.assertFalse(principal.may_subscribe(MESSAGE) or principal.may_subscribe(f"{names[0]}x"))
        self.assertTrue(principal.may_send(f"{names[499]}/x"))
        self.assertFalse(principal.may_send(names[0]) or principal.may_send(f"{names[500]}/x"))

    def test_lists_are_not_quoted_whole(self) -> None:
        """The reason for the log stays short, whatever is wrong with a long list."""
        door = authenticator("jwt:secret-env=SECRET", self.clock, MOST_TOKEN_SIZE)
        channels = self.channels(1)
        for wrong in (
            {"subscribe": channels},
            {"subscribe": ["x" * 90_000]},
            {"send": ["/" + "!" * 90_000]},
            {"only": channels},
            {"only": {"channel_id": [*channels, 1]}},
            {"only": {"x" * 90_000: [1]}},
            {"missing": channels},
            {"aud": channels},
            {"iss": channels, "sub": channels},
            {"jti": "x" * 90_000},
            {"exp": channels},
        ):
            failure = self.failureResultOf(log_in(door, bearer(token(claims(**wrong)))), LoginRefused)
            self.assertLess(len(failure.value.reason), 400, list(wrong))

    def test_they_are_not_kept(self) -> None:
        """Of tokens whose bearers have left, hardly anything stays in memory."""
        door = authenticator("jwt:secret-env=SECRET", self.clock, MOST_TOKEN_SIZE)

        def log_in_all(numbers: range) -> None:
            for number in numbers:
                for more in (
                    {"only": {"channel_id": self.channels(number)}},
                    {"subscribe": [f"/queue/{each}" for each in self.channels(number)[:1500]]},
                    {"subscribe": [f"/{number}{'x' * 80_000}"], "send": [f"/{number}{'/x' * 100}"]},
                ):
                    self.let_in(door, bearer(token(claims(**more), x=f"{number}{'x' * 5000}")))

        log_in_all(range(1))
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        log_in_all(range(1, 9))
        gc.collect()
        # Up to 1000 usual patterns and 64 heads stay; all tokens together have 3 MB.
        self.assertLess(tracemalloc.get_traced_memory()[0], 1_500_000)
