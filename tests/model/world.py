"""The model itself: one hub, its twin of a feed, a few clients, and what must hold between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from airyd.auth.anonymous import AnonymousAuthenticator
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import TimerWheel
from airyd.errors import SourceUnavailable
from airyd.hub.hub import Hub
from airyd.limits import SOURCE_PATIENCE, Limits
from airyd.metrics import ORIGIN_SEND, Metrics
from airyd.stomp.spec import HeartBeat, Version
from tests.model.client import Client, Track
from tests.model.twin import Prompt, Twin

DESTINATIONS: Final = ("/a", "/b")
#: One that is added later, if it is.
LATE: Final = "/c"
#: The pattern that means them all.
EVERYTHING: Final = "/*"
#: The pattern that means their user destinations.
USERS_EVERYTHING: Final = "/user/*"
CLIENTS: Final = 4
_BODY_LIMIT: Final = 10_000


#: What a turn of the reactor takes, seconds.
_TURN: Final = 1e-6


class Reactor(Clock):
    """A clock whose ``advance`` is one turn: what is asked for within it, be it at once, comes with the next."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> IDelayedCall:
        """See ``IReactorTime``."""
        return super().callLater(max(delay, _TURN), callable, *args, **kw)

    def advance(self, amount: float) -> None:
        """See ``Clock``."""
        super().advance(max(amount, _TURN))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the next turn."""
        return all(call.getTime() > self.seconds() + _TURN for call in self.getDelayedCalls())


class ModelFailure(AssertionError):
    """The hub did what it must not."""


class World:
    """Everything of one example. Operations change it (``tests.model.operations``).

    :param kept: events in the history of each destination
    :ivar clients: who is in each seat now; None if nobody has come yet
    """

    def __init__(self, kept: int, prompt: Prompt) -> None:
        self.clock = Reactor()
        self.metrics = Metrics(DESTINATIONS)
        self.twin = Twin(kept, prompt)
        self.hub = Hub(self.twin, DESTINATIONS, self.clock, self.metrics, _BODY_LIMIT, has_user_destinations=True)
        self.twin.start(self.hub)
        self.wheel = TimerWheel(self.clock, 1.0)
        everybody = AnonymousAuthenticator(public=False, send=False)
        beats = HeartBeat(0, 0)
        self.context = ClientContext(
            self.hub, everybody, Limits(), beats, 65.0, self.wheel, self.metrics, self.clock.seconds
        )
        self.clients: list[Client | None] = [None] * CLIENTS
        self.everybody: list[Client] = []
        self.complaints: list[str] = []
        self.published: list[str] = []
        self._bodies = 0

    def complain(self, what: str) -> None:
        """Take down that something is wrong: the hub may be anywhere, and an exception might be handled there."""
        self.complaints.append(what)

    def may_time_out(self) -> bool:
        """Say whether the source has had the time to leave somebody without an answer for too long."""
        return self.clock.seconds() >= SOURCE_PATIENCE

    def check(self) -> None:
        """Raise ``ModelFailure`` if something was wrong."""
        if self.complaints:
            raise ModelFailure("; ".join(self.complaints))

    # Who is where.

    def present(self, seat: int) -> Client | None:
        """Return the client in the seat, if its connection is open."""
        client = self.clients[seat]
        return None if client is None or client.is_over else client

    def come(self, seat: int, version: Version, tls: bool, bound: int, mark: int) -> Client:
        """Return the client in the seat; a new one if there is none. Every other one can be told of gaps."""
        client = self.present(seat)
        if client is None:
            client = self.clients[seat] = Client(self, version, tls, bound, mark, can_be_notified=seat % 2 == 1)
            self.everybody.append(client)
        return client

    @property
    def standing(self) -> list[tuple[Client, Track]]:
        """All subscriptions that are open and were answered."""
        return [
            (client, track)
            for client in self.everybody
            for track in client.tracks.values()
            if track.position is not None
        ]

    def last_read(self, seat: int, destination: str) -> str | None:
        """Return what the client in the seat, or the one before it there, read last of the destination."""
        client = self.clients[seat]
        return None if client is None else client.last_read(destination)

    # What happens.

    def grow(self) -> None:
        """Add a destination to the catalogue."""
        if LATE not in self.hub.catalogue:
            for client in self.everybody:
                client.expect(LATE)
            self.metrics.extend([LATE])
            self.hub.extend([LATE])

    def body(self, size: int) -> bytes:
        """Return a body that no other event has; row filters read its side, which one in five lacks."""
        self._bodies += 1
        side = b'"side":"%d",' % (self._bodies % 2) if self._bodies % 5 else b""
        return b'{"n":%d,%b"x":"%b"}' % (self._bodies, side, b"x" * size)

    def publish(self, destination: str, size: int) -> None:
        """Publish through the hub."""
        publishing: Deferred[str] = self.hub.publish(destination, self.body(size), ORIGIN_SEND)
        publishing.addCallbacks(self.published.append, lambda failure: failure.trap(SourceUnavailable) and None)
        publishing.addErrback(lambda failure: self.complain(f"publish failed: {failure}"))

    def turn(self, seconds: float = 0) -> None:
        """Let a turn pass; if no call is pending, check that members of groups have all events of the feed."""
        self.clock.advance(seconds)
        if not self.clock.is_idle:
            return
        for _, track in self.standing:
            if track.is_behind(self.twin):
                self.complain("what the feed brought has not left with the turn")

    def settle(self) -> None:
        """Let everything that waits be answered, delivered, read and acknowledged."""
        twin = self.twin
        for _ in range(1000):
            busy = False
            for watch in tuple(twin.watches):
                twin.answer_watch(watch)
                busy = True
            for publishing in tuple(twin.publishings):
                twin.answer_publishing(publishing)
                busy = True
            for reading in tuple(twin.readings):
                twin.answer_reading(reading)
                busy = True
            for destination in sorted(twin.watched):
                if twin.waiting(destination):
                    twin.feed({destination: 2})
                    busy = True
                    break  # who fails may leave, and the set change
            self.turn(1 if self.clock.is_idle else 0)  # a part that came late may try again
            for client in self.everybody:
                busy = busy or (not client.is_over and client.channel.buffered > 0)
                client.channel.drain()
            for client, track in self.standing:
                if track.outstanding:
                    client.acknowledge(track, len(track.outstanding) // 2)
                    busy = True
            self.check()
            waits = twin.watches or twin.readings or twin.publishings or self.clock.getDelayedCalls()
            if not busy and not waits:
                return
        self.complain("it never comes to rest")
        self.check()

    def finish(self) -> None:
        """Settle, and require that everybody has everything; then let all leave, and require that nothing remains."""
        self.settle()
        for client in self.everybody:
            for track in client.tracks.values():
                destination = track.source
                if track.position is None:
                    self.complain("a SUBSCRIBE was never answered")
                elif track.next(self.twin) != len(self.twin.ledger[destination]):
                    self.complain(f"{destination}: nothing came after {track.position}")
        self._count()
        for client in self.everybody:
            client.lose()
        self._leave_nothing()
        self.check()

    def _count(self) -> None:
        handed = sum(client.messages for client in self.everybody)
        counted = sum(self.metrics.deliveries.values())
        # A client that is failed by, or leaves within, a batch does not get its rest; a closed channel takes nothing.
        if handed > counted or (handed < counted and not any(c.is_over or c.left_within_send for c in self.everybody)):
            self.complain(f"{counted} deliveries were counted, and there were {handed}")
        if dict(self.metrics.events_in) != {name: self.twin.delivered[name] for name in self.hub.catalogue}:
            self.complain("events_in is wrong")
        for name in self.hub.catalogue:
            there = sum(track.source == name for c in self.everybody for track in c.tracks.values())
            if self.metrics.subscriptions[name] != there:
                self.complain(f"{self.metrics.subscriptions[name]} subscriptions were counted, and there were {there}")

    def _leave_nothing(self) -> None:
        if any(self.metrics.subscriptions.values()):
            self.complain(f"all left, and these subscriptions remain: {dict(self.metrics.subscriptions)}")
        if self.twin.watched or self.twin.watches:
            self.complain("all left, and the source is still watched")
        if self.hub.followers:
            self.complain("all left, and somebody still follows the catalogue")
        self.wheel.stop()  # it forgets what was cancelled only when its time comes
        if self.clock.getDelayedCalls():
            self.complain("all left, and a timer is still set")
        before = [bytes(client.channel.wire) for client in self.everybody]
        for name in self.hub.catalogue:
            self.twin.append(name, self.body(1))
            self.twin.feed({name: 1})
        self.clock.advance(0)
        if [bytes(client.channel.wire) for client in self.everybody] != before:
            self.complain("all left, and something is still sent")
