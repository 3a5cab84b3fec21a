"""A client for tests of the hub: records the hub's calls and carries out what they require."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault, StompError
from airyd.events import Event, Row, RowFilter, destination_tag
from airyd.hub.destination import AnyAudience, Destination
from airyd.hub.pacing import GapNotices, LateRemovals, NoticeBudget, TurnQueue
from airyd.hub.shared_pages import SharedPages
from airyd.hub.subscription import Subscription
from airyd.metrics import Metrics
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version
from airyd.websocket.frames import websocket_framing
from tests.model.channel import MemoryChannel
from tests.model.twin import Twin

#: The destination of a :class:`DestinationCase`.
NAME: Final = "/a"


class Hides:
    """A filter that hides one body and counts its calls."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked = 0

    key: None = None

    def matches(self, row: Row) -> bool:
        """See ``RowFilter``."""
        self.asked += 1
        return row.event.body != self.body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hides) and other.body == self.body

    def __hash__(self) -> int:
        return hash(self.body)


class Peer:
    """A subscriber with a channel in memory.

    :ivar answers: ``(id, position, recovered)`` of each established subscription
    :ivar faults: why the connection was ended
    :ivar settled_ids: the ``message-id`` of each message that needs no further ACK
    :ivar events: how many it was sent, by those who send, once its subscriptions have ended
    """

    framing: Final[Framing] = staticmethod(websocket_framing)

    def __init__(
        self, version: Version = Version.V1_2, bound: int = 1 << 21, tls: bool = False, mark: int = sys.maxsize
    ) -> None:
        self.version = version
        self.channel = MemoryChannel(self, bound, tls, mark)
        self.buffered_mark = mark
        self.subscriptions: list[Subscription] = []
        self.answers: list[tuple[str, str, bool | None]] = []
        self.faults: list[Fault] = []
        self.settled_ids: list[str] = []
        self.events = 0

    @property
    def can_be_notified(self) -> bool:
        """See ``airyd.hub.interfaces.Subscriber``."""
        return any(subscription.carries_notices for subscription in self.subscriptions)

    def notify(self, notice: bytes) -> bool:
        """Pass the notice to the subscriptions to ``/airyd/status``."""
        carriers = [subscription for subscription in self.subscriptions if subscription.carries_notices]
        for subscription in carriers:
            subscription.notify(notice)
        return bool(carriers)

    def answer_subscribe(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Record the answer; its position has no destination's tag."""
        position = position.removeprefix(f"{destination_tag(request.destination)}-")
        self.answers.append((request.id, position, recovered))
        self.channel.say(websocket_framing([f"RECEIPT\nreceipt-id:{request.id}\n\n\0".encode()], 1))

    def remember_settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Record the ids."""
        self.settled_ids += message_ids

    def count_events(self, count: int) -> None:
        """Add it to the events so far."""
        self.events += count

    def fail(self, error: StompError) -> None:
        """Record the fault, and end all subscriptions."""
        if not self.faults:
            self.faults.append(error.fault)
            self.leave()
            self.channel.close(error.fault)

    def leave(self) -> None:
        """End all subscriptions."""
        subscriptions, self.subscriptions = self.subscriptions, []
        for subscription in subscriptions:
            subscription.close()

    def direct_changed(self) -> None:
        """See ``IChannelOwner``."""
        for subscription in self.subscriptions:
            if subscription.group is not None:
                subscription.group.refresh(subscription)

    def fall_behind(self) -> None:
        """See ``IChannelOwner``."""
        for subscription in self.subscriptions:
            if subscription.group is not None:
                subscription.fall_behind()

    def drained(self) -> None:
        """See ``IChannelOwner``."""
        for subscription in self.subscriptions:
            if subscription.replay is not None:
                subscription.replay.continue_reading()

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all MESSAGEs so far."""
        return self.channel.bodies


def request(
    destination: str,
    id: str = "sub-0",
    *,
    ack: AckMode = AckMode.AUTO,
    prefetch: int = 100,
    last: str | None = None,
    ordinal: int = 1,
    echo_id: bool = True,
) -> Subscribe:
    """Return a SUBSCRIBE; ``last`` is an id of the source."""
    last_message_id = None if last is None else f"{destination_tag(destination)}-{last}"
    return Subscribe(id, destination, ack, prefetch, last_message_id, ordinal, echo_id, receipt=id)


def flush(audience: AnyAudience) -> None:
    """Send all pending events of an audience."""
    audience.start_batch()
    audience.advance(1000)
    while audience.is_in_flight:
        audience.advance(1000)


class DestinationCase(SynchronousTestCase):
    """A destination over a twin of a feed, which answers when told; the test takes the hub's place."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.twin = Twin(kept=100)
        self.metrics = Metrics([NAME])
        gap_notices = GapNotices(NoticeBudget(self.clock), self.deliver)
        self.dirty: list[AnyAudience] = []
        turns = TurnQueue(self.clock)
        removals = LateRemovals(self.clock)
        self.destination = Destination(
            NAME,
            self.twin,
            SharedPages(self.twin),
            turns,
            removals,
            self.metrics,
            gap_notices,
            self.dirty.append,
            lambda *measured: None,
        )

    def subscribe(
        self, peer: Peer, asked: Subscribe | None = None, row_filter: RowFilter | None = None
    ) -> Deferred[None]:
        """Subscribe a peer; return the Deferred of ``open()``."""
        subscription = Subscription(self.destination, peer, asked or request(NAME), row_filter)
        peer.subscriptions.append(subscription)
        return subscription.open() or succeed(None)

    def live(self, count: int) -> list[Peer]:
        """Return ``count`` peers that are subscribed to a watched destination."""
        peers = [Peer() for _ in range(count)]
        for peer in peers:
            self.subscribe(peer)
        if self.twin.watches:
            self.twin.answer_watch(self.twin.watches[0])
        return peers

    def bring(self, *bodies: bytes) -> None:
        """Publish events, and let the feed bring them immediately, as one batch."""
        events = [self.twin.append(NAME, body) for body in bodies]
        self.twin.cursor[NAME] += len(events)
        self.deliver(events)

    def deliver(self, events: Sequence[Event]) -> None:
        """Deliver these events to the destination, and send them immediately."""
        self.destination.deliver(events)
        self.flush()

    def flush(self) -> None:
        """Send the pending events of all audiences."""
        dirty, self.dirty[:] = self.dirty[:], []
        for audience in dirty:
            flush(audience)
