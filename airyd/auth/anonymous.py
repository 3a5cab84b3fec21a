"""The authenticator that lets everybody in."""

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
    """Anybody: sees every event, and may send if that was allowed to all."""

    __slots__ = ("_send",)

    name: Final = "anonymous"
    expires: Final = None

    def __init__(self, send: bool) -> None:
        self._send = send

    @property
    def authority(self) -> object:
        """Return this very one: an authenticator has no other."""
        return self

    def may_subscribe(self, destination: str) -> bool:
        """Say yes."""
        return True

    def may_send(self, destination: str) -> bool:
        """Say whether everybody may send."""
        return self._send

    def row_filter(self, destination: str) -> RowFilter | None:
        """Return None: nothing is hidden."""
        return None


@implementer(IAuthenticator)
class AnonymousAuthenticator:
    """Takes any credentials, and none."""

    cookies: Final = False
    revocable: Final = False

    def __init__(self, public: bool, send: bool) -> None:
        self.public = public
        # All share one, since a gateway may hold ten thousand of them.
        self._principal = AnonymousPrincipal(send)

    def start(self) -> None:
        """There is nothing to look after (``IAuthenticator``)."""

    def stop(self) -> None:
        """There is nothing to end (``IAuthenticator``)."""

    def takes(self, credentials: Credentials) -> bool:
        """Say whether nothing was shown: whoever shows something wants to be somebody (``IAuthenticator``)."""
        return not has_credentials(credentials)

    def authenticate(self, credentials: Credentials) -> IPrincipal:
        """Let the client in (``IAuthenticator``)."""
        return self._principal

    def health(self) -> Sequence[str]:
        """All is well (``IAuthenticator``)."""
        return ()

    def warnings(self) -> Sequence[str]:
        """All is well (``IAuthenticator``)."""
        return ()


def parse(arguments: str) -> AnonymousAuthenticator:
    """Return the authenticator for the words behind ``anonymous:``, each at most once, in any order."""
    words = Words("anonymous", arguments)
    authenticator = AnonymousAuthenticator(public=words.has("public"), send=words.has("send"))
    words.finish()
    return authenticator
