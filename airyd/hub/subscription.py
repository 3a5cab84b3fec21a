"""A client's subscription to one destination: it waits for the source, then it is unicast or a member of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from sys import intern
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from airyd import notices
from airyd.errors import Fault, StompError
from airyd.events import Event, RowFilter, event_id_of, message_id
from airyd.hub.destination import FILTER_FAILED, Destination
from airyd.hub.interfaces import Subscriber
from airyd.hub.recipients import MemberGroup, Recipients
from airyd.hub.replay import ReplayCursor, Window
from airyd.hub.row_filter import FilterFailed
from airyd.interfaces import IChannel, IMeasuredSource
from airyd.limits import SOURCE_PATIENCE
from airyd.metrics import REPLAY_RECOVERED, REPLAY_UNRECOVERED
from airyd.stomp.message import message_frames, message_head, message_tail
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version


class SubscriptionState(Enum):
    """The state of a subscription."""

    OPENING = auto()  # its SUBSCRIBE is not answered yet
    UNICAST = auto()  # it has a replay, which sends to it alone: history, or what its window allows
    GROUPED = auto()  # it gets the same bytes as others
    ENDED = auto()  # it gets nothing more; its client may still know it by its id


class Unicast:
    """What a subscription needs while it is in no group; a group keeps one copy for all its members.

    :ivar request: its SUBSCRIBE
    :ivar head: the start of each MESSAGE (``airyd.stomp.message.message_head``)
    :ivar row_filter: selects the events that the client may see; None for all
    :ivar replay: its replay, if it reads history or has a window
    :ivar is_answered: whether the SUBSCRIBE has been answered
    :ivar answered: fires when it is answered; None if nobody waits for that, as nearly always (a Deferred takes 3 µs)
    """

    __slots__ = ("answered", "head", "is_answered", "replay", "request", "row_filter")

    def __init__(self, request: Subscribe, head: bytes, row_filter: RowFilter | None) -> None:
        self.request = request
        self.head = head
        self.row_filter = row_filter
        self.replay: ReplayCursor | None = None
        self.is_answered = False
        self.answered: Deferred[None] | None = None


class Subscription:
    """One subscription of one client.

    It is a member of a group (``airyd.hub.recipients.Member``) or has a :class:`Unicast`. When it has ended, it has
    neither. Nearly all subscriptions are in a group: that takes less memory.

    :ivar began: the source's id after which it gets every event; None before its SUBSCRIBE is answered
    :ivar destination: the name that the client subscribed to: its destination's, or that of the user destination
    :ivar group: see ``Member``, also for ``recipients`` and ``index``
    """

    __slots__ = ("_destination", "_subscriber", "_unicast", "began", "destination", "group", "index", "recipients")

    def __init__(
        self, destination: Destination, subscriber: Subscriber, request: Subscribe, row_filter: RowFilter | None
    ) -> None:
        self.group: MemberGroup | None = None
        self.recipients: Recipients[Any] | None = None
        self.index = 0
        self.began: str | None = None
        self._destination = destination
        self._subscriber = subscriber
        self.destination = intern(request.destination)  # all subscriptions share the few names
        subscription_id = request.id if request.echo_id else None
        head = message_head(subscriber.version, destination.name, subscription_id, self.destination)
        self._unicast: Unicast | None = Unicast(request, head, row_filter)

    @property
    def state(self) -> SubscriptionState:
        """The current state."""
        if self.group is not None:
            return SubscriptionState.GROUPED
        if self._unicast is None:
            return SubscriptionState.ENDED
        return SubscriptionState.UNICAST if self._unicast.is_answered else SubscriptionState.OPENING

    @property
    def channel(self) -> IChannel:
        """See ``airyd.hub.recipients.Member``."""
        return self._subscriber.channel

    def count_events(self, count: int) -> None:
        """See ``airyd.hub.recipients.Member``."""
        self._subscriber.count_events(count)

    @property
    def replay(self) -> ReplayCursor | None:
        """Its replay, if it has one."""
        return None if self._unicast is None else self._unicast.replay

    @property
    def source_destination(self) -> str:
        """The name of its destination in the catalogue, also if the client has named its user destination."""
        return self._destination.name

    @property
    def is_behind(self) -> bool:
        """Whether the feed may have delivered events that it does not have, because it reads history."""
        return self._unicast is not None and self._unicast.replay is not None and self._unicast.replay.is_behind

    @property
    def last(self) -> str | None:
        """The ``message-id`` of the last event that was handed to its client or passed over; None before the first."""
        last = self.last_event
        return None if last is None else message_id(self._destination.name, last)

    @property
    def last_event(self) -> str | None:
        """The source's id in :attr:`last`."""
        return self._destination.position if self.replay is None else self.replay.last

    @property
    def lag(self) -> float | None:
        """Seconds between its last event and the feed's; 0 if it is not behind, None if the ids do not say it."""
        replay, position, source = self.replay, self._destination.position, self._destination.source
        if replay is None or not replay.is_behind:
            return 0.0
        if position is None or not IMeasuredSource.providedBy(source):
            return None
        try:
            last, feed = (source.age(self._destination.name, each) for each in (replay.last, position))
        except ValueError:  # the client has asked to resume after what is no id of this source
            return None
        return None if last is None or feed is None else max(last - feed, 0.0)

    @property
    def ack(self) -> AckMode:
        """Its ack mode; in a group it is ``auto``."""
        return AckMode.AUTO if self._unicast is None else self._unicast.request.ack

    @property
    def window(self) -> Window | None:
        """Its unacknowledged messages; None in ack mode ``auto``."""
        return None if self.replay is None else self.replay.window

    @property
    def row_filter(self) -> RowFilter | None:
        """The filter of the events that its client sees; None for all."""
        if self._unicast is not None:
            return self._unicast.row_filter
        return None if self.group is None else self.group.row_filter

    @property
    def ordinal(self) -> int:
        """The number of its SUBSCRIBE in the connection; 0 in a group, which has no unacknowledged messages."""
        return 0 if self._unicast is None else self._unicast.request.ordinal

    @property
    def carries_notices(self) -> bool:
        """Whether notices can be sent on it: it is a subscription to ``/airyd/status`` and is in a group."""
        return self._destination.status is not None and self.group is not None

    def open(self) -> Deferred[None] | None:
        """Start; return a Deferred that fires when the SUBSCRIBE is answered, or None if that has happened already.

        Without an answer for ``SOURCE_PATIENCE`` seconds, the client's connection ends with an ERROR.
        """
        unicast = self._unicast
        self._destination.enter(self)
        if unicast is None or self.state is not SubscriptionState.OPENING:
            return None
        unicast.answered = answered = Deferred[None]()
        answered.addErrback(lambda failure: failure.trap(CancelledError) and None)  # closed before the answer
        timeout = self._destination.turns.clock.callLater(SOURCE_PATIENCE, self._overdue)
        return answered.addCallback(lambda _: timeout.cancel() if timeout.active() else None)

    def flush(self) -> None:
        """Send pending events at once, ahead of other subscriptions in this turn of the reactor."""
        if self.group is not None:
            self.group.flush(self)

    def fall_behind(self) -> bool:
        """Leave its group, and read from the history what it has not been sent; return whether that was possible.

        It is not possible if the source keeps no history, or while a gap is reported.
        """
        group, destination = self.group, self._destination
        if group is None or not destination.has_history or destination.is_reporting_gap:
            return False
        # What it asked for when it joined the group is not known any more, and not needed.
        request = Subscribe("", self.destination, AckMode.AUTO, prefetch=0, last_message_id=None, ordinal=0)
        last = destination.retreat(self, group)
        self._unicast = unicast = Unicast(request, group.head, group.row_filter)
        unicast.is_answered = True
        self._start_replay(unicast, last, None)
        return True

    def close(self) -> None:
        """End the subscription, in any state; nothing is sent for it afterwards. This may be called repeatedly."""
        if self.state is SubscriptionState.ENDED:
            self._destination.gap_notices.cancel_end(self)
            return
        unicast, self._unicast = self._unicast, None
        if unicast is not None and unicast.replay is not None:
            if unicast.replay.window is not None:
                self._settled(unicast.request, unicast.replay.window.outstanding)
            unicast.replay.end()
        self._destination.leave(self)
        if unicast is not None and unicast.answered is not None:
            unicast.answered.cancel()

    def settle(self, wire_id: str) -> int:
        """Settle the message of an ACK or NACK; return the number of settled messages, 0 for an unknown ``message-id``.

        A settled message takes no more room in the window. In ack mode ``client`` all messages before it are settled,
        too (STOMP 1.2, "SUBSCRIBE ack Header").
        """
        unicast, event_id = self._unicast, event_id_of(self._destination.name, wire_id)
        if unicast is None or unicast.replay is None or event_id is None:
            return 0
        settled = unicast.replay.settle(event_id, cumulative=unicast.request.ack is AckMode.CLIENT)
        self._settled(unicast.request, settled)
        return len(settled)

    def _settled(self, request: Subscribe, event_ids: Sequence[str]) -> None:
        name = self._destination.name
        self._subscriber.remember_settled(request, [message_id(name, each) for each in event_ids])

    def notify(self, notice: bytes) -> None:
        """Send a notice, after pending events; call this only if :attr:`carries_notices` is true."""
        status, group = self._destination.status, self.group
        if status is not None and group is not None:
            group.flush(self, [message_tail(status.notice(notice))])

    def apply_filter(self, row_filter: RowFilter | None) -> None:
        """Replace the row filter.

        A member of a group is sent its pending events under the old filter first. A replay applies the new filter to
        all events that it still sends, whenever they were published.
        """
        if row_filter == self.row_filter:
            return
        self.flush()
        if self._unicast is not None:
            replay = self._destination.detach(self)
            self._unicast.row_filter = row_filter
            if replay is not None:
                replay.forget_held()  # the old filter let them pass
                self._destination.attach(self, replay, row_filter)
        elif self.group is not None:
            self._destination.move(self, self.group, row_filter)

    # What its destination calls (airyd.hub.destination.DestinationSubscription).

    def source_ready(self) -> None:
        """See ``DestinationSubscription``."""
        unicast, destination = self._require_unicast(), self._destination
        if unicast.replay is not None:
            unicast.replay = unicast.replay.renewed()
            destination.attach(self, unicast.replay, unicast.row_filter)
            unicast.replay.start_after_gap()
            return
        request = unicast.request
        window = None if request.ack is AckMode.AUTO else Window(request.prefetch)
        if request.last_message_id is None:
            if window is not None:
                self._start_replay(unicast, self.position, window).go_live(self.position)
            self._answer(unicast, self.position, None)
            return
        last = event_id_of(destination.name, request.last_message_id)
        if last is None:  # an id of another destination, or an invalid one
            self._start_replay(unicast, self.position, window)
            self.resumed(False)
        else:
            self._start_replay(unicast, last, window).catch_up()

    def report_gap(self, since: str | None) -> None:
        """See ``airyd.hub.pacing.NoticeReceiver``."""
        if since is None and self._subscriber.can_be_notified:
            return
        self.flush()  # events from before the gap are sent before the notice
        if self.group is None and self.replay is None:  # it has not started, or the flush ended the client
            return
        gap_notices = self._destination.gap_notices
        if since is not None:
            notice = notices.gap(self.destination, message_id(self._destination.name, since))
            if self._subscriber.notify(notice):
                return
        error = StompError(Fault.HISTORY_LOST, "Events may be missing: reload and subscribe anew.")
        if not gap_notices.spread or self.state is SubscriptionState.OPENING:
            self.fail(error)
            return
        self.close()  # the connection ends later, but nothing more is sent for this subscription
        gap_notices.end_later(self, error)

    def fail(self, error: StompError) -> None:
        """End the client's connection; before the SUBSCRIBE is answered, the ERROR carries its receipt."""
        unicast = self._unicast
        receipt = None if unicast is None or unicast.is_answered else unicast.request.receipt
        self._subscriber.fail(StompError(error.fault, error.detail, receipt))

    # What its replay calls (airyd.hub.replay.ReplayTarget).

    @property
    def position(self) -> str:
        """See ``ReplayTarget``."""
        position = self._destination.position
        assert position is not None  # noqa: S101  # a subscription that has started keeps the source watching
        return position

    @property
    def buffered(self) -> int:
        """See ``ReplayTarget``."""
        buffered: int = self.channel.buffered
        return buffered

    @property
    def buffered_mark(self) -> int | None:
        """See ``ReplayTarget``."""
        return self._subscriber.buffered_mark if self._destination.has_history else None

    def seconds(self) -> float:
        """See ``ReplayTarget``."""
        return self._destination.turns.clock.seconds()

    def resumed(self, recovered: bool) -> None:
        """See ``ReplayTarget``."""
        unicast = self._require_unicast()
        replay = unicast.replay
        assert replay is not None  # noqa: S101  # only subscriptions with a replay resume
        self._destination.metrics.replays[REPLAY_RECOVERED if recovered else REPLAY_UNRECOVERED] += 1
        if not recovered and replay.window is not None:
            replay.go_live(self.position)
        self._answer(unicast, replay.last if recovered else self.position, recovered)

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """See ``ReplayTarget``."""
        unicast = self._require_unicast()
        if unicast.row_filter is not None:
            try:
                events = self._destination.rows.visible(events, unicast.row_filter)
            except FilterFailed:
                self.fail(FILTER_FAILED)
                return ()
            if not events:
                return events
        is_acknowledged = unicast.request.ack is not AckMode.AUTO and self._subscriber.version is Version.V1_2
        frames = message_frames(unicast.head, events, unicast.request.ordinal if is_acknowledged else None)
        wire = self._subscriber.framing(frames, 1)
        metrics = self._destination.metrics
        metrics.deliveries[self._destination.name] += len(frames)
        metrics.bytes_out += len(wire)
        self._subscriber.count_events(len(frames))
        self.channel.send(wire)
        return events

    def join(self) -> None:
        """See ``ReplayTarget``."""
        unicast = self._require_unicast()
        if unicast.replay is not None:
            unicast.replay.end()
        self._destination.join(self, self._subscriber.framing, unicast.head, unicast.row_filter)
        self._unicast = None

    def later(self, call: Callable[[], None], seconds: float = 0.0) -> None:
        """See ``ReplayTarget``."""
        self._destination.turns.clock.callLater(seconds, call)

    def in_turn(self, call: Callable[[], None]) -> None:
        """See ``ReplayTarget``."""
        self._destination.turns.submit(call)

    def _answer(self, unicast: Unicast, position: str, recovered: bool | None) -> None:
        self.began = position
        self._subscriber.answer_subscribe(unicast.request, message_id(self._destination.name, position), recovered)
        status = self._destination.status
        if status is not None and self._unicast is not None:
            self.send_events([status.state()])
        if self._unicast is None:  # the send ended a client that is too slow, and this with it
            return
        unicast.is_answered = True
        if not recovered and (unicast.replay is None or unicast.replay.window is None):
            self.join()
        answered, unicast.answered = unicast.answered, None
        if answered is not None:
            answered.callback(None)

    def _start_replay(self, unicast: Unicast, last: str, window: Window | None) -> ReplayCursor:
        destination = self._destination
        replay = ReplayCursor(
            destination.pages, destination.name, last, self, window, destination.metrics, unicast.is_answered
        )
        unicast.replay = replay
        destination.attach(self, replay, unicast.row_filter)
        return replay

    def _require_unicast(self) -> Unicast:
        assert self._unicast is not None  # noqa: S101  # neither in a group nor ended
        return self._unicast

    def _overdue(self) -> None:
        self.fail(StompError(Fault.SOURCE_UNAVAILABLE, "The event source did not answer in time; try again later."))
