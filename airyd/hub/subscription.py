"""One subscription: waiting for the source, in a group of its destination, or with a delivery of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from airyd.errors import Fault, StompError
from airyd.events import Event, RowFilter, event_id_of, message_id
from airyd.hub.destination import Destination, Receiver
from airyd.hub.interfaces import Subscriber, Voice
from airyd.hub.replay import Delivery
from airyd.hub.window import Window
from airyd.limits import SOURCE_PATIENCE
from airyd.metrics import REPLAY_RECOVERED, REPLAY_UNRECOVERED
from airyd.stomp.message import message_frames, message_head, message_tail
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version

#: Stands for the request of a subscription that is in a group: nothing of it matters any more.
_LEVEL: Final = Subscribe("", "", AckMode.AUTO, 0, None, 0)

#: What a subscription that is just being opened waits for: nearly all stand at once, and need no Deferred (3 µs).
_OPENING: Final = Deferred[None]()


class Subscription(Receiver):
    """One subscription of one client: waiting for the source, in a group, or with a delivery of its own.

    :ivar request: what the client asked for
    """

    __slots__ = ("_destination", "_ending", "_head", "_row_filter", "_subscriber", "delivery", "opened", "request")

    def __init__(
        self, destination: Destination, subscriber: Subscriber, request: Subscribe, row_filter: RowFilter | None
    ) -> None:
        super().__init__(subscriber.channel)
        self.request = request
        self.delivery: Delivery | None = None
        self.opened: Deferred[None] | None = None
        self._destination = destination
        self._subscriber = subscriber
        self._row_filter = row_filter
        self._head = b""
        self._ending: IDelayedCall | None = None

    @property
    def destination(self) -> str:
        """What it is a subscription to."""
        return self._destination.name

    @property
    def ordinal(self) -> int:
        """Its number in its connection, as long as it may have messages that wait for an ACK; else perhaps 0."""
        return self.request.ordinal

    @property
    def hears(self) -> bool:
        """See ``Listener``."""
        return self._destination.voice is not None and self.group is not None

    @property
    def listens(self) -> bool:
        """Whether the client can be told that something is missing."""
        return any(one.hears for one in self._subscriber.listeners)

    def open(self) -> Deferred[None] | None:
        """Begin; fires when ``Subscriber.established`` was called, and is None if it was called at once.

        The client fails if that takes too long.
        """
        self.opened = _OPENING
        self._destination.enter(self)
        if self.opened is not _OPENING:
            return None
        self.opened = opened = Deferred[None]()
        opened.addErrback(lambda failure: failure.trap(CancelledError) and None)  # closed before it stood
        timeout = self._destination.turns.clock.callLater(SOURCE_PATIENCE, self._late)
        return opened.addCallback(lambda _: timeout.cancel() if timeout.active() else None)

    def flush(self) -> None:
        """Send at once what was published before, ahead of others in this turn of the reactor."""
        if self.group is not None:
            self.group.audience.flush(self, self.group)

    def close(self) -> None:
        """End, whatever state this is in; nothing is sent for it afterwards."""
        if self._ending is not None:  # it has left already
            if self._ending.active():
                self._ending.cancel()
            return
        if self.delivery is not None:
            if self.delivery.window is not None:
                self._settled(self.delivery.window.outstanding)
            self.delivery.end()
            self.delivery = None
        self._destination.leave(self)
        opened, self.opened = self.opened, None
        if opened is not None and opened is not _OPENING:
            opened.cancel()

    def settle(self, wire_id: str) -> int:
        """Settle the message with this ``message-id``, and return how many messages that settled (0: unknown).

        In mode ``client`` all those before it are settled too (STOMP 1.2, "SUBSCRIBE ack Header").
        """
        event_id = event_id_of(self._destination.name, wire_id)
        if self.delivery is None or event_id is None:
            return 0
        settled = self.delivery.settle(event_id, cumulative=self.request.ack is AckMode.CLIENT)
        self._settled(settled)
        return len(settled)

    def _settled(self, event_ids: Sequence[str]) -> None:
        name = self._destination.name
        self._subscriber.settled(self.request, [message_id(name, each) for each in event_ids])

    def begin(self) -> None:
        """The source is watching: go live, or start to catch up; or go on with that after a gap."""
        request, destination = self.request, self._destination
        if self.delivery is not None:
            self.delivery = self.delivery.renewed()
            destination.follow(self, self.delivery)
            self.delivery.go_on()
            return
        self._head = message_head(self._subscriber.version, destination.name, request.id if request.echo_id else None)
        window = None if request.ack is AckMode.AUTO else Window(request.prefetch)
        if request.last_message_id is None:
            if window is not None:
                self._deliver_from(self.position, window).go_live(self.position)
            self._establish(self.position, None)
            return
        last = event_id_of(destination.name, request.last_message_id)
        if last is None:  # another destination's, or made up
            self._deliver_from(self.position, window)
            self.established(False)
        else:
            self._deliver_from(last, window).catch_up()

    def hear(self, say: Callable[[Voice], Event]) -> bool:
        """See ``Listener``."""
        voice, group = self._destination.voice, self.group
        if voice is None or group is None:
            return False
        group.audience.flush(self, group, [message_tail(say(voice))])
        return True

    def see(self, row_filter: RowFilter | None) -> None:
        """Show the client from now on what this filter lets pass.

        In a group, what was published before is sent as it was. A delivery has the new filter for all that it still
        sends, whenever that was published.
        """
        if row_filter != self._row_filter:
            self.flush()
            self._row_filter = row_filter
            if self.group is not None:
                self._destination.move(self, self.group, row_filter)

    def missed(self, since: str) -> None:
        """See ``airyd.hub.replay.Subscriber``."""
        self.flush()  # what came before is told before
        if self.group is None and self.delivery is None:  # it hasn't begun, or that was the end of it
            return
        name = self._destination.name
        if True not in [one.hear(lambda voice: voice.gap(name, since)) for one in tuple(self._subscriber.listeners)]:
            error = StompError(Fault.HISTORY_LOST, "Events may be missing: reload and subscribe anew.")
            spread = self._destination.spread
            if not spread or self.opened is not None:
                self.fail(error)
                return
            self.close()  # it gets nothing more until then
            delay = random.uniform(0, spread)  # noqa: S311  # no secret
            self._ending = self._destination.turns.clock.callLater(delay, self.fail, error)

    @property
    def position(self) -> str:
        """See ``airyd.hub.replay.Subscriber``."""
        position = self._destination.position
        assert position is not None  # noqa: S101  # whoever has begun keeps the source watching
        return position

    @property
    def buffered(self) -> int:
        """See ``airyd.hub.replay.Subscriber``."""
        buffered: int = self.channel.buffered
        return buffered

    def established(self, recovered: bool) -> None:
        """See ``airyd.hub.replay.Subscriber``."""
        delivery = self.delivery
        assert delivery is not None  # noqa: S101  # it is who calls
        self._destination.metrics.replays[REPLAY_RECOVERED if recovered else REPLAY_UNRECOVERED] += 1
        if not recovered and delivery.window is not None:
            delivery.go_live(self.position)
        self._establish(delivery.last if recovered else self.position, recovered)

    def _establish(self, position: str, recovered: bool | None) -> None:
        self._subscriber.established(self.request, message_id(self._destination.name, position), recovered)
        if self._destination.voice is not None:
            self.send_events([self._destination.voice.present()])
        opened, self.opened = self.opened, None
        if opened is None:  # what was sent found the client too slow, and that closed this
            return
        if not recovered and (self.delivery is None or self.delivery.window is None):
            self.join()
        if opened is not _OPENING:
            opened.callback(None)

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """See ``airyd.hub.replay.Subscriber``."""
        if self._row_filter is not None:
            events = self._destination.rows.seen(events, self._row_filter)
            if not events:
                return events
        is_acknowledged = self.request.ack is not AckMode.AUTO and self._subscriber.version is Version.V1_2
        frames = message_frames(self._head, events, self.request.ordinal if is_acknowledged else None)
        wire = self._subscriber.framing(frames, 1)
        metrics = self._destination.metrics
        metrics.deliveries[self._destination.name] += len(frames)
        metrics.bytes_out += len(wire)
        self.channel.send(wire)
        return events

    def join(self) -> None:
        """See ``airyd.hub.replay.Subscriber``."""
        if self.delivery is not None:
            self.delivery.end()
            self.delivery = None
        self._destination.join(self, self._subscriber.framing, self._head, self._row_filter)
        # From here on the group has all that is needed, once for all its members.
        self.request = _LEVEL
        self._head = b""

    def later(self, call: Callable[[], None]) -> None:
        """See ``airyd.hub.replay.Subscriber``."""
        self._destination.turns.clock.callLater(0, call)

    def in_turn(self, call: Callable[[], None]) -> None:
        """See ``airyd.hub.replay.Subscriber``."""
        self._destination.turns.take(call)

    def fail(self, error: StompError) -> None:
        """End the client's connection; until this stands, the SUBSCRIBE is the frame at fault."""
        receipt = None if self.opened is None else self.request.receipt
        self._subscriber.fail(StompError(error.fault, error.detail, receipt))

    def _deliver_from(self, last: str, window: Window | None) -> Delivery:
        destination = self._destination
        self.delivery = Delivery(destination.source, destination.name, last, self, window, destination.metrics)
        destination.follow(self, self.delivery)
        return self.delivery

    def _late(self) -> None:
        self.fail(StompError(Fault.SOURCE_UNAVAILABLE, "The event source did not answer in time; try again later."))


class Ended:
    """Stands in for a subscription that a new token ended, until the client's UNSUBSCRIBE."""

    __slots__ = ()

    ordinal: ClassVar[int] = 0
    group: ClassVar[None] = None
    delivery: ClassVar[None] = None
    hears: ClassVar[bool] = False

    def flush(self) -> None:
        """There is nothing to send."""

    def close(self) -> None:
        """There is nothing to end."""

    def settle(self, wire_id: str) -> int:
        """Settle nothing: its messages don't wait for an ACK any more."""
        return 0

    def hear(self, say: Callable[[Voice], Event]) -> bool:
        """Say no (``Listener``)."""
        return False


ENDED: Final = Ended()
