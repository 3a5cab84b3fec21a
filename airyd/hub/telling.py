"""Tells thousands that something is missing, some of them in each turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from airyd.events import Event
from airyd.limits import SPREAD_AT_MOST, SPREAD_PER_CLIENT

#: So many are told in one turn, of whatever destination: it takes 10 to 20 µs for each, and whoever has to go costs
#: twice that.
TOLD_PER_TURN: Final = 200
#: So many clients may be ended at once.
_FEW: Final = 10


def spread_of(count: int) -> float:
    """Return the seconds over which to spread the ends of so many connections; 0 for a few."""
    return min(SPREAD_AT_MOST, SPREAD_PER_CLIENT * count) if count > _FEW else 0.0


class Told(Protocol):
    """A subscription at a gap."""

    @property
    def listens(self) -> bool:
        """Whether the client can be told that something is missing."""

    def missed(self, since: str) -> None:
        """Tell the client that what came after an event may be missing, or end its connection if that can't be."""


class Allowance:
    """Counts who is told in one turn of the reactor: after an outage each destination has a gap.

    :ivar clock: the reactor's
    """

    __slots__ = ("_left", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._left = TOLD_PER_TURN

    def take(self, wanted: int) -> int:
        """Return how many of so many may be told in this turn."""
        count = min(wanted, self._left)
        if count and self._left == TOLD_PER_TURN:
            self.clock.callLater(0, self._renew)
        self._left -= count
        return count

    def _renew(self) -> None:
        self._left = TOLD_PER_TURN


class Telling:
    """The gaps of one destination, and those who don't know of them yet.

    What is published after a gap must not come before it. So until everybody knows, live events are held.

    :param allowance: that of all destinations
    :param over: called with those events, in a turn of the reactor, when everybody knows

    :ivar spread: seconds within which connections are ended of clients that can't be told
    :ivar held: the live events that came meanwhile, to be added to; None when everybody knows
    """

    __slots__ = ("_allowance", "_over", "_waiting", "held", "spread")

    def __init__(self, allowance: Allowance, over: Callable[[Sequence[Event]], None]) -> None:
        self.held: list[Event] | None = None
        self._allowance = allowance
        self._over = over
        self._waiting: dict[Told, str | None] = {}
        self.spread = 0.0

    def begin(self, subscriptions: Iterable[Told], since: str | None) -> None:
        """Tell these from now on; who still waits to be told of an earlier gap, is told of that alone.

        :param since: the id of the last event before; None while nobody can know whether more is missing: then only
            those are ended who can't be told, and what was held is missing, too
        """
        if since is None and self.held:
            self.held = []
        waiting = self._waiting
        for subscription in subscriptions:
            waiting[subscription] = waiting.get(subscription) or since
        # Those who still wait for an earlier gap keep its time: the fewer that are left would go faster.
        self.spread = max(spread_of(len(waiting)), self.spread if self.held is not None else 0.0)
        if waiting and self.held is None:
            self.held = []
            self._tell_some()

    def leave(self, subscription: Told, is_last: bool) -> None:
        """Forget a subscription; with the last one what is held, too."""
        self._waiting.pop(subscription, None)
        if is_last and self.held:
            self.held = []

    def _tell_some(self) -> None:
        waiting = self._waiting
        least = len(waiting) - self._allowance.take(len(waiting))
        try:
            while len(waiting) > least:  # whoever is told may leave, and a client with all that it has
                subscription, since = waiting.popitem()
                if since is not None:
                    subscription.missed(since)
                elif not subscription.listens:
                    subscription.missed("")
        finally:  # also if one met a bug, which the reactor logs
            if waiting:
                self._allowance.clock.callLater(0, self._tell_some)
            else:
                held, self.held = self.held, None
                if held:
                    self._over(held)
