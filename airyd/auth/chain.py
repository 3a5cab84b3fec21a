"""The chain of all ``--auth`` authenticators: picks who checks a login, and counts and logs refused logins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.auth.credentials import has_credentials
from airyd.auth.revocation_registry import RevocationRegistry
from airyd.deferreds import is_deferred
from airyd.errors import LoginFault, LoginRefused, LoginUnavailable
from airyd.interfaces import Credentials, IAuthenticator, IPrincipal
from airyd.metrics import Metrics

_NO_CREDENTIALS: Final = Credentials(None, None, {})


@implementer(IAuthenticator)
class AuthenticatorChain:
    """Combines the authenticators of all ``--auth`` options into one.

    Authenticators that accept this kind of credentials are tried in order, until one accepts the client. Those that
    also accept clients without credentials are tried only if no other takes this kind, so that a client with a bad
    or revoked token never becomes anonymous. A single authenticator checks every client.

    :param authenticators: at least one; :meth:`replace` replaces them
    """

    _log = Logger()

    def __init__(
        self, authenticators: Sequence[IAuthenticator], metrics: Metrics, revocations: RevocationRegistry
    ) -> None:
        self._revocations = revocations
        self._metrics = metrics
        self.replace(authenticators)

    def replace(self, authenticators: Sequence[IAuthenticator]) -> None:
        """Use these authenticators from now on; the caller starts and stops them.

        :param authenticators: at least one
        """
        self._authenticators = authenticators
        self._accept_anonymous = [each for each in authenticators if each.takes(_NO_CREDENTIALS)]
        self.public = all(each.public for each in authenticators)
        self.cookies = any(each.cookies for each in authenticators)
        self.revocable = any(each.revocable for each in authenticators)

    def start(self) -> None:
        """Start all authenticators (``IAuthenticator``)."""
        for each in self._authenticators:
            each.start()

    def stop(self) -> None:
        """Stop all authenticators (``IAuthenticator``)."""
        for each in self._authenticators:
            each.stop()

    def takes(self, credentials: Credentials) -> bool:
        """Return whether any authenticator accepts this kind of credentials (``IAuthenticator``)."""
        return bool(self._candidates(credentials))

    def authenticate(self, credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Check the credentials with the authenticators for their kind (``IAuthenticator``)."""
        try:
            answer = self._ask(self._candidates(credentials), credentials)
            if not is_deferred(answer):
                return self._revocations.check(cast(IPrincipal, answer))
        except (LoginRefused, LoginUnavailable) as error:
            self._record(error, credentials.peer)
            raise
        return answer.addCallback(self._revocations.check).addErrback(self._record_failure, credentials.peer)

    def health(self) -> Sequence[str]:
        """Return why no authenticator works: its own reasons, or revocations not read yet (``IAuthenticator``)."""
        found = [self._troubles(each) for each in self._authenticators]
        return list(dict.fromkeys(reason for each in found for reason in each)) if all(found) else ()

    def warnings(self) -> Sequence[str]:
        """Return what is wrong with some authenticators while others work (``IAuthenticator``)."""
        others = () if self.health() else [reason for each in self._authenticators for reason in self._troubles(each)]
        own = self._revocations.warnings() if self.revocable else ()
        return [*dict.fromkeys(others), *(reason for each in self._authenticators for reason in each.warnings()), *own]

    def _troubles(self, authenticator: IAuthenticator) -> Sequence[str]:
        return [*authenticator.health(), *(self._revocations.health() if authenticator.revocable else ())]

    def _candidates(self, credentials: Credentials) -> Sequence[IAuthenticator]:
        if len(self._authenticators) == 1:
            return self._authenticators
        takers = [each for each in self._authenticators if each.takes(credentials)]
        return [each for each in takers if each not in self._accept_anonymous] or takers

    def _ask(self, asked: Sequence[IAuthenticator], credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        if not asked:
            raise _no_candidate(credentials)
        if len(asked) == 1:
            return _answer(asked[0], credentials)
        answer = _later(asked[0], credentials)
        for other in asked[1:]:
            answer.addErrback(self._ask_next, other, credentials)
        return answer

    def _ask_next(self, failure: Failure, other: IAuthenticator, credentials: Credentials) -> Deferred[IPrincipal]:
        failure.trap(LoginRefused, LoginUnavailable)
        return _later(other, credentials).addErrback(_clearest, failure)

    def _record_failure(self, failure: Failure, peer: str) -> Failure:
        self._record(failure.value, peer)
        return failure

    def _record(self, error: BaseException | None, peer: str) -> None:
        """Count and log a refused login: the reason, never the credentials."""
        if isinstance(error, LoginRefused):
            self._metrics.logins_refused[error.fault.value] += 1
            self._log.info(
                "login of {peer} refused, {fault}: {reason}",
                peer=peer,
                fault=error.fault.value,
                reason=error.reason,
                once_a_minute=f"login {error.fault.value}",
            )
        elif isinstance(error, LoginUnavailable):
            self._log.warn(
                "login of {peer} cannot be checked: {reason}",
                peer=peer,
                reason=str(error),
                once_a_minute="login unavailable",
            )


def _answer(authenticator: IAuthenticator, credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
    answer: IPrincipal | Deferred[IPrincipal] = authenticator.authenticate(credentials)
    return answer


def _later(authenticator: IAuthenticator, credentials: Credentials) -> Deferred[IPrincipal]:
    """Return the answer as a Deferred; an exception becomes a Failure."""
    # The cast is for mypy: maybeDeferred also accepts a plain result.
    authenticate = cast(Callable[[Credentials], Deferred[IPrincipal]], authenticator.authenticate)
    return maybeDeferred(authenticate, credentials)


def _no_candidate(credentials: Credentials) -> LoginRefused:
    if has_credentials(credentials):
        return LoginRefused(LoginFault.UNKNOWN_KIND, "no --auth accepts credentials of this kind")
    return LoginRefused(LoginFault.MISSING, "there are no credentials")


def _clearest(second: Failure, first: Failure) -> Failure:
    """Return the more useful refusal: "unavailable", because a retry may succeed; else "expired"; else the first."""
    for failure in (first, second):
        if failure.check(LoginUnavailable):
            return failure
    error = second.value
    return first if isinstance(error, LoginRefused) and error.fault is not LoginFault.EXPIRED else second
