"""The ``anonymous`` authenticator: accepts every client without a token or login."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zope.interface import implementer

from airyd.auth.credentials import has_credentials
from airyd.auth.spec import Words
from airyd.events import RowFilter
from airyd.interfaces import Credentials, IAuthenticator, IPrincipal


@implementer(IPrincipal)
class AnonymousPrincipal:
    """The principal of every anonymous client: may see every event, and may SEND if ``send`` was given."""

    __slots__ = ("_send",)

    name: Final = "anonymous"
    expires: Final = None

    def __init__(self, send: bool) -> None:
        self._send = send

    @property
    def authority(self) -> object:
        """Return the principal itself: its authenticator has only this one."""
        return self

    def may_subscribe(self, destination: str) -> bool:
        """Return True: every destination is allowed."""
        return True

    def may_send(self, destination: str) -> bool:
        """Return whether ``send`` was given."""
        return self._send

    def row_filter(self, destination: str) -> RowFilter | None:
        """Return None: no event is hidden."""
        return None


@implementer(IAuthenticator)
class AnonymousAuthenticator:
    """Accepts any credentials, and none."""

    cookies: Final = False
    revocable: Final = False

    def __init__(self, public: bool, send: bool) -> None:
        self.public = public
        # All clients share one principal, because a gateway may have ten thousand of them.
        self._principal = AnonymousPrincipal(send)

    def start(self) -> None:
        """Do nothing (``IAuthenticator``)."""

    def stop(self) -> None:
        """Do nothing (``IAuthenticator``)."""

    def takes(self, credentials: Credentials) -> bool:
        """Return whether there are no credentials: a client that sends some has an identity (``IAuthenticator``)."""
        return not has_credentials(credentials)

    def authenticate(self, credentials: Credentials) -> IPrincipal:
        """Accept the client (``IAuthenticator``)."""
        return self._principal

    def health(self) -> Sequence[str]:
        """Return nothing: logins always work (``IAuthenticator``)."""
        return ()

    def warnings(self) -> Sequence[str]:
        """Return nothing: logins always work (``IAuthenticator``)."""
        return ()


def parse(arguments: str) -> AnonymousAuthenticator:
    """Return the authenticator for the words after ``anonymous:``, each given at most once, in any order."""
    words = Words("anonymous", arguments)
    authenticator = AnonymousAuthenticator(public=words.has("public"), send=words.has("send"))
    words.finish()
    return authenticator
