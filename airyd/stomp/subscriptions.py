"""A connection's subscriptions, as far as later frames are checked against them."""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.spec import AckMode, parse_ack_id


@dataclass(slots=True)
class _Subscription:
    destination: str
    ack: AckMode
    ordinal: int


class Subscriptions:
    """Which ids are in use, and which subscriptions take acknowledgements.

    Every method raises ``StompError`` for what the client may not do.
    """

    __slots__ = ("_acknowledged", "_by_id", "_limits", "_ordinal")

    def __init__(self, limits: Limits) -> None:
        """Hold no more than ``limits.subscriptions``."""
        self._limits = limits
        self._by_id: dict[str, _Subscription] = {}
        # Ordinal to id of those that aren't auto: made when needed, which most connections never do.
        self._acknowledged: dict[int, str] | None = None
        self._ordinal = 0

    def begin(self, subscription_id: str, destination: str, ack: AckMode) -> int:
        """Add a subscription; return its ordinal, which no other gets."""
        if subscription_id in self._by_id:
            raise StompError(
                Fault.DUPLICATE_SUBSCRIPTION, f'There is a subscription with the id "{subscription_id}" already.'
            )
        if len(self._by_id) >= self._limits.subscriptions:
            raise StompError(
                Fault.TOO_MANY_SUBSCRIPTIONS,
                f"A connection must not have more than {self._limits.subscriptions} subscriptions.",
            )
        self._ordinal += 1
        # Many clients use the same few ids: one copy serves all.
        subscription_id = intern(subscription_id)
        self._by_id[subscription_id] = _Subscription(intern(destination), ack, self._ordinal)
        if ack is not AckMode.AUTO:
            if self._acknowledged is None:
                self._acknowledged = {}
            self._acknowledged[self._ordinal] = subscription_id
        return self._ordinal

    def end(self, subscription_id: str) -> None:
        """Remove a subscription."""
        ordinal = self._find(subscription_id).ordinal
        del self._by_id[subscription_id]
        if self._acknowledged is not None:
            self._acknowledged.pop(ordinal, None)

    def id_for(self, destination: str) -> str:
        """Return the id of the one subscription that a 1.0 client means by its destination."""
        if destination in self._by_id:
            return destination
        ids = [i for i, subscription in self._by_id.items() if subscription.destination == destination]
        if len(ids) != 1:
            raise StompError(
                Fault.UNKNOWN_SUBSCRIPTION, f'There are {len(ids)} subscriptions to "{destination}", not one.'
            )
        return ids[0]

    def check_acknowledged(self, subscription_id: str | None) -> None:
        """See to it that this subscription takes acknowledgements, or, for None, that one of all does."""
        if subscription_id is None:
            if not self._acknowledged:
                raise StompError(Fault.NOT_ACKNOWLEDGEABLE, "There is no subscription with ack:client.")
        elif self._find(subscription_id).ack is AckMode.AUTO:
            raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'Subscription "{subscription_id}" has ack:auto.')

    def resolve_ack_id(self, ack_id: str) -> tuple[str, str]:
        """Return the subscription's id and the ``message-id`` of what ``spec.ack_id`` made."""
        parsed = parse_ack_id(ack_id)
        if parsed is not None:
            ordinal, message_id = parsed
            if self._acknowledged is not None and ordinal in self._acknowledged:
                return self._acknowledged[ordinal], message_id
            if any(subscription.ordinal == ordinal for subscription in self._by_id.values()):
                raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'"{ack_id}" is of a subscription with ack:auto.')
        raise StompError(Fault.UNKNOWN_MESSAGE, f'"{ack_id}" is not the ack header of a message of a subscription.')

    def _find(self, subscription_id: str) -> _Subscription:
        subscription = self._by_id.get(subscription_id)
        if subscription is None:
            raise StompError(Fault.UNKNOWN_SUBSCRIPTION, f'There is no subscription with the id "{subscription_id}".')
        return subscription
