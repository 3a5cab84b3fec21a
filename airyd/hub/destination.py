"""One destination: its subscriptions, which wait, have a replay or are in a group, and the watch on its source."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import Fault, SourceUnavailable, StompError
from airyd.events import Event, RowFilter
from airyd.hub.fanout import Audience, Group, Member
from airyd.hub.pacing import GapNotices, NoticeReceiver, TurnQueue, spread_of
from airyd.hub.replay import ReplayCursor
from airyd.hub.row_filter import Rows
from airyd.interfaces import IEventSource, IStatusSource
from airyd.metrics import Metrics
from airyd.stomp.message import Framing, message_tail


class DestinationSubscription(Member, NoticeReceiver, Protocol):
    """What a destination needs from a subscription."""

    def source_ready(self) -> None:
        """Start, now that the source watches: go live, or start a replay. After a gap, continue the replay."""


class Destination:
    """One entry of the catalogue.

    :ivar name: such as ``/queue/message``
    :ivar rows: applies row filters, each once per event
    :ivar turns: lets one replay send in each turn of the reactor; all destinations share it
    :ivar gap_notices: sends the notices of this destination's gaps
    :ivar status: the source, if this is ``/airyd/status``; else None
    """

    __slots__ = (
        "_audiences",
        "_is_starting",
        "_replays",
        "_waiting",
        "_watch",
        "gap_notices",
        "metrics",
        "name",
        "rows",
        "source",
        "status",
        "turns",
    )

    def __init__(
        self, name: str, source: IEventSource, turns: TurnQueue, metrics: Metrics, gap_notices: GapNotices
    ) -> None:
        self.name = name
        self.source = source
        self.turns = turns
        self.metrics = metrics
        self.rows = Rows()
        self.gap_notices = gap_notices
        self.status: IStatusSource | None = None
        self._watch = Watch(name, source, self._watched, self._refused)
        # In order of arrival. Taking the first entry of a dict would scan all entries removed before it, each time.
        self._waiting: OrderedDict[DestinationSubscription, None] = OrderedDict()
        self._is_starting = False
        self._replays: dict[DestinationSubscription, ReplayCursor] = {}
        self._audiences: dict[RowFilter | None, Audience[DestinationSubscription]] = {}

    @property
    def position(self) -> str | None:
        """The position of the source; None while it is not watching (``Watch.position``)."""
        return self._watch.position

    @property
    def subscriptions(self) -> list[DestinationSubscription]:
        """All subscriptions, in no particular order, as a new list."""
        return [*self._waiting, *self._replays, *self._grouped]

    @property
    def _grouped(self) -> list[DestinationSubscription]:
        return [member for audience in self._audiences.values() for member in audience.members]

    def deliver(self, events: Sequence[Event]) -> list[Audience[DestinationSubscription]]:
        """Take a batch of live events; return the audiences that must be flushed, and had nothing to flush before."""
        if self._watch.position is None:  # after unwatch(), the source may still deliver events that were in flight
            return []
        if self.gap_notices.held is not None:
            self.gap_notices.held += events
            return []
        self._watch.position = events[-1].id
        dirty = []
        with self.rows as rows:
            if self._audiences:
                now = self.turns.clock.seconds()
                tails = [message_tail(event) for event in events]
                # All filters run first: an exception in one must not leave others with events that nobody flushes.
                for audience, seen in [(each, each.visible(events, tails, rows)) for each in self._audiences.values()]:
                    if seen and audience.append(seen, now):
                        dirty.append(audience)
            for replay in tuple(self._replays.values()):
                replay.feed(events)
        return dirty

    def gap(self) -> None:
        """Renew the watch after a gap; end the connections of clients that can't be notified.

        Members of groups are notified when the source watches again: a client that reloads its state earlier could
        miss more events. Replays continue from their position. If the history can't prove that nothing is missing
        there, they report the gap.
        """
        self.gap_notices.spread = spread_of(len(self._replays))
        for subscription, replay in tuple(self._replays.items()):
            subscription.report_gap(None)
            if subscription in self._replays:
                replay.end()  # source_ready() continues it
                self._waiting[subscription] = None
        self._replays = {}
        self.gap_notices.announce(self._grouped, None)
        if self.position is not None:  # else no subscription is left, or the watch is being renewed already
            self._watch.renew()

    def enter(self, subscription: DestinationSubscription) -> None:
        """Add a subscription, which starts when the source watches."""
        self.metrics.subscriptions[self.name] += 1
        self._waiting[subscription] = None
        self._watch.acquire()

    def leave(self, subscription: DestinationSubscription) -> None:
        """Remove a subscription in any state; with the last one, stop watching."""
        self.metrics.subscriptions[self.name] -= 1
        self._waiting.pop(subscription, None)
        self._replays.pop(subscription, None)
        if subscription.group is not None:
            self._leave_group(subscription, subscription.group)
        self._watch.release()
        self.gap_notices.forget(subscription, is_last=self.position is None)

    def attach(self, subscription: DestinationSubscription, replay: ReplayCursor) -> None:
        """Pass live events to a subscription's replay."""
        self._replays[subscription] = replay

    def join(
        self, subscription: DestinationSubscription, framing: Framing, head: bytes, row_filter: RowFilter | None
    ) -> None:
        """Add a subscription to the group that gets the same bytes; it must have all earlier events."""
        self._replays.pop(subscription, None)
        audience = self._audiences.get(row_filter)
        if audience is None:
            audience = self._audiences[row_filter] = Audience(self.name, row_filter, self.metrics)
        audience.join(subscription, framing, head)

    def move(
        self, subscription: DestinationSubscription, group: Group[DestinationSubscription], row_filter: RowFilter | None
    ) -> None:
        """Move a subscription to the audience of another filter; its framing and head stay the same."""
        self._leave_group(subscription, group)
        self.join(subscription, group.framing, group.head, row_filter)

    def _leave_group(self, subscription: DestinationSubscription, group: Group[DestinationSubscription]) -> None:
        if group.audience.leave(subscription, group):
            del self._audiences[group.audience.row_filter]

    def _watched(self, since: str | None) -> None:
        if since is not None:
            self.gap_notices.announce(self._grouped, since)
        if self._is_starting:
            return
        self._is_starting = True
        try:
            # A subscription may end as soon as it starts, and its client may subscribe again. The new subscription
            # comes after the others, or waits for a new watch if the old one was the last.
            while self._waiting and self.position is not None:
                subscription, _ = self._waiting.popitem(last=False)
                subscription.source_ready()
        finally:
            self._is_starting = False

    def _refused(self, error: StompError) -> None:
        for subscription in self.subscriptions:
            subscription.fail(error)


class Watch:
    """Lets the source watch a destination as long as the destination has subscriptions (*users*).

    :param watched: called when the source begins to watch; also by :meth:`acquire`, at once, if it watches already.
        After a gap its argument is the last position before the gap; else it is None
    :param failed: called when the source can't watch

    :ivar position: the id of the last event that the source delivered, or the position from which it watches; None
        while it isn't watching
    """

    __slots__ = ("_failed", "_is_asked", "_left", "_name", "_source", "_users", "_watched", "position")

    _log = Logger()

    def __init__(
        self,
        name: str,
        source: IEventSource,
        watched: Callable[[str | None], None],
        failed: Callable[[StompError], None],
    ) -> None:
        self.position: str | None = None
        self._name = name
        self._source = source
        self._watched = watched
        self._failed = failed
        self._users = 0
        self._is_asked = False
        self._left: str | None = None  # the position at renew()

    def acquire(self) -> None:
        """Add a user; with the first, start watching."""
        self._users += 1
        if self.position is not None:
            self._watched(None)
        elif not self._is_asked:
            self._ask(after_gap=False)

    def release(self) -> None:
        """Remove a user; with the last, stop watching."""
        self._users -= 1
        if not self._users and self.position is not None:
            self._unwatch()

    def renew(self) -> None:
        """Watch anew after a gap. Call this only while the source watches."""
        self._left = self.position
        self._unwatch()
        self._ask(after_gap=True)

    def _ask(self, after_gap: bool) -> None:
        self._is_asked = True
        watching = self._source.watch(self._name, after_gap)
        watching.addCallbacks(self._answered, self._unwatchable).addErrback(self._broken)

    def _unwatch(self) -> None:
        self.position = None
        self._source.unwatch(self._name)

    def _answered(self, position: str) -> None:
        self._is_asked = False
        left, self._left = self._left, None
        if not self._users:  # all users have gone meanwhile
            self._source.unwatch(self._name)
            return
        self.position = position
        self._watched(left)

    def _unwatchable(self, failure: Failure) -> None:
        self._is_asked = False
        self._left = None
        if not isinstance(failure.value, SourceUnavailable):
            failure.raiseException()
        self._log.warn(
            "cannot watch {destination}: {reason}",
            destination=self._name,
            reason=str(failure.value),
            once_a_minute=f"watch {self._name}",
        )
        self._failed(failure.value.stomp_error())

    def _broken(self, failure: Failure) -> None:
        self._log.failure("cannot watch {destination}", failure, destination=self._name)
        self._failed(StompError(Fault.INTERNAL, "The event source failed."))
