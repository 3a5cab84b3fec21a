"""A JWK Set: fetched, refreshed, unavailable, rotated, requested too often."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.auth.jwt.authenticator import TokenAuthenticator
from airyd.auth.jwt.claims import ClaimRules
from airyd.auth.jwt.fetch import FetchFailed
from airyd.auth.jwt.jwks import FETCH_EVERY, FRESH, JwkSet
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.errors import Fault, LoginFault, LoginRefused, LoginUnavailable
from airyd.interfaces import IPrincipal
from tests.auth.case import NOW, bearer, jwk, log_in, private_key, token
from tests.doubles import record_log

OLD, NEW = private_key("ES256"), private_key("ES256", 1)
OLD_SET = json.dumps({"keys": [jwk(OLD, "old")]}).encode()
BOTH = json.dumps({"keys": [jwk(OLD, "old"), jwk(NEW, "new")]}).encode()
NEW_SET = json.dumps({"keys": [jwk(NEW, "new")]}).encode()
#: How the log lines of a set that comes, goes away and comes back begin.
GOT_LOST_GOT = ["got the keys fo", "cannot get keys", "got the keys fo"]


class KeySetTests(SynchronousTestCase):
    """The set, and the logins that depend on it."""

    def setUp(self) -> None:
        """Make an authenticator whose keys the test provides."""
        self.clock = Clock()
        self.fetches: list[Deferred[bytes]] = []
        self.keys = JwkSet("https://idp.example/keys", self.fetch, self.clock)
        rules, permissions = ClaimRules(allow_eternal=True), PermissionCache(PermissionClaims())
        self.door = TokenAuthenticator(self.keys, rules, permissions, None, lambda: NOW, 8192)

    def fetch(self) -> Deferred[bytes]:
        """Stand in for the server."""
        fetching: Deferred[bytes] = Deferred()
        self.fetches.append(fetching)
        return fetching

    def answer(self, outcome: bytes | Exception) -> None:
        """Answer the fetch in flight."""
        (fetching,) = self.fetches
        self.fetches.clear()
        if isinstance(outcome, bytes):
            fetching.callback(outcome)
        else:
            fetching.errback(outcome)

    def log_in(self, key_id: str) -> Deferred[IPrincipal]:
        """Log in with a token of the key of this name."""
        key = OLD if key_id == "old" else NEW
        return log_in(self.door, bearer(token(key=key, algorithm="ES256", kid=key_id)))

    def fault(self, login: Deferred[IPrincipal]) -> LoginFault:
        """Return why a login was refused."""
        fault: LoginFault = self.failureResultOf(login, LoginRefused).value.fault
        return fault

    def test_not_there_yet(self) -> None:
        """A login before the first fetch waits for the keys."""
        self.assertEqual(len(self.keys.health()), 1)
        self.door.start()
        login, other = self.log_in("old"), self.log_in("new")
        self.assertNoResult(login)
        self.answer(OLD_SET)
        self.successResultOf(login)
        self.assertEqual(self.fault(other), LoginFault.UNKNOWN_KEY)
        self.assertEqual((self.keys.health(), self.keys.warnings(), self.fetches), ((), (), []))

    def test_never_there(self) -> None:
        """Without keys the answer is "try again", not 401, which would log users out."""
        self.door.start()
        login = self.log_in("old")
        self.answer(FetchFailed("the server answers with 500"))
        error = self.failureResultOf(login, LoginUnavailable).value.stomp_error()
        self.assertEqual(error.fault, Fault.LOGIN_UNAVAILABLE)
        self.assertNotIn("401", error.fault.message)
        self.assertIn("the server answers with 500", self.door.health()[0])
        self.assertEqual(self.door.warnings(), ())

    def test_fetched_again(self) -> None:
        """A key removed from the set is accepted for at most five more minutes."""
        self.door.start()
        self.answer(OLD_SET)
        self.clock.advance(FRESH - 1)
        self.successResultOf(self.log_in("old"))
        self.assertEqual(self.fetches, [])
        self.clock.advance(1)
        self.successResultOf(self.log_in("old"))  # nobody waits for a fetch that is only to be sure
        self.answer(NEW_SET)
        self.assertEqual(self.fault(self.log_in("old")), LoginFault.UNKNOWN_KEY)

    def test_rotation(self) -> None:
        """The first token of a new key waits while the key is fetched."""
        self.door.start()
        self.answer(OLD_SET)
        self.clock.advance(60)
        logins = [self.log_in("new") for _ in range(3)]
        self.successResultOf(self.log_in("old"))
        self.assertNoResult(logins[0])
        self.answer(BOTH)
        for login in logins:
            self.successResultOf(login)
        self.clock.advance(FRESH - 1)
        self.assertEqual(self.fetches, [])
        self.clock.advance(1)
        self.assertEqual(len(self.fetches), 1)

    def test_made_up_kids(self) -> None:
        """Unknown kids cause one fetch per five seconds; other logins don't wait for it."""
        self.door.start()
        self.answer(OLD_SET)
        fetches = 0
        for _ in range(600):
            self.clock.advance(0.1)
            login = self.log_in("made-up")
            if self.fetches:
                fetches += 1
                self.answer(OLD_SET)
            self.assertEqual(self.fault(login), LoginFault.UNKNOWN_KEY)
        self.assertLessEqual(fetches, 60 / FETCH_EVERY)
        self.assertGreater(fetches, 0)

    def test_other_algorithms_fetch_nothing(self) -> None:
        self.door.start()
        self.answer(OLD_SET)
        self.clock.advance(60)
        self.assertEqual(self.fault(log_in(self.door, bearer(token(kid="new")))), LoginFault.ALGORITHM)
        self.assertEqual(self.fetches, [])

    def test_unreachable(self) -> None:
        """Known keys stay in use; an unknown key may be new, so the answer is not 401."""
        log = record_log(self)
        self.door.start()
        self.answer(OLD_SET)
        self.clock.advance(FRESH)
        for delay in (1, 2, 4, 8, 16, 32, 60, 60, 60):
            self.answer(FetchFailed("cannot connect"))
            self.successResultOf(self.log_in("old"))
            self.clock.advance(delay - 0.01)
            self.assertEqual(self.fetches, [])
            self.clock.advance(0.01)
        self.answer(FetchFailed("cannot connect"))
        self.failureResultOf(self.log_in("new"), LoginUnavailable)
        self.assertEqual(self.door.health(), ())
        (warning,) = self.door.warnings()
        self.assertIn("543 s old", warning)
        self.assertIn("https://idp.example/keys: cannot connect", warning)
        self.clock.advance(60)
        self.answer(BOTH)
        self.successResultOf(self.log_in("new"))
        self.assertEqual(self.door.warnings(), ())
        self.assertEqual([event["log_format"][:15] for event in log if "name" in event], GOT_LOST_GOT)

    def test_each_trouble_is_logged_once(self) -> None:
        """A failure is logged once, until another one or a success."""
        log = record_log(self)
        self.door.start()
        other, good = FetchFailed("the server answers with 500"), BOTH
        away = FetchFailed("cannot connect")
        for outcome in (away, away, away, other, other, away, good, away, b"<html>", b"<html>", good, good):
            self.answer(outcome)
            self.clock.advance(FRESH)
        said = [str(event.get("reason", "got them")) for event in log if "name" in event]
        self.assertEqual(
            said,
            [
                "cannot connect",
                "the server answers with 500",
                "cannot connect",
                "got them",
                "cannot connect",
                "it is not JSON",
                "got them",
            ],
        )

    def test_nonsense_is_away(self) -> None:
        """An invalid or empty JWK Set does not replace the known keys."""
        self.door.start()
        self.answer(OLD_SET)
        for nonsense in (
            b"",
            b"<html>",
            b"[]",
            b'{"keys":{}}',
            b'{"keys":[]}',
            b'{"keys":[{"kty":"oct"}]}',
            b"[" * 9999,
        ):
            self.clock.advance(FRESH)
            self.answer(nonsense)
            self.successResultOf(self.log_in("old"))
            self.assertEqual(len(self.door.warnings()), 1, nonsense)
            self.clock.advance(1)
            self.answer(OLD_SET)
            self.assertEqual(self.door.warnings(), ())

    def test_a_bug_is_logged_and_lets_nobody_wait(self) -> None:
        self.door.start()
        login = self.log_in("old")
        self.answer(KeyError("bug"))
        self.failureResultOf(login, LoginUnavailable)
        self.clock.advance(60)
        self.answer(KeyError("bug"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.clock.advance(60)
        self.answer(OLD_SET)
        self.successResultOf(self.log_in("old"))

    def test_stopped_fetch(self) -> None:
        """A cancelled fetch is neither logged nor retried."""
        log = record_log(self)
        fetching: Deferred[bytes] = Deferred(lambda _: fetching.errback(FetchFailed("cannot connect")))
        keys = JwkSet("https://idp.example/keys", lambda: fetching, self.clock)
        keys.start()
        keys.stop()
        self.assertTrue(fetching.called)
        self.assertEqual((log, self.clock.getDelayedCalls()), ([], []))

    def test_stop(self) -> None:
        """No timer is left."""
        self.door.start()
        login = self.log_in("old")
        self.door.stop()
        self.failureResultOf(login, LoginUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.fetches.clear()
        self.door.start()
        self.answer(OLD_SET)
        self.door.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
