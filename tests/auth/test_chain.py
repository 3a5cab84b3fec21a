"""Several ``--auth`` at once, and how refusals are counted, logged and answered."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.auth.chain import AuthenticatorChain
from airyd.auth.jwt import jwks as keysets
from airyd.auth.jwt.keys import pem_keys
from airyd.auth.revocation_registry import RevocationRegistry
from airyd.errors import LoginFault, LoginRefused, LoginUnavailable
from airyd.interfaces import Credentials, IAuthenticator, Opening
from airyd.metrics import Metrics
from airyd.revocation import Revocation, RevocationKind
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
    public_pem,
    token,
)
from tests.auth.test_revocation_registry import Store
from tests.doubles import record_log, text_of

NOBODY = Credentials(None, None, {})
OTHER = "another-secret-which-is-as-long-as-it-must-be"
NO_KEYS = "jwt:jwks=/nothing/there"
ONE_TOKEN = Revocation(RevocationKind.JTI, "j", NOW, NOW + 100)


class AuthenticatorChainTests(AccessCase):
    """Which authenticators are tried, and the result."""

    def gatekeeper(self, *specs: str) -> AuthenticatorChain:
        """Return the chain of these."""
        self.metrics = Metrics()
        self.store = Store()
        self.revocations = RevocationRegistry([self.store], self.clock, lambda: NOW + self.clock.seconds(), 86_400)
        self.revocations.start(lambda: None)
        self.store.read.callback(None)
        keeper = AuthenticatorChain([self.made(spec, OTHER=OTHER) for spec in specs], self.metrics, self.revocations)
        keeper.start()
        self.addCleanup(keeper.stop)
        return keeper

    def test_interface(self) -> None:
        verifyObject(IAuthenticator, self.gatekeeper("anonymous"))

    def test_anonymous_alone_takes_everybody(self) -> None:
        keeper = self.gatekeeper("anonymous")
        for credentials in (NOBODY, bearer("x"), Credentials("guest", "guest", {})):
            self.assertEqual(self.let_in(keeper, credentials).name, "anonymous")

    def test_tokens_and_anonymous(self) -> None:
        """In either order, a client with a bad token is refused and never anonymous."""
        for specs in (("jwt:secret-env=SECRET:cookie=t", "anonymous"), ("anonymous", "jwt:secret-env=SECRET:cookie=t")):
            keeper = self.gatekeeper(*specs)
            self.assertEqual(self.let_in(keeper, NOBODY).name, "anonymous")
            self.assertEqual(self.let_in(keeper, in_handshake(cookie="theme=dark")).name, "anonymous")
            self.assertEqual(self.let_in(keeper, bearer(token())).name, USER)
            self.assertEqual(self.let_in(keeper, in_handshake(cookie=f"t={token()}")).name, USER)
            expired = token(claims(exp=NOW))
            for bad in (bearer(expired), in_handshake(expired), in_handshake(cookie=f"t={expired}")):
                self.assertEqual(self.refused(keeper, bad), LoginFault.EXPIRED)
            self.assertEqual(self.refused(keeper, Credentials("guest", "guest", {})), LoginFault.MALFORMED)

    def test_nobody_is_asked(self) -> None:
        keeper = self.gatekeeper("jwt:secret-env=SECRET", "jwt:secret-env=OTHER")
        self.assertEqual(self.refused(keeper, NOBODY), LoginFault.MISSING)
        basic = Credentials(None, None, {"Authorization": "Basic YW5uOnB3"})
        for other in (basic, Credentials("ann", None, {}), Credentials(None, None, {}, Opening("Basic YW5uOnB3"))):
            self.assertEqual(self.refused(keeper, other), LoginFault.UNKNOWN_KIND)

    def test_two_issuers(self) -> None:
        keeper = self.gatekeeper("jwt:secret-env=SECRET", "jwt:secret-env=OTHER")
        self.assertEqual(self.let_in(keeper, bearer(token())).name, USER)
        self.assertEqual(self.let_in(keeper, bearer(token(claims(sub="bea"), OTHER))).name, "bea")
        self.assertEqual(self.refused(keeper, bearer(token(key=OTHER * 2))), LoginFault.SIGNATURE)
        for secret in (SECRET, OTHER):
            self.assertEqual(self.refused(keeper, bearer(token(claims(exp=1), secret))), LoginFault.EXPIRED)

    def test_one_of_two_cannot_say(self) -> None:
        """A retry may succeed, so the answer is not 401."""
        es256 = bearer(token(key=private_key("ES256"), algorithm="ES256", kid="k"))
        for specs in ((NO_KEYS, "jwt:secret-env=SECRET"), ("jwt:secret-env=SECRET", NO_KEYS)):
            keeper = self.gatekeeper(*specs)
            self.failureResultOf(log_in(keeper, es256), LoginUnavailable)
            self.assertEqual(self.let_in(keeper, bearer(token())).name, USER)
            self.assertEqual((keeper.health(), len(keeper.warnings())), ((), 1))

    def test_health(self) -> None:
        keeper = self.gatekeeper(NO_KEYS)
        self.assertIn("/nothing/there: there is no such file", keeper.health()[0])
        self.assertEqual(keeper.warnings(), [])
        self.assertEqual(self.gatekeeper("anonymous").health(), ())

    def test_public(self) -> None:
        """The chain is public only if all authenticators are."""
        self.assertTrue(self.gatekeeper("jwt:secret-env=SECRET", "anonymous:public").public)
        self.assertFalse(self.gatekeeper("jwt:secret-env=SECRET", "anonymous").public)
        self.assertTrue(self.gatekeeper("jwt:secret-env=SECRET:cookie=t", "anonymous").cookies)
        self.assertFalse(self.gatekeeper("jwt:secret-env=SECRET", "anonymous").cookies)

    def test_counted(self) -> None:
        keeper = self.gatekeeper("jwt:secret-env=SECRET")
        self.assertEqual(sum(self.metrics.logins_refused.values()), 0)
        self.assertEqual(set(self.metrics.logins_refused), {fault.value for fault in LoginFault})
        for credentials in (bearer(token(claims(exp=NOW))), bearer("x"), bearer("x"), NOBODY):
            self.refused(keeper, credentials)
        self.let_in(keeper, bearer(token()))
        self.assertEqual(+self.metrics.logins_refused, {"expired": 1, "malformed": 2, "missing": 1})

    def test_revoked(self) -> None:
        """A revoked token is refused by every authenticator for tokens; a new one is accepted."""
        keeper = self.gatekeeper("jwt:secret-env=SECRET", "jwt:secret-env=OTHER", "anonymous")
        self.let_in(keeper, bearer(token()))
        self.store.learn([Revocation(RevocationKind.SUBJECT, USER, NOW + 5, NOW + 100), ONE_TOKEN])
        old = claims(iat=NOW + 5)
        for each in (token(), token(claims(iat=None)), token(old), token(old, OTHER), token(claims(sub="b", jti="j"))):
            self.assertEqual(self.refused(keeper, bearer(each)), LoginFault.REVOKED)
        self.assertEqual(self.metrics.logins_refused["revoked"], 5)
        for other in (token(claims(iat=NOW + 6)), token(claims(sub="b"))):
            self.let_in(keeper, bearer(other))
        self.assertEqual(self.let_in(keeper, NOBODY).name, "anonymous")
        told = self.failureResultOf(log_in(keeper, bearer(token()))).value.stomp_error()
        self.assertEqual(str(told), "401 Unauthorized: There is no valid token.")

    def test_revoked_while_the_keys_are_fetched(self) -> None:
        """The end of the login counts."""
        path = Path(self.mktemp()).absolute()
        key = private_key("ES256")
        path.write_text(json.dumps({"keys": [jwk(private_key("ES256", 1), "other")]}))
        keeper = self.gatekeeper(f"jwt:jwks={path}")
        self.clock.advance(10)
        fetched: Deferred[None] = Deferred()
        self.patch(keysets.JwkSet, "refresh", lambda keys: fetched)
        login = log_in(keeper, bearer(token(key=key, algorithm="ES256", kid="k")))
        self.patch(keysets.JwkSet, "find", lambda keys, algorithm, kid: pem_keys(public_pem(key)))
        self.assertNoResult(login)
        self.store.learn([Revocation(RevocationKind.SUBJECT, USER, NOW + 5, NOW + 100)])
        fetched.callback(None)
        self.assertIs(self.failureResultOf(login, LoginRefused).value.fault, LoginFault.REVOKED)
        self.assertEqual(self.metrics.logins_refused["revoked"], 1)

    def test_leeway(self) -> None:
        """If the issuer's clock is ahead, a token may be older than its iat."""
        keeper = self.gatekeeper("jwt:secret-env=SECRET:leeway=30")
        self.store.learn([Revocation(RevocationKind.SUBJECT, USER, NOW, NOW + 100)])
        for issued, fault in ((30, LoginFault.REVOKED), (31, None)):
            login = log_in(keeper, bearer(token(claims(iat=NOW + issued))))
            if fault is None:
                self.successResultOf(login)
            else:
                self.assertIs(self.failureResultOf(login, LoginRefused).value.fault, fault)

    def test_before_it_is_known_what_is_revoked(self) -> None:
        """Logins with a token are unavailable, and /readyz says so."""
        for specs, health in ((("jwt:secret-env=SECRET",), 1), (("jwt:secret-env=SECRET", "anonymous"), 0)):
            self.metrics = Metrics()
            store = Store()
            revocations = RevocationRegistry([store], self.clock, lambda: NOW, 86_400)
            revocations.start(lambda: None)
            keeper = AuthenticatorChain([self.made(spec) for spec in specs], self.metrics, revocations)
            self.failureResultOf(log_in(keeper, bearer(token())), LoginUnavailable)
            self.assertEqual((len(keeper.health()), len(keeper.warnings())), (health, 1 - health))
            store.read.callback(None)
            self.assertEqual((keeper.health(), keeper.warnings()), ((), []))
            self.let_in(keeper, bearer(token()))
            store.trouble = ["it is unreachable"]
            self.assertEqual(keeper.warnings(), ["new revocations do not arrive: it is unreachable"])

    def test_log_says_why_and_to_whom(self) -> None:
        log = record_log(self)
        keeper = self.gatekeeper("jwt:secret-env=SECRET")
        bad = token(claims(exp=NOW - 37))
        credentials = Credentials(None, bad, {"passcode": bad}, Opening(f"Bearer {bad}", bad), "tcp4:192.0.2.7:1")
        self.refused(keeper, credentials)
        self.refused(keeper, bearer(token(claims(x="x" * 9000))))
        said = text_of(log)
        self.assertIn("login of tcp4:192.0.2.7:1 refused, expired: exp was 37 s ago", said)
        self.assertIn("the limit is 8192", said)
        for secret in (SECRET, *bad.split(".")[1:]):
            self.assertNotIn(secret, said)

    def test_what_a_client_is_told(self) -> None:
        """The client learns only whether its token has expired."""
        keeper = self.gatekeeper("jwt:secret-env=SECRET")
        told = set()
        for credentials in (bearer(token(claims(iat="x"))), bearer(token(key=OTHER)), bearer("x"), NOBODY):
            error = self.failureResultOf(log_in(keeper, credentials)).value.stomp_error("r")
            told.add(str(error))
            self.assertEqual(error.receipt, "r")
        self.assertEqual(told, {"401 Unauthorized: There is no valid token."})
        expired = self.failureResultOf(log_in(keeper, bearer(token(claims(exp=NOW))))).value
        self.assertEqual(str(expired.stomp_error()), "401 Unauthorized: The token has expired.")


class WithoutKeysTests(SynchronousTestCase):
    """A key set in a file that is written later."""

    def test_the_file_comes_later(self) -> None:
        path, clock = Path(self.mktemp()).absolute(), Clock()
        key = private_key("ES256")
        door = authenticator(f"jwt:jwks={path}", clock)
        door.start()
        login = bearer(token(key=key, algorithm="ES256", kid="k"))
        self.failureResultOf(log_in(door, login), LoginUnavailable)
        path.write_text(json.dumps({"keys": [jwk(key, "k")]}))
        clock.advance(1)
        self.assertEqual(self.successResultOf(log_in(door, login)).name, USER)
        door.stop()
