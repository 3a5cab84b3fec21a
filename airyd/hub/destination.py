"""One destination: the watch on its source, and its subscriptions: each waits, has a replay, or is in a group."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import Fault, SourceUnavailable, StompError
from airyd.events import Event, RowFilter
from airyd.hub.fanout import Audience, Counter
from airyd.hub.filter_index import FilterIndex
from airyd.hub.pacing import GapNotices, LateRemovals, NoticeReceiver, TurnQueue, spread_of
from airyd.hub.recipients import Member, MemberGroup
from airyd.hub.replay import ReplayCursor
from airyd.hub.row_filter import Rows
from airyd.hub.shared_pages import SharedPages
from airyd.hub.solo import SoloAudience
from airyd.interfaces import IChannel, IEventSource, IHistorySource, IMeasuredSource, IStatusSource
from airyd.metrics import Metrics
from airyd.stomp.message import Framing, message_tail


class DestinationSubscription(Member, NoticeReceiver, Protocol):
    """What a destination needs from a subscription."""

    def source_ready(self) -> None:
        """Start, now that the source watches: go live, or start a replay. After a gap, continue the replay."""


#: What a client is told whose row filter raised an exception.
FILTER_FAILED: Final = StompError(Fault.INTERNAL, "Its row filter failed; the server's log says why.")

AnyAudience = Audience[DestinationSubscription] | SoloAudience[DestinationSubscription]


class ReplayGroup:
    """The replays of one destination whose subscriptions have the same row filter.

    :ivar members: the replays, in the order in which they came
    """

    __slots__ = ("members", "row_filter")

    def __init__(self, row_filter: RowFilter | None) -> None:
        self.row_filter = row_filter
        self.members: dict[ReplayCursor, None] = {}

    def feed(self, events: Sequence[Event], before: str) -> None:
        """Feed all members (``ReplayCursor.feed``)."""
        for replay in tuple(self.members):
            replay.feed(events, before)

    def fail(self, error: StompError) -> None:
        """End the connections of all members' clients."""
        for replay in tuple(self.members):
            replay.fail(error)


class Destination:
    """One entry of the catalogue, which is the list of all destinations.

    :ivar name: such as ``/queue/message``
    :param pages: reads the history
    :param late_removals: removes row filters without members from the indexes; all destinations share it
    :param schedule: called with an audience that must be flushed, and had nothing to flush before
    :param start_timer: called with this destination, the first event of a batch that audiences get, and the time

    :ivar quiet_since: when the last event came, or since when the source watches if none has come, in seconds of the
        reactor; None while it does not watch
    :ivar rows: applies row filters, each once per event
    :ivar turns: lets one replay send in each turn of the reactor; all destinations share it
    :ivar gap_notices: sends the notices of this destination's gaps
    :ivar has_history: whether the source keeps past events, so that a slow client can read them later
    :ivar measured_source: the source, if it is an ``IMeasuredSource``; else None
    :ivar status: the source, if this is ``/airyd/status``; else None
    """

    __slots__ = (
        "_audiences",
        "_counter",
        "_is_starting",
        "_replay_groups",
        "_replays",
        "_schedule",
        "_start_timer",
        "_waiting",
        "_watch",
        "gap_notices",
        "has_history",
        "measured_source",
        "metrics",
        "name",
        "pages",
        "quiet_since",
        "rows",
        "source",
        "status",
        "turns",
    )

    def __init__(
        self,
        name: str,
        source: IEventSource,
        pages: SharedPages,
        turns: TurnQueue,
        late_removals: LateRemovals,
        metrics: Metrics,
        gap_notices: GapNotices,
        schedule: Callable[[AnyAudience], None],
        start_timer: Callable[[Destination, str, float], None],
    ) -> None:
        self.name = name
        self.source = source
        self.pages = pages
        self.measured_source = source if IMeasuredSource.providedBy(source) else None  # asking takes 1 µs
        self.has_history: bool = IHistorySource.providedBy(source) and source.keeps_history(name)
        self.turns = turns
        self.metrics = metrics
        self.rows = Rows()
        self.gap_notices = gap_notices
        self.status: IStatusSource | None = None
        self.quiet_since: float | None = None
        self._schedule = schedule
        self._start_timer = start_timer
        self._watch = Watch(name, source, self._watched, self._refused)
        # In order of arrival. Taking the first entry of a dict would scan all entries removed before it, each time.
        self._waiting: OrderedDict[DestinationSubscription, None] = OrderedDict()
        self._is_starting = False
        self._replays: dict[DestinationSubscription, ReplayCursor] = {}
        self._replay_groups: FilterIndex[ReplayGroup] = FilterIndex(late_removals)
        self._audiences: FilterIndex[AnyAudience] = FilterIndex(late_removals)
        self._counter = Counter(name, metrics)

    @property
    def position(self) -> str | None:
        """The position of the source; None while it is not watching (``Watch.position``)."""
        return self._watch.position

    @property
    def subscriptions(self) -> list[DestinationSubscription]:
        """All subscriptions, in no particular order, as a new list."""
        return [*self._waiting, *self._replays, *self._grouped]

    @property
    def groups(self) -> int:
        """How many groups of subscriptions get the same bytes."""
        return self._counter.groups

    @property
    def filters(self) -> int:
        """How many different row filters the members of groups have."""
        return self._audiences.filters

    @property
    def _grouped(self) -> list[DestinationSubscription]:
        return [member for audience in self._audiences for member in audience.members]

    def deliver(self, events: Sequence[Event]) -> None:
        """Take a batch of live events."""
        before = self._watch.position
        if before is None:  # after unwatch(), the source may still deliver events that were in flight
            return
        self.quiet_since = now = self.turns.clock.seconds()
        if self.gap_notices.held is not None:
            self.gap_notices.held += events
            return
        self._watch.position = events[-1].id
        with self.rows as rows:
            audiences = self._audiences.select(events, rows)
            replay_groups = self._replay_groups.select(events, rows)
            if audiences.indexes or self._audiences.unfiltered is not None:
                self._append(events, audiences.indexes, now, before)
                self._start_timer(self, events[0].id, now)
            if self._replay_groups.unfiltered is not None:
                self._replay_groups.unfiltered.feed(events, before)
            for group, indexes in replay_groups.indexes.items():
                group.feed([events[index] for index in indexes], before)
        # Clients whose filter failed must not miss an event unknowingly.
        for audience in audiences.broken:
            for subscription in audience.members:
                subscription.fail(FILTER_FAILED)
        for group in replay_groups.broken:
            group.fail(FILTER_FAILED)

    def _append(
        self, events: Sequence[Event], selected: Mapping[AnyAudience, Sequence[int]], now: float, before: str
    ) -> None:
        """Let the audiences send these events at the next flush; ``selected`` holds indexes of them."""
        unfiltered = self._audiences.unfiltered
        # With private streams, each worker reads all events and sends a few of them: only those are encoded.
        is_for_all = unfiltered is not None or len(events) == 1
        seen = range(len(events)) if is_for_all else {index for indexes in selected.values() for index in indexes}
        tails = {index: message_tail(events[index]) for index in seen}
        if unfiltered is not None and unfiltered.append(list(tails.values()), now, before):
            self._schedule(unfiltered)
        for audience, indexes in selected.items():
            if audience.append([tails[index] for index in indexes], now, before):
                self._schedule(audience)

    @property
    def replays(self) -> list[tuple[DestinationSubscription, ReplayCursor]]:
        """The subscriptions with their replays, as a new list."""
        return list(self._replays.items())

    def catching_up(self) -> Iterator[IChannel]:
        """Yield the connections of the subscriptions that are behind the feed."""
        return (subscription.channel for subscription, replay in self._replays.items() if replay.is_behind)

    def gap(self) -> None:
        """Renew the watch after a gap; end the connections of clients that can't be notified.

        Members of groups are notified when the source watches again: a client that reloads its state earlier could
        miss more events. Replays continue from their position. If the history can't prove that nothing is missing
        there, they report the gap.
        """
        self.pages.forget(self.name)
        self.gap_notices.spread = spread_of(len(self._replays))
        for subscription, replay in tuple(self._replays.items()):
            if self.position is not None:
                replay.pass_over(self.position)
            subscription.report_gap(None)
            if self.detach(subscription) is not None:  # else the report has ended it
                replay.end()  # source_ready() continues it
                self._waiting[subscription] = None
        self.gap_notices.announce(self._grouped, None)
        if self.position is not None:  # else no subscription is left, or the watch is being renewed already
            self._watch.renew()

    def enter(self, subscription: DestinationSubscription) -> None:
        """Add a subscription, which starts when the source watches."""
        self.metrics.subscriptions[self.name] += 1
        if self.position is None or self._waiting or self._is_starting:
            self._waiting[subscription] = None
            self._watch.acquire()
            return
        # The source watches, and nobody waits, as nearly always.
        self._watch.add_user()
        self._is_starting = True
        try:
            subscription.source_ready()
        finally:
            self._is_starting = False
        if self._waiting and self.position is not None:  # the start has ended this client, which came again
            self._watched(None)

    def leave(self, subscription: DestinationSubscription) -> None:
        """Remove a subscription in any state; with the last one, stop watching."""
        self.metrics.subscriptions[self.name] -= 1
        if self._waiting:
            self._waiting.pop(subscription, None)
        self.detach(subscription)
        if subscription.group is not None:
            self._leave_group(subscription, subscription.group)
        self._watch.release()
        if self.position is None:
            self.quiet_since = None
        self.gap_notices.forget(subscription, is_last=self.position is None)

    def attach(self, subscription: DestinationSubscription, replay: ReplayCursor, row_filter: RowFilter | None) -> None:
        """Pass live events to a subscription's replay: those that the row filter lets pass."""
        replay.row_filter = row_filter
        self._replays[subscription] = replay
        group = self._replay_groups.get(row_filter)
        if group is None:
            group = ReplayGroup(row_filter)
            self._replay_groups.add(group)
        group.members[replay] = None

    def detach(self, subscription: DestinationSubscription) -> ReplayCursor | None:
        """Pass no more events to a subscription's replay; return the replay, or None if it had none attached."""
        if not self._replays:
            return None
        replay = self._replays.pop(subscription, None)
        group = None if replay is None else self._replay_groups.get(replay.row_filter)
        if replay is not None and group is not None:
            del group.members[replay]
            if not self._replays:
                self.pages.forget(self.name)
            if not group.members:
                self._replay_groups.discard(group)
        return replay

    def join(
        self, subscription: DestinationSubscription, framing: Framing, head: bytes, row_filter: RowFilter | None
    ) -> None:
        """Add a subscription to the group that gets the same bytes; it must have all earlier events."""
        self.detach(subscription)
        audience = self._audiences.get(row_filter)
        if audience is None and row_filter is not None:
            self._audiences.add(SoloAudience(subscription, framing, head, row_filter, self._counter))
            return
        if audience is None:
            audience = Audience(row_filter, self._counter)
            self._audiences.add(audience)
        elif isinstance(audience, SoloAudience):
            if audience.member is None:
                audience.join(subscription, framing, head)
                return
            audience = self._share(audience)
        audience.join(subscription, framing, head)

    def move(self, subscription: DestinationSubscription, group: MemberGroup, row_filter: RowFilter | None) -> None:
        """Move a subscription to the audience of another filter; its framing and head stay the same."""
        self._leave_group(subscription, group)
        self.join(subscription, group.framing, group.head, row_filter)

    @property
    def is_reporting_gap(self) -> bool:
        """Whether the source does not watch, or the notices of a gap are being sent."""
        return self.position is None or self.gap_notices.held is not None

    def retreat(self, subscription: DestinationSubscription, group: MemberGroup) -> str:
        """Remove a member from its group; return the source's id after which it has no events.

        Do not call this while a gap is reported.
        """
        position = group.sent_up_to(subscription) or self.position
        assert position is not None  # noqa: S101  # the source watches
        self._leave_group(subscription, group)
        return position

    def _leave_group(self, subscription: DestinationSubscription, group: MemberGroup) -> None:
        row_filter = group.row_filter
        if group.leave(subscription):
            audience = self._audiences.get(row_filter)
            assert audience is not None  # noqa: S101  # it has just lost its last member
            self._audiences.discard(audience)

    def _share(self, solo: SoloAudience[DestinationSubscription]) -> Audience[DestinationSubscription]:
        """Replace the audience of a single member with one that others can join."""
        audience = Audience[DestinationSubscription](solo.row_filter, self._counter)
        self._audiences.replace(solo, audience)
        before = solo.before
        pending = solo.take_pending()
        for member in solo.members:
            solo.leave(member)
            audience.join(member, solo.framing, solo.head)
        if pending and audience.append(pending, solo.flushed_at, before):
            self._schedule(audience)
        return audience

    def _watched(self, since: str | None) -> None:
        if self.quiet_since is None:
            self.quiet_since = self.turns.clock.seconds()
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

    def add_user(self) -> None:
        """Add a user while the source watches."""
        self._users += 1

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
        watching = maybeDeferred(self._source.watch, self._name, after_gap)
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
