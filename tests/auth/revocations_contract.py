"""The contract of revocations, as tests that run for each kind of store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from airyd.auth.revocation_registry import RevocationRegistry
from airyd.errors import LoginFault, LoginRefused
from airyd.events import RowFilter
from airyd.interfaces import IRevocable
from airyd.revocation import RevocationKind

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _TestCase
else:
    # Else the contract itself would be run, too, wherever it is imported.
    _TestCase = object

MAX_AGE = 3600


@implementer(IRevocable)
class Bearer:
    """A principal with a token."""

    authority = None

    def __init__(self, name: str, issued: float | None, jti: str | None = None, expires: float | None = 1e12) -> None:
        self.name, self.issued, self.jti, self.expires = name, issued, jti, expires

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return True

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return True

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        return None


class RevocationsContract(_TestCase):
    """The tests, and the hooks for a test case to fill in."""

    async def make(self) -> tuple[RevocationRegistry, list[None]]:
        """Return a registry that knows all revocations, and a list that grows with each change."""
        raise NotImplementedError

    def now(self) -> float:
        """Return its wall-clock time."""
        raise NotImplementedError

    def assert_out(self, revocations: RevocationRegistry, *bearers: Bearer) -> None:
        """Require that these are revoked and refused."""
        for each in bearers:
            self.assertTrue(revocations.is_revoked(each), vars(each))
            self.assertIs(self.assertRaises(LoginRefused, revocations.check, each).fault, LoginFault.REVOKED)

    def assert_in(self, revocations: RevocationRegistry, *bearers: Bearer) -> None:
        """Require that these are not revoked, and are accepted."""
        for each in bearers:
            self.assertFalse(revocations.is_revoked(each), vars(each))
            self.assertIs(revocations.check(each), each)

    async def test_nothing(self) -> None:
        revocations, changes = await self.make()
        self.assert_in(revocations, Bearer("ann", None), Bearer("ann", 0.0, "j"))
        self.assertEqual((changes, revocations.health(), revocations.warnings()), ([], (), []))

    async def test_jti(self) -> None:
        """A revoked jti refuses that token only, whatever its subject and age."""
        revocations, changes = await self.make()
        now = self.now()
        done = await revocations.revoke(RevocationKind.JTI, "j")
        self.assertEqual((done.kind, done.name), (RevocationKind.JTI, "j"))
        self.assert_out(revocations, Bearer("ann", now, "j"), Bearer("bea", now + 1000, "j"), Bearer("ann", None, "j"))
        self.assert_in(revocations, Bearer("ann", now, "k"), Bearer("ann", None), Bearer("j", 0.0))
        self.assertEqual(len(changes), 1)

    async def test_subject(self) -> None:
        """A revoked subject refuses tokens issued up to that second, and tokens without iat."""
        revocations, _ = await self.make()
        done = await revocations.revoke(RevocationKind.SUBJECT, "ann")
        second = float(int(done.at))
        self.assert_out(revocations, Bearer("ann", 0.0, "j"), Bearer("ann", second), Bearer("ann", None))
        self.assert_out(revocations, Bearer("ann", done.at))
        self.assert_in(revocations, Bearer("ann", done.at + 0.5, "j"), Bearer("ann", second + 1), Bearer("bea", 0.0))
        self.assert_in(revocations, Bearer("bea", None, "ann"))

    async def test_airys_subject(self) -> None:
        """Airy's jti is the subject, so a new login has the same one; it is accepted."""
        revocations, _ = await self.make()
        done = await revocations.revoke(RevocationKind.SUBJECT, "ann")
        self.assert_out(revocations, Bearer("ann", done.at - 5, "ann"))
        self.assert_in(revocations, Bearer("ann", done.at + 1, "ann"))

    async def test_again(self) -> None:
        revocations, changes = await self.make()
        first = await revocations.revoke(RevocationKind.SUBJECT, "ann")
        await self.later(0.01)
        second = await revocations.revoke(RevocationKind.SUBJECT, "ann")
        self.assertGreater(second.at, first.at)
        self.assert_out(revocations, Bearer("ann", second.at))
        self.assertEqual(len(changes), 2)

    async def test_lasts(self) -> None:
        revocations, _ = await self.make()
        done = await revocations.revoke(RevocationKind.JTI, "j")
        self.assertGreater(done.until, done.at + MAX_AGE)

    def later(self, seconds: float) -> Deferred[None]:
        """Let time pass."""
        raise NotImplementedError
