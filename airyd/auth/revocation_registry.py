"""The registry of revoked tokens: checks logins against it, and shares revocations with other nodes."""

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
from airyd.revocation import Revocation, RevocationKind, RevocationTable, new_revocation, retention

#: Revocations that get a log line each; more at once, as at the start, share one line.
_LINES: int = 10


class RevocationRegistry:
    """Knows the revocations in force, from this process and from its stores.

    A revocation stays in force even if a store loses it.

    :param stores: those of the sources; without any, revocations stay in this process and end with it
    :param wall: the wall-clock time, seconds since 1970
    :ivar max_age: the longest lifetime of a token, in seconds
    """

    _log = Logger()

    def __init__(
        self, stores: Sequence[IRevocationStore], clock: IReactorTime, wall: Callable[[], float], max_age: float
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._wall = wall
        self.max_age = max_age
        self._in_force = RevocationTable(wall)
        self._unread = len(stores)
        self._changed: Callable[[], None] = lambda: None
        self._has_warned = False

    def start(self, changed: Callable[[], None]) -> None:
        """Read all stored revocations, then follow new ones; called once, after the sources have started.

        :param changed: called whenever more tokens are revoked
        """
        self._changed = changed
        for store in self._stores:
            store.follow(self.learn).addCallbacks(self._was_read, self._failed)

    def _was_read(self, _: None) -> None:
        self._unread -= 1

    def _failed(self, failure: Failure) -> None:
        self._log.failure("revocations can't be read", failure)

    def learn(self, revocations: Sequence[Revocation]) -> None:
        """Put these revocations into force."""
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
        """Revoke one token, or all tokens of a user issued until now.

        It holds here at once; fires when it is stored for all nodes.

        Errors: ``SourceUnavailable`` if it was not stored; the call may be repeated.
        """
        return self.distribute(new_revocation(kind, name, self._wall(), self.max_age))

    def distribute(self, revocation: Revocation) -> Deferred[Revocation]:
        """Put a revocation made elsewhere into force, and store it; see :meth:`revoke`."""
        self.learn([revocation])
        keeping = [store.add(revocation).addTimeout(SOURCE_PATIENCE, self._clock, _late) for store in self._stores]
        return DeferredList(keeping, consumeErrors=True).addCallback(_kept, revocation)

    def is_revoked(self, principal: IPrincipal) -> bool:
        """Return whether the token of a principal is revoked."""
        if not self._in_force or not IRevocable.providedBy(principal):
            return False
        jti, issued = principal.jti, principal.issued
        if jti is not None and self._in_force.find(RevocationKind.JTI, jti) is not None:
            return True
        known = self._in_force.find(RevocationKind.SUBJECT, principal.name)
        # Most tokens have whole seconds: one issued in the second of the revocation may be older, so it is revoked.
        return known is not None and (issued is None or issued <= known.at)

    def check(self, principal: IPrincipal) -> IPrincipal:
        """Return the principal if its token is not revoked.

        Errors: ``LoginRefused``; ``LoginUnavailable`` until all stores have been read.
        """
        if not IRevocable.providedBy(principal):
            return principal
        if self.is_revoked(principal):
            raise LoginRefused(LoginFault.REVOKED, "the token was revoked, by its jti or by its subject")
        if self._unread:
            raise LoginUnavailable(self.health()[0])
        expires = principal.expires
        if not self._has_warned and (expires is None or expires - self._wall() > retention(self.max_age)):
            self._has_warned = True
            self._log.warn(
                "some tokens live longer than --token-max-age {max_age:g}: a revoked one is accepted again "
                "after that time",
                max_age=self.max_age,
            )
        return principal

    def health(self) -> Sequence[str]:
        """Return why logins with a token fail, one short text each; empty when they work."""
        if not self._unread:
            return ()
        return [f"the revoked tokens are not known yet: {'; '.join(self._troubles()) or 'still reading'}"]

    def warnings(self) -> Sequence[str]:
        """Return why new revocations may not arrive, in the same form."""
        return () if self._unread else [f"new revocations do not arrive: {trouble}" for trouble in self._troubles()]

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
        raise SourceUnavailable(f"It is revoked here, but not stored for other nodes; try again. {reasons}")
    return revocation
