"""The registry of revoked tokens, without a store and with stores that the test controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from airyd.auth.anonymous import AnonymousPrincipal
from airyd.auth.revocation_registry import RevocationRegistry
from airyd.errors import LoginUnavailable, SourceUnavailable
from airyd.interfaces import IRevocationStore
from airyd.limits import SOURCE_PATIENCE
from airyd.revocation import Revocation, RevocationKind, retention
from tests.auth.case import NOW
from tests.auth.revocations_contract import MAX_AGE, Bearer, RevocationsContract
from tests.doubles import record_log, text_of


class MemoryTests(RevocationsContract, TestCase):
    """The contract without a store, in this process only."""

    def setUp(self) -> None:
        self.clock = Clock()

    def now(self) -> float:
        return NOW + self.clock.seconds()

    def later(self, seconds: float) -> Deferred[None]:
        self.clock.advance(seconds)
        return succeed(None)

    async def make(self) -> tuple[RevocationRegistry, list[None]]:
        changes: list[None] = []
        revocations = RevocationRegistry((), self.clock, self.now, MAX_AGE)
        revocations.start(lambda: changes.append(None))
        return revocations, changes

    async def test_over(self) -> None:
        """A revocation ends when the longest-lived token has expired."""
        revocations, _ = await self.make()
        await revocations.revoke(RevocationKind.JTI, "j")
        self.clock.advance(retention(MAX_AGE) - 0.01)
        self.assert_out(revocations, Bearer("ann", None, "j"))
        self.clock.advance(0.02)
        self.assert_in(revocations, Bearer("ann", None, "j"))


@implementer(IRevocationStore)
class Store:
    """A store that the test controls.

    :ivar read: the Deferred that ``follow`` returns
    :ivar adding: makes the result of ``add``
    """

    def __init__(self) -> None:
        self.read: Deferred[None] = Deferred()
        self.added: list[Revocation] = []
        self.adding: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.trouble: list[str] = []

    def follow(self, learn: Callable[[Sequence[Revocation]], None]) -> Deferred[None]:
        """See ``IRevocationStore``."""
        self.learn = learn
        return self.read

    def add(self, revocation: Revocation) -> Deferred[None]:
        """See ``IRevocationStore``."""
        self.added.append(revocation)
        return self.adding()

    def health(self) -> Sequence[str]:
        """See ``IRevocationStore``."""
        return self.trouble


class StoreTests(SynchronousTestCase):
    """A registry with two stores."""

    def setUp(self) -> None:
        self.log = record_log(self)
        self.clock = Clock()
        self.stores = [Store(), Store()]
        self.changes = 0
        self.revocations = RevocationRegistry(self.stores, self.clock, lambda: NOW + self.clock.seconds(), MAX_AGE)
        self.revocations.start(self.changed)

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def read(self) -> None:
        """Let both stores be read."""
        for store in self.stores:
            store.read.callback(None)

    def test_interface(self) -> None:
        verifyObject(IRevocationStore, Store())

    def test_nobody_with_a_token_before_all_is_read(self) -> None:
        """The login may succeed later, so the answer is not 401."""
        self.stores[0].read.callback(None)
        self.stores[1].trouble = ["it is unreachable"]
        self.assertRaises(LoginUnavailable, self.revocations.check, Bearer("ann", NOW, "j", NOW))
        anybody = AnonymousPrincipal(send=False)
        self.assertIs(self.revocations.check(anybody), anybody)
        (reason,) = self.revocations.health()
        self.assertEqual(reason, "the revoked tokens are not known yet: it is unreachable")
        self.assertEqual(self.revocations.warnings(), ())
        self.stores[1].read.callback(None)
        bearer = Bearer("ann", NOW, "j", NOW)
        self.assertIs(self.revocations.check(bearer), bearer)
        self.assertEqual(self.revocations.health(), ())
        self.assertEqual(self.revocations.warnings(), ["new revocations do not arrive: it is unreachable"])

    def test_what_is_told(self) -> None:
        """New revocations of each store hold at once; a repeated one changes nothing."""
        told = Revocation(RevocationKind.JTI, "j", NOW, NOW + 10)
        self.stores[1].learn([told, told._replace(name="k"), told._replace(name="over", until=NOW)])
        self.assertEqual(self.changes, 1)
        for name in ("j", "k"):
            self.assertTrue(self.revocations.is_revoked(Bearer("ann", NOW, name)))
        self.assertFalse(self.revocations.is_revoked(Bearer("ann", NOW, "over")))
        self.stores[0].learn([told])
        self.assertEqual(self.changes, 1)
        self.assertIn("revoked: jti 'j'", text_of(self.log))

    def test_many_are_one_line(self) -> None:
        self.stores[0].learn([Revocation(RevocationKind.JTI, f"j{number}", NOW, NOW + 10) for number in range(1000)])
        self.assertEqual([text_of([event]) for event in self.log], [text_of(self.log)])
        self.assertIn("1000 tokens or subjects", text_of(self.log))

    def test_in_force_before_it_is_kept(self) -> None:
        """A revocation holds at once; the Deferred fires when all stores have it."""
        waiting: list[Deferred[None]] = [Deferred(), Deferred()]
        for store, each in zip(self.stores, waiting, strict=True):
            store.adding = _giving(each)
        revoking = self.revocations.revoke(RevocationKind.JTI, "j")
        self.assertTrue(self.revocations.is_revoked(Bearer("ann", NOW, "j")))
        waiting[0].callback(None)
        self.assertNoResult(revoking)
        waiting[1].callback(None)
        done = self.successResultOf(revoking)
        self.assertEqual([store.added for store in self.stores], [[done], [done]])

    def test_one_store_is_away(self) -> None:
        """The other store has it, and the caller learns that one store failed."""
        self.stores[0].adding = lambda: fail(SourceUnavailable("redis://a is unreachable"))
        error = self.failureResultOf(self.revocations.revoke(RevocationKind.JTI, "j"), SourceUnavailable).value
        self.assertIn("revoked here, but not stored", str(error))
        self.assertIn("redis://a is unreachable", str(error))
        self.assertEqual(len(self.stores[1].added), 1)
        self.assertTrue(self.revocations.is_revoked(Bearer("ann", NOW, "j")))

    def test_a_store_that_does_not_answer(self) -> None:
        self.stores[0].adding = Deferred
        revoking = self.revocations.revoke(RevocationKind.JTI, "j")
        self.clock.advance(SOURCE_PATIENCE)
        self.failureResultOf(revoking, SourceUnavailable)

    def test_tokens_that_live_too_long(self) -> None:
        """The warning is logged once."""
        self.read()
        now = NOW + self.clock.seconds()
        self.revocations.check(Bearer("ann", now, "j", now + retention(MAX_AGE)))
        self.assertNotIn("--token-max-age", text_of(self.log))
        for expires in (now + retention(MAX_AGE) + 1, None):
            self.revocations.check(Bearer("ann", now, "j", expires))
        self.assertEqual(text_of(self.log).count("--token-max-age 3600"), 1)

    def test_a_broken_store(self) -> None:
        """Logins with a token fail, and the log says why."""
        self.stores[0].read.errback(ZeroDivisionError("broken"))
        self.stores[1].read.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertRaises(LoginUnavailable, self.revocations.check, Bearer("ann", NOW))


def _giving(answer: Deferred[None]) -> Callable[[], Deferred[None]]:
    return lambda: answer
