"""What the tests of the management room share: users, and connections of theirs."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from airyd.events import RowFilter
from airyd.interfaces import IPrincipal
from tests.doubles import Somebody, frame
from tests.loop import Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, request, text


@implementer(IPrincipal)
class User(Somebody):
    """A principal with a name and perhaps a row filter."""

    def __init__(self, name: str, row_filter: RowFilter | None = None) -> None:
        super().__init__()
        self.name = name
        self._row_filter = row_filter

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        return self._row_filter


class UserTestCase(WebSocketTestCase):
    """Connections of users, with their ids."""

    def logged_in(self, user: str | User = "alice") -> tuple[str, Peer]:
        """Return the id of a new connection of a user, and the client's end; nothing was read from it after CONNECT."""
        self.door.principal = User(user) if isinstance(user, str) else user
        peer = self.reach()
        peer.say(request())
        peer.say(CONNECT)
        peer.got()
        return self.id_of(peer), peer

    def id_of(self, peer: Peer) -> str:
        """Return the id of a connection."""
        protocol: Any = peer.transport.protocol
        return str(protocol.client.id)

    def subscribe(self, peer: Peer, destination: str, key: str = "0", **headers: str) -> None:
        """Send a SUBSCRIBE."""
        peer.say(text(frame("SUBSCRIBE", b"", id=key, destination=destination, **headers)))
