"""Says what happened to an event, for one connection (``ExplainQuery``).

No time is kept for each delivery. So an event counts as sent if it is between the position at which the subscription
began and its present position, and neither a row filter hides it nor bytes wait for the client.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import UnknownDestination
from airyd.events import Event, InvalidEntry, RowFilter, event_id_of
from airyd.hub.hub import Hub
from airyd.hub.row_filter import LazyRow
from airyd.hub.subscription import Subscription, SubscriptionState
from airyd.interfaces import IBrowsableSource, IEventSource
from airyd.management.queries import DeliveryOutcome, ExplainQuery, ExplainReply
from airyd.websocket.protocol import StompWebSocket, StompWebSocketFactory

#: If a client has several subscriptions to the destination, the first of these counts.
_BEST_FIRST: Final = (
    DeliveryOutcome.SENT,
    DeliveryOutcome.BUFFERED,
    DeliveryOutcome.PENDING,
    DeliveryOutcome.FILTERED,
    DeliveryOutcome.BEFORE_POSITION,
)


class Explainer:
    """Explains what happened to events.

    :param source: the source of all destinations of the hub
    :param factory: the connections of this process
    """

    def __init__(self, source: IEventSource, hub: Hub, factory: StompWebSocketFactory) -> None:
        self._source = source
        self._hub = hub
        self._factory = factory

    def answer(self, query: ExplainQuery) -> Deferred[ExplainReply]:
        """Explain; errors: ``UnknownDestination``, ``SourceUnavailable``."""
        return Deferred.fromCoroutine(self._answer(query))

    async def _answer(self, query: ExplainQuery) -> ExplainReply:
        if query.destination is not None and query.destination not in self._hub.catalogue:
            raise UnknownDestination(f"There is no destination {query.destination[:200]!r} here.")
        if self._find(query.connection) is None:  # then the feed need not be asked
            return _NO_CONNECTION
        name, event_id = self._event_of(query)
        if name is None:
            return ExplainReply(
                outcome=DeliveryOutcome.UNKNOWN,
                text="No destination has such message-ids: give the event's message-id, or the feed's id and the"
                " destination.",
            )
        entry: Event | InvalidEntry | None = None
        if IBrowsableSource.providedBy(self._source):
            entry = await self._source.find(name, event_id)
        channel = self._find(query.connection)  # it may have ended meanwhile
        if channel is None:
            return _NO_CONNECTION
        return self._explain(name, event_id, entry, channel)

    def _find(self, connection: str) -> StompWebSocket | None:
        number = self._factory.context.number_of(connection)
        channel = None if number is None else self._factory.channels.get(number)
        return None if channel is None or channel.client.is_over else channel

    def _event_of(self, query: ExplainQuery) -> tuple[str | None, str]:
        """Return the destination and the feed's id of an event.

        A ``message-id`` says the destination, whatever the query says. Otherwise it is the feed's id.
        """
        for name in self._hub.catalogue:
            event_id = event_id_of(name, query.event)
            if event_id is not None:
                return name, event_id
        return query.destination, query.event

    def _explain(
        self, name: str, event_id: str, entry: Event | InvalidEntry | None, channel: StompWebSocket
    ) -> ExplainReply:
        if isinstance(entry, InvalidEntry):
            text = f"Its body breaks the payload rules, so no client gets it; correct its publisher: {entry.reason}."
            return ExplainReply(outcome=DeliveryOutcome.REFUSED, text=text, destination=name)
        client = channel.client
        subscriptions = [
            each
            for each in client.subscribed.values()
            if isinstance(each, Subscription)
            and each.source_destination == name
            and each.state is not SubscriptionState.ENDED
        ]
        if not subscriptions:
            return self._not_subscribed(name, channel)
        if entry is None:
            text = "The history does not have it (any more), so it is unknown whether it was sent; look in the client."
            return ExplainReply(outcome=DeliveryOutcome.UNKNOWN, text=text, destination=name)
        replies = [self._explain_one(entry, each, channel) for each in subscriptions]
        return min(replies, key=lambda reply: _BEST_FIRST.index(reply.outcome))

    def _not_subscribed(self, name: str, channel: StompWebSocket) -> ExplainReply:
        principal = channel.principal
        if principal is None:
            text = "The client has not logged in yet; it must send CONNECT, then SUBSCRIBE."
        elif not self._factory.context.may_subscribe(principal, name):
            text = f"The client may not subscribe to {name}; give its login the right."
            return ExplainReply(outcome=DeliveryOutcome.NOT_PERMITTED, text=text, destination=name)
        else:
            text = f"The client has no subscription to {name}; it must send SUBSCRIBE."
        return ExplainReply(outcome=DeliveryOutcome.NOT_SUBSCRIBED, text=text, destination=name)

    def _explain_one(self, event: Event, subscription: Subscription, channel: StompWebSocket) -> ExplainReply:
        name = event.destination

        def reply(outcome: DeliveryOutcome, text: str, field: str | None = None) -> ExplainReply:
            return ExplainReply(outcome=outcome, text=text, destination=name, field=field)

        row_filter = subscription.row_filter
        if row_filter is not None and not row_filter.matches(LazyRow(event)):
            field = _hiding_field(row_filter, event)
            why = "" if field is None else f", since the client may not see the event's value of {field}"
            text = f"The client's row filter hides it{why}; give its login the right if it should."
            return reply(DeliveryOutcome.FILTERED, text, field)
        if subscription.began is None:
            text = "The client's SUBSCRIBE is not answered yet, because the event source has not answered; wait."
            return reply(DeliveryOutcome.PENDING, text)
        key = self._source.order(name, event.id)
        if key <= self._source.order(name, subscription.began):
            text = (
                "It is older than the subscription, which gets only later events; a client that needs older ones must"
                " subscribe with last-message-id."
            )
            return reply(DeliveryOutcome.BEFORE_POSITION, text)
        last = subscription.last_event
        if subscription.replay is not None and (last is None or key > self._source.order(name, last)):
            text = (
                "The client has not got to it yet, because it reads older events first, or must acknowledge some; it"
                " must read faster or send ACKs."
            )
            return reply(DeliveryOutcome.PENDING, text)
        if last is None or key > self._source.order(name, last):
            text = f"airyd has not read it from the event source yet; look at the lag of {name}."
            return reply(DeliveryOutcome.PENDING, text)
        if subscription.group is not None and subscription.group.holds(event.id):
            return reply(DeliveryOutcome.PENDING, "It is being sent in this moment; ask again.")
        if channel.buffered:
            text = (
                f"It was handed to the client, for which {channel.buffered} bytes wait; the client or its network must"
                " read faster."
            )
            return reply(DeliveryOutcome.BUFFERED, text)
        text = "It was sent: the subscription is past it, and nothing waits for the client; look in the client."
        return reply(DeliveryOutcome.SENT, text)


_NO_CONNECTION: Final = ExplainReply(
    outcome=DeliveryOutcome.NO_CONNECTION,
    text="There is no connection with this id (any more); look for the user's present connections.",
)


def _hiding_field(row_filter: RowFilter, event: Event) -> str | None:
    """Return the field by which a filter hides an event; None if the filter does not say it."""
    row = LazyRow(event)
    if isinstance(row_filter, ClaimRowFilter):
        return row_filter.hiding_field(row)
    key = row_filter.key
    return key.field if key is not None and row.text(key.field) not in key.values else None
