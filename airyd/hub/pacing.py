"""Spreads work over turns of the reactor: pages of replays, and the notices of a gap to thousands."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.errors import StompError
from airyd.events import Event
from airyd.limits import SPREAD_AT_MOST, SPREAD_PER_CLIENT

#: Notices in one turn, of whatever destination: each takes 10 to 20 µs, and to end a connection takes twice that.
NOTICES_PER_TURN: Final = 200
#: So many clients may be ended at once.
_FEW: Final = 10


class TurnQueue:
    """Runs pieces of work in the order in which they came, one in each turn of the reactor, between live events.

    :ivar clock: the reactor's
    """

    __slots__ = ("_is_turn_used", "_waiting", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._is_turn_used = False
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, piece: Callable[[], None]) -> None:
        """Run a piece of work: at once if nothing ran in this turn, else in a later one."""
        if self._is_turn_used:
            self._waiting.append(piece)
        else:
            self._is_turn_used = True
            self.clock.callLater(0, self._next_turn)
            piece()

    def _next_turn(self) -> None:
        if not self._waiting:
            self._is_turn_used = False
            return
        self.clock.callLater(0, self._next_turn)
        self._waiting.popleft()()


class NoticeBudget:
    """Bounds the notices in one turn of the reactor, of all destinations: after an outage each of them has a gap.

    :ivar clock: the reactor's
    """

    __slots__ = ("_left", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._left = NOTICES_PER_TURN

    def spend(self, wanted: int) -> int:
        """Return how many of the wanted notices may be sent in this turn."""
        count = min(wanted, self._left)
        if count and self._left == NOTICES_PER_TURN:
            self.clock.callLater(0, self._refill)
        self._left -= count
        return count

    def _refill(self) -> None:
        self._left = NOTICES_PER_TURN


class NoticeReceiver(Protocol):
    """A subscription at a gap."""

    def report_gap(self, since: str | None) -> None:
        """Notify the client that events may be missing, or end its connection if that can't be.

        :param since: the id of the last event before; None while nobody can know it: then only a client is ended that
            can't be notified
        """

    def fail(self, error: StompError) -> None:
        """End the client's connection."""


class GapNotices:
    """Reports the gaps of one destination to its subscriptions, some in each turn of the reactor.

    What is published after a gap must not come before its notice, so live events are held until all have theirs.

    :param budget: that of all destinations
    :param release: called with the held events, in a turn of the reactor, when all have their notice

    :ivar spread: seconds over which connections of clients that can't be notified are ended; 0 for at once
    :ivar held: the live events that came meanwhile, to be added to; None when all have their notice
    """

    __slots__ = ("_budget", "_ending", "_release", "_waiting", "held", "spread")

    def __init__(self, budget: NoticeBudget, release: Callable[[Sequence[Event]], None]) -> None:
        self.held: list[Event] | None = None
        self.spread = 0.0
        self._budget = budget
        self._release = release
        self._waiting: dict[NoticeReceiver, str | None] = {}
        self._ending: dict[NoticeReceiver, IDelayedCall] = {}

    def announce(self, subscriptions: Iterable[NoticeReceiver], since: str | None) -> None:
        """Report a gap to these from now on; one still queued for an earlier gap hears only of that one.

        :param since: see :meth:`NoticeReceiver.report_gap`; with None what is held is missing, too
        """
        if since is None and self.held:
            self.held = []
        waiting = self._waiting
        for subscription in subscriptions:
            waiting[subscription] = waiting.get(subscription) or since
        # Those still queued for an earlier gap keep its spread: the fewer that are left would go faster.
        self.spread = max(spread_of(len(waiting)), self.spread if self.held is not None else 0.0)
        if waiting and self.held is None:
            self.held = []
            self._report_some()

    def forget(self, subscription: NoticeReceiver, is_last: bool) -> None:
        """Forget a subscription that leaves; with the last one the held events, too."""
        self._waiting.pop(subscription, None)
        if is_last and self.held:
            self.held = []

    def end_later(self, subscription: NoticeReceiver, error: StompError) -> None:
        """End the connection of a subscription that has left, at a random time within the spread."""
        delay = random.uniform(0, self.spread)  # noqa: S311  # no secret
        self._ending[subscription] = self._budget.clock.callLater(delay, self._end, subscription, error)

    def cancel_end(self, subscription: NoticeReceiver) -> None:
        """Don't end the connection of a subscription, if that was to be."""
        call = self._ending.pop(subscription, None)
        if call is not None:
            call.cancel()

    def _end(self, subscription: NoticeReceiver, error: StompError) -> None:
        del self._ending[subscription]
        subscription.fail(error)

    def _report_some(self) -> None:
        waiting = self._waiting
        least = len(waiting) - self._budget.spend(len(waiting))
        try:
            while len(waiting) > least:  # each report may make a client leave, with all its subscriptions
                subscription, since = waiting.popitem()
                subscription.report_gap(since)
        finally:  # also if one met a bug, which the reactor logs
            if waiting:
                self._budget.clock.callLater(0, self._report_some)
            else:
                held, self.held = self.held, None
                if held:
                    self._release(held)


def spread_of(count: int) -> float:
    """Return the seconds over which to spread the ends of so many connections; 0 for a few."""
    return min(SPREAD_AT_MOST, SPREAD_PER_CLIENT * count) if count > _FEW else 0.0
