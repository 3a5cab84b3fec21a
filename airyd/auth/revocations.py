"""Revoked tokens: which ones this process refuses, and how it shares them with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.auth.jwt.claims import printable
from airyd.errors import LoginFault, LoginRefused, LoginUnavailable, SourceUnavailable
from airyd.interfaces import IPrincipal, IRevocable, IRevocationStore
from airyd.limits import SOURCE_PATIENCE
from airyd.revocation import Revocation, RevocationKind, RevocationList, new_revocation, retention

#: More at once, as at the start, are one line of the log.
_LINES: int = 10


class RevocationRegistry:
    """The revocations in force that this process, or one of its stores, knows.

    What was told once holds, whatever becomes of the stores.

    :param stores: of the sources; without any, nobody else gets to know, and all ends with the process
    :param wall: the wall-clock time, seconds since 1970
    :param max_age: seconds that a token lives at most
    """

    _log = Logger()

    def __init__(
        self, stores: Sequence[IRevocationStore], clock: IReactorTime, wall: Callable[[], float], max_age: float
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._wall = wall
        self._max_age = max_age
        self._in_force = RevocationList(wall)
        self._unread = len(stores)
        self._changed: Callable[[], None] = lambda: None
        self._has_warned = False

    def start(self, changed: Callable[[], None]) -> None:
        """Read all that is kept, and go on reading; called once, after the sources' start.

        :param changed: called whenever tokens are out that were not before
        """
        self._changed = changed
        for store in self._stores:
            store.follow(self.learn).addCallbacks(self._was_read, self._failed)

    def _was_read(self, _: None) -> None:
        self._unread -= 1

    def _failed(self, failure: Failure) -> None:
        self._log.failure("revocations can't be read", failure)

    def learn(self, revocations: Sequence[Revocation]) -> None:
        """Put these into force."""
        new = [each for each in revocations if self._in_force.add(each)]
        if not new:
            return
        if len(new) <= _LINES:
            for each in new:
                self._log.info("revoked: {kind} {name}", kind=each.kind.value, name=printable(each.name))
        else:
            self._log.info("revoked: {count} tokens or subjects", count=len(new))
        self._changed()

    def revoke(self, kind: RevocationKind, name: str) -> Deferred[Revocation]:
        """Revoke a token, or all of a user's until now: here at once, and everywhere when this fires.

        Errors: ``SourceUnavailable`` if it was not kept for the others; it may be repeated.
        """
        return self.distribute(new_revocation(kind, name, self._wall(), self._max_age))

    def distribute(self, revocation: Revocation) -> Deferred[Revocation]:
        """Put one into force that was made elsewhere, and have it kept; see :meth:`revoke`."""
        self.learn([revocation])
        keeping = [store.add(revocation).addTimeout(SOURCE_PATIENCE, self._clock, _late) for store in self._stores]
        return DeferredList(keeping, consumeErrors=True).addCallback(_kept, revocation)

    def is_revoked(self, principal: IPrincipal) -> bool:
        """Say whether the token of a principal is revoked."""
        if not self._in_force or not IRevocable.providedBy(principal):
            return False
        jti, issued = principal.jti, principal.issued
        if jti is not None and self._in_force.find(RevocationKind.JTI, jti) is not None:
            return True
        known = self._in_force.find(RevocationKind.SUBJECT, principal.name)
        # Most tokens have whole seconds: one of the same second as the revocation may be older, and is out.
        return known is not None and (issued is None or issued <= known.at)

    def check(self, principal: IPrincipal) -> IPrincipal:
        """Return the principal if it may come in.

        Errors: ``LoginRefused``; ``LoginUnavailable`` while it isn't known what is revoked.
        """
        if not IRevocable.providedBy(principal):
            return principal
        if self.is_revoked(principal):
            raise LoginRefused(LoginFault.REVOKED, "the token, or all of its subject's until then, was revoked")
        if self._unread:
            raise LoginUnavailable(self.health()[0])
        expires = principal.expires
        if not self._has_warned and (expires is None or expires - self._wall() > retention(self._max_age)):
            self._has_warned = True
            self._log.warn(
                "there are tokens that live longer than --token-max-age {max_age:g}: one that is revoked "
                "comes in again after that time",
                max_age=self._max_age,
            )
        return principal

    def health(self) -> Sequence[str]:
        """Say why nobody with a token can be let in, one short text each; empty when that is possible."""
        if not self._unread:
            return ()
        return [f"it is not known yet which tokens are revoked: {'; '.join(self._troubles()) or 'being read'}"]

    def warnings(self) -> Sequence[str]:
        """Say why it may not be heard what is revoked now, in the same form."""
        return () if self._unread else [f"revocations are not heard of: {trouble}" for trouble in self._troubles()]

    def _troubles(self) -> list[str]:
        return [trouble for store in self._stores for trouble in store.health()]


def _late(result: object, seconds: float) -> NoReturn:
    raise SourceUnavailable(f"no answer within {seconds:g} seconds")


def _kept(results: Sequence[tuple[bool, object]], revocation: Revocation) -> Revocation:
    failures = [result for _, result in results if isinstance(result, Failure)]
    for failure in failures:
        if not failure.check(SourceUnavailable):
            failure.raiseException()
    if failures:
        reasons = "; ".join(str(failure.value) for failure in failures)
        raise SourceUnavailable(f"It is revoked here, but not kept, so that others don't know; try again. {reasons}")
    return revocation
