"""An authenticator for airyd, whole and small: one passcode for all, from an environment variable."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from zope.interface import implementer

from airyd.errors import ConfigurationError, LoginFault, LoginRefused
from airyd.events import RowFilter
from airyd.interfaces import AuthenticatorContext, Credentials, IAuthenticator, IPrincipal


@implementer(IPrincipal)
class Member:
    """A client that knows the passcode: it may subscribe to everything, and publish nothing."""

    expires = None

    def __init__(self, name: str, authority: object) -> None:
        self.name = name
        self.authority = authority

    def may_subscribe(self, destination: str) -> bool:
        return True

    def may_send(self, destination: str) -> bool:
        return False

    def row_filter(self, destination: str) -> RowFilter | None:
        return None


@implementer(IAuthenticator)
class PasscodeAuthenticator:
    """Compares the ``passcode`` header of CONNECT; the ``login`` header is a name of the client's choice."""

    public = True
    cookies = False
    revocable = False

    def __init__(self, passcode: str) -> None:
        self._passcode = passcode.encode()

    def start(self) -> None:
        """Nothing runs."""

    def stop(self) -> None:
        """Nothing runs."""

    def takes(self, credentials: Credentials) -> bool:
        return credentials.passcode is not None

    def authenticate(self, credentials: Credentials) -> IPrincipal:
        if not compare_digest((credentials.passcode or "").encode(), self._passcode):
            raise LoginRefused(LoginFault.SIGNATURE, "the passcode is wrong")
        return Member(credentials.login or "member", self)

    def health(self) -> Sequence[str]:
        return ()

    def warnings(self) -> Sequence[str]:
        return ()


def parse(variable: str, context: AuthenticatorContext) -> PasscodeAuthenticator:
    passcode = context.environ.get(variable, "")
    if not passcode:
        raise ConfigurationError(f"--auth passcode: the environment variable {variable!r} is not set")
    return PasscodeAuthenticator(passcode)
