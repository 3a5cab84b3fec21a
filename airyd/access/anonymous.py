"""The authenticator that lets everybody in."""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from airyd.errors import ConfigurationError
from airyd.events import RowFilter
from airyd.interfaces import Credentials, IAuthenticator, IPrincipal

_WORDS: Final = ("public", "send")


@implementer(IPrincipal)
class AnonymousPrincipal:
    """Anybody: sees every event, and may send if that was allowed to all."""

    __slots__ = ("_send",)

    name: Final = "anonymous"
    expires: Final = None

    def __init__(self, send: bool) -> None:
        self._send = send

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

    def __init__(self, public: bool, send: bool) -> None:
        self.public = public
        # All share one, since a gateway may hold ten thousand of them.
        self._principal = AnonymousPrincipal(send)

    def authenticate(self, credentials: Credentials) -> IPrincipal:
        """Let the client in (``IAuthenticator``)."""
        return self._principal


def parse(arguments: str) -> AnonymousAuthenticator:
    """Return the authenticator for the words behind ``anonymous:``, each at most once, in any order."""
    words = arguments.split(":") if arguments else []
    for word in words:
        if word not in _WORDS:
            raise ConfigurationError(f"anonymous: unknown word {word!r}; there are: {', '.join(_WORDS)}")
        if words.count(word) > 1:
            raise ConfigurationError(f"anonymous: the word {word!r} is given twice")
    return AnonymousAuthenticator(public="public" in words, send="send" in words)
