"""Connections to a factory, and what a process says about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from airyd.management.connections import Connections
from airyd.management.listing import Listing
from airyd.management.queries import ConnectionRow, ConnectionsQuery, ConnectionsReply
from tests.doubles import Somebody
from tests.loop import Peer
from tests.websocket.case import WebSocketTestCase

T = TypeVar("T")


class Turns(Clock):
    """A reactor whose turns the test makes; what a call schedules runs in the next one.

    :param loop: has the time
    """

    def __init__(self, loop: Clock) -> None:
        super().__init__()
        self._loop = loop

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self._loop.seconds()

    def turn(self) -> None:
        """Run the calls that are due."""
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class ManagementTestCase(WebSocketTestCase):
    """One process; :meth:`page` lists its connections.

    :ivar turns: the reactor of all that takes several turns
    """

    process = "airyd"

    def setUp(self) -> None:
        super().setUp()
        self.turns = Turns(self.loop)
        self.connections = Connections(self.process, self.factory, self.turns, self.wall)
        self.listing = Listing(self.connections, self.factory, self.turns)

    def logged_in(self, name: str, *subscriptions: str, ack: str = "auto") -> Peer:
        """Return the connection of somebody."""
        self.door.principal = Somebody()
        self.door.principal.name = name
        return self.connected_peer(*subscriptions, ack=ack)

    def finish(self, answer: Deferred[T]) -> T:
        """Return what an answer of several turns fires with."""
        for _ in range(1000):
            if answer.called:
                break
            self.turns.turn()
        return self.successResultOf(answer)

    def page(self, query: ConnectionsQuery) -> ConnectionsReply:
        """Return one page."""
        return self.finish(self.listing.answer(query))

    def rows(self) -> Sequence[ConnectionRow]:
        """Return all connections, the oldest first."""
        return self.page(ConnectionsQuery(limit=1000)).connections
