"""Spreads work over turns of the reactor: pages of replays, large row filters, gap notices to thousands."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.errors import StompError
from airyd.events import Event
from airyd.limits import SPREAD_AT_MOST, SPREAD_PER_CLIENT

#: Notices in one turn, of all destinations: each takes 10 to 20 µs, and ending a connection takes twice that.
NOTICES_PER_TURN: Final = 200
#: Values of row filters that are indexed, or removed, in one turn: each takes 100 to 500 ns.
VALUES_PER_TURN: Final = 10_000
#: Up to this many clients are ended at once.
_FEW: Final = 10


class TurnQueue:
    """Runs pieces of work in their order, one in each turn of the reactor, so that live events are sent in between.

    :ivar clock: the reactor
    """

    __slots__ = ("_is_turn_used", "_waiting", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._is_turn_used = False
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, piece: Callable[[], None]) -> None:
        """Run a piece of work: now if none has run in this turn, else in a later one."""
        if self._is_turn_used:
            self._waiting.append(piece)
        else:
            self._is_turn_used = True
            self.clock.callLater(0, self._next_turn)
            piece()

    def wait(self) -> Deferred[None]:
        """Return a Deferred that fires when its piece of work may run; see :meth:`submit`."""
        turn: Deferred[None] = Deferred()
        self.submit(lambda: turn.callback(None))
        return turn

    def _next_turn(self) -> None:
        if not self._waiting:
            self._is_turn_used = False
            return
        self.clock.callLater(0, self._next_turn)
        self._waiting.popleft()()


class LateRemovals:
    """Removes large row filters from the indexes of all destinations, some in each turn of the reactor.

    A client with hundreds of subscriptions may leave, or get other rights, and others must not wait for all that.

    :param clock: the reactor
    """

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[Callable[[], int]] = []

    def add(self, remove: Callable[[], int]) -> None:
        """Call ``remove`` in a later turn; it returns how many values it has removed."""
        self._waiting.append(remove)
        if len(self._waiting) == 1:
            self._clock.callLater(0, self._remove_some)

    def _remove_some(self) -> None:
        room = VALUES_PER_TURN
        try:
            while self._waiting and room > 0:
                room -= self._waiting.pop()()
        finally:  # also after an exception, which the reactor logs
            if self._waiting:
                self._clock.callLater(0, self._remove_some)


class NoticeBudget:
    """Limits the notices of all destinations in one turn of the reactor: after an outage each of them has a gap.

    :ivar clock: the reactor
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
    """A subscription that gets the notice of a gap."""

    def report_gap(self, since: str | None) -> None:
        """Notify the client that events may be missing, or end its connection if it can't be notified.

        :param since: the id of the last event before the gap; None until the source watches again: until then only
            clients that can't be notified are ended
        """

    def fail(self, error: StompError) -> None:
        """End the client's connection."""


class GapNotices:
    """Reports the gaps of one destination to its subscriptions, some in each turn of the reactor.

    An event published after a gap must not arrive before the gap's notice, so live events are held until all
    notices are sent.

    :param budget: the budget that all destinations share
    :param release: called with the held events when all notices are sent

    :ivar spread: seconds over which connections of clients that can't be notified are ended; 0 ends them at once
    :ivar held: the held live events, to which the destination adds; None if no notice is waiting
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
        """Queue notices of a gap; a subscription still queued for an earlier gap hears only of that one.

        :param since: see :meth:`NoticeReceiver.report_gap`; None also drops the held events, as part of the gap
        """
        if since is None and self.held:
            self.held = []
        waiting = self._waiting
        for subscription in subscriptions:
            waiting[subscription] = waiting.get(subscription) or since
        # Subscriptions still queued for an earlier gap keep its spread: one computed for the few left would be shorter.
        self.spread = max(spread_of(len(waiting)), self.spread if self.held is not None else 0.0)
        if waiting and self.held is None:
            self.held = []
            self._report_some()

    def forget(self, subscription: NoticeReceiver, is_last: bool) -> None:
        """Drop the notice of a subscription that leaves; with the last one, drop the held events, too."""
        self._waiting.pop(subscription, None)
        if is_last and self.held:
            self.held = []

    def end_later(self, subscription: NoticeReceiver, error: StompError) -> None:
        """End the connection of a subscription that was closed, at a random time within the spread."""
        delay = random.uniform(0, self.spread)  # noqa: S311  # no secret
        self._ending[subscription] = self._budget.clock.callLater(delay, self._end, subscription, error)

    def cancel_end(self, subscription: NoticeReceiver) -> None:
        """Cancel :meth:`end_later` for a subscription, if it was called."""
        call = self._ending.pop(subscription, None)
        if call is not None:
            call.cancel()

    def _end(self, subscription: NoticeReceiver, error: StompError) -> None:
        del self._ending[subscription]
        subscription.fail(error)

    def _report_some(self) -> None:
        waiting = self._waiting
        remaining = len(waiting) - self._budget.spend(len(waiting))
        try:
            while len(waiting) > remaining:  # each report may end a client, with all its subscriptions
                subscription, since = waiting.popitem()
                subscription.report_gap(since)
        finally:  # also after an exception, which the reactor logs
            if waiting:
                self._budget.clock.callLater(0, self._report_some)
            else:
                held, self.held = self.held, None
                if held:
                    self._release(held)


def spread_of(count: int) -> float:
    """Return over how many seconds to spread the end of ``count`` connections; 0 for a few."""
    return min(SPREAD_AT_MOST, SPREAD_PER_CLIENT * count) if count > _FEW else 0.0
