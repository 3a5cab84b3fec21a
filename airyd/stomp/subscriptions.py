"""A connection's subscriptions, as far as later frames are checked against them."""

from __future__ import annotations

from sys import intern

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.spec import AckMode, parse_ack_id


class Subscriptions:
    """Which ids are in use, and which subscriptions take acknowledgements.

    Every method raises ``StompError`` for what the client may not do.
    """

    __slots__ = ("_acknowledged", "_destinations", "_limits", "_ordinal", "_ordinals")

    def __init__(self, limits: Limits) -> None:
        """Hold no more than ``limits.subscriptions``."""
        self._limits = limits
        self._ordinal = 0
        # By id. A small number takes no memory of its own; an object would take 56 bytes of each subscription.
        self._ordinals: dict[str, int] = {}
        # Ids by ordinal of those that aren't auto, and destinations by id: made when needed, which few connections do.
        self._acknowledged: dict[int, str] | None = None
        self._destinations: dict[str, str] | None = None

    def begin(self, subscription_id: str, ack: AckMode, destination: str | None = None) -> int:
        """Add a subscription; return its ordinal, which no other gets.

        :param destination: given if :meth:`id_for` may be asked for it
        """
        if subscription_id in self._ordinals:
            raise StompError(
                Fault.DUPLICATE_SUBSCRIPTION, f'There is a subscription with the id "{subscription_id}" already.'
            )
        if len(self._ordinals) >= self._limits.subscriptions:
            raise StompError(
                Fault.TOO_MANY_SUBSCRIPTIONS,
                f"A connection must not have more than {self._limits.subscriptions} subscriptions.",
            )
        self._ordinal += 1
        # Many clients use the same few ids: one copy serves all.
        subscription_id = intern(subscription_id)
        self._ordinals[subscription_id] = self._ordinal
        if ack is not AckMode.AUTO:
            if self._acknowledged is None:
                self._acknowledged = {}
            self._acknowledged[self._ordinal] = subscription_id
        if destination is not None:
            if self._destinations is None:
                self._destinations = {}
            self._destinations[subscription_id] = destination
        return self._ordinal

    def end(self, subscription_id: str) -> None:
        """Remove a subscription."""
        ordinal = self._find(subscription_id)
        del self._ordinals[subscription_id]
        if self._acknowledged is not None:
            self._acknowledged.pop(ordinal, None)
        if self._destinations is not None:
            self._destinations.pop(subscription_id, None)

    def id_for(self, destination: str) -> str:
        """Return the id of the one subscription that a 1.0 client means by its destination."""
        if destination in self._ordinals:
            return destination
        ids = [i for i, known in (self._destinations or {}).items() if known == destination]
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
        elif self._find(subscription_id) not in (self._acknowledged or ()):
            raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'Subscription "{subscription_id}" has ack:auto.')

    def resolve_ack_id(self, ack_id: str) -> tuple[str, str]:
        """Return the subscription's id and the ``message-id`` of what ``spec.ack_id`` made."""
        parsed = parse_ack_id(ack_id)
        if parsed is not None:
            ordinal, message_id = parsed
            if self._acknowledged is not None and ordinal in self._acknowledged:
                return self._acknowledged[ordinal], message_id
            if ordinal in self._ordinals.values():
                raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'"{ack_id}" is of a subscription with ack:auto.')
        raise StompError(Fault.UNKNOWN_MESSAGE, f'"{ack_id}" is not the ack header of a message of a subscription.')

    def _find(self, subscription_id: str) -> int:
        ordinal = self._ordinals.get(subscription_id)
        if ordinal is None:
            raise StompError(Fault.UNKNOWN_SUBSCRIPTION, f'There is no subscription with the id "{subscription_id}".')
        return ordinal
