"""A destination: who gets its events, in which group or by which delivery."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

from airyd.errors import StompError
from airyd.events import Event, RowFilter
from airyd.hub.fanout import Audience, Group, Member
from airyd.hub.interfaces import Voice
from airyd.hub.replay import Delivery
from airyd.hub.row_filter import Rows
from airyd.hub.telling import Telling, spread_of
from airyd.hub.turns import Turns
from airyd.hub.watch import Watch
from airyd.interfaces import IEventSource
from airyd.metrics import Metrics
from airyd.stomp.message import Framing, message_tail


class Receiver(Member, ABC):
    """A subscription, as its destination sees it."""

    __slots__ = ()

    @property
    @abstractmethod
    def listens(self) -> bool:
        """Whether the client can be told that something is missing."""

    @abstractmethod
    def begin(self) -> None:
        """The source is watching: go live, or start to catch up; or go on with that after a gap."""

    @abstractmethod
    def missed(self, since: str) -> None:
        """Tell the client that what came after an event may be missing, or end its connection if that can't be."""

    @abstractmethod
    def fail(self, error: StompError) -> None:
        """End the client's connection."""


class Destination:
    """One entry of the catalogue.

    :ivar name: such as ``/queue/message``
    :ivar rows: what filters say of the events that it delivers
    :ivar turns: whose turn it is, of all subscribers that have much to send
    :ivar voice: what it says to one subscriber alone; None but for ``/airyd/status``
    """

    __slots__ = (
        "_audiences",
        "_deliveries",
        "_is_beginning",
        "_telling",
        "_waiting",
        "_watch",
        "metrics",
        "name",
        "rows",
        "source",
        "turns",
        "voice",
    )

    def __init__(self, name: str, source: IEventSource, turns: Turns, metrics: Metrics, telling: Telling) -> None:
        self.name = name
        self.source = source
        self.turns = turns
        self.metrics = metrics
        self.rows = Rows()
        self.voice: Voice | None = None
        self._telling = telling
        self._watch = Watch(name, source, self._began, self._refuse)
        # In the order in which they came: a dict looks through all that were taken from its beginning, each time.
        self._waiting: OrderedDict[Receiver, None] = OrderedDict()
        self._is_beginning = False
        self._deliveries: dict[Receiver, Delivery] = {}
        self._audiences: dict[RowFilter | None, Audience[Receiver]] = {}

    @property
    def position(self) -> str | None:
        """See ``Watch``."""
        return self._watch.position

    @property
    def spread(self) -> float:
        """See ``Telling``."""
        return self._telling.spread

    @property
    def subscriptions(self) -> list[Receiver]:
        """All subscriptions, in no order, in a new list."""
        return [*self._waiting, *self._deliveries, *self._grouped]

    @property
    def _grouped(self) -> list[Receiver]:
        return [member for audience in self._audiences.values() for member in audience.members]

    def deliver(self, events: Sequence[Event]) -> list[Audience[Receiver]]:
        """Take a batch of live events; return the audiences that have something to send now and had nothing before."""
        if self._watch.position is None:  # the source was still on its way to stop watching
            return []
        if self._telling.held is not None:
            self._telling.held += events
            return []
        self._watch.position = events[-1].id
        dirty = []
        with self.rows as rows:
            if self._audiences:
                now = self.turns.clock.seconds()
                tails = [message_tail(event) for event in events]
                # All filters are asked first: one that fails must not leave others with events that nobody flushes.
                for audience, seen in [(each, each.seen(events, tails, rows)) for each in self._audiences.values()]:
                    if seen and audience.append(seen, now):
                        dirty.append(audience)
            for delivery in tuple(self._deliveries.values()):
                delivery.feed(events)
        return dirty

    def miss(self) -> None:
        """Begin anew, since events may be missing; whoever can't be told of that goes now.

        Those in groups are told when the source watches again: then it helps to load the state. Those who catch up go
        on from where they are, as far as the history proves that nothing is missing.
        """
        self._telling.spread = spread_of(len(self._deliveries))
        for subscription, delivery in tuple(self._deliveries.items()):
            if subscription.listens:
                delivery.end()  # until the subscription begins again
                self._waiting[subscription] = None
            else:
                subscription.missed("")
        self._deliveries = {}
        self._telling.begin(self._grouped, None)
        if self.position is not None:  # else nobody is left, or it begins anew already
            self._watch.renew()

    def enter(self, subscription: Receiver) -> None:
        """Let a subscription in: it begins when the source is watching."""
        self.metrics.subscriptions[self.name] += 1
        self._waiting[subscription] = None
        self._watch.need()

    def leave(self, subscription: Receiver) -> None:
        """Let a subscription out, wherever it is; with the last one the source stops watching."""
        self.metrics.subscriptions[self.name] -= 1
        self._waiting.pop(subscription, None)
        self._deliveries.pop(subscription, None)
        if subscription.group is not None:
            self._part(subscription, subscription.group)
        self._watch.release()
        self._telling.leave(subscription, is_last=self.position is None)

    def follow(self, subscription: Receiver, delivery: Delivery) -> None:
        """Feed live events to a subscription's own delivery."""
        self._deliveries[subscription] = delivery

    def join(self, subscription: Receiver, framing: Framing, head: bytes, row_filter: RowFilter | None) -> None:
        """Let a subscription that is level get its events with all those whose bytes are the same."""
        self._deliveries.pop(subscription, None)
        audience = self._audiences.get(row_filter)
        if audience is None:
            audience = self._audiences[row_filter] = Audience(self.name, row_filter, self.metrics)
        audience.join(subscription, framing, head)

    def move(self, subscription: Receiver, group: Group[Receiver], row_filter: RowFilter | None) -> None:
        """Let a subscription get the events of another audience, with the MESSAGEs that it had."""
        self._part(subscription, group)
        self.join(subscription, group.framing, group.head, row_filter)

    def _part(self, subscription: Receiver, group: Group[Receiver]) -> None:
        if group.audience.leave(subscription, group):
            del self._audiences[group.audience.row_filter]

    def _began(self, since: str | None) -> None:
        if since is not None:
            self._telling.begin(self._grouped, since)
        if self._is_beginning:
            return
        self._is_beginning = True
        try:
            # Whoever begins may leave at once, and come back: behind the others, or to wait for another watch if it was
            # the last.
            while self._waiting and self.position is not None:
                subscription, _ = self._waiting.popitem(last=False)
                subscription.begin()
        finally:
            self._is_beginning = False

    def _refuse(self, error: StompError) -> None:
        for subscription in self.subscriptions:
            subscription.fail(error)
