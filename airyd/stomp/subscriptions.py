"""A connection's subscriptions, as far as later frames are checked against them."""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern

from airyd.errors import Fault, StompError
from airyd.limits import ENDED_SUBSCRIPTIONS, SETTLED_MESSAGES, Limits
from airyd.stomp.recent import RecentNames
from airyd.stomp.spec import AckMode, parse_ack_id


class _Details:
    """What is needed from the first UNSUBSCRIBE on, or the first subscription that takes acknowledgements.

    :ivar acknowledged: the ids of those that do, by ordinal
    :ivar had_acknowledged: whether there has been one of these
    :ivar ended: the ids that were in use a short time ago; of a 1.0 client, their destinations, too
    :ivar settled: messages that no longer wait for an ACK, each with its subscription as an ACK names it
    """

    __slots__ = ("acknowledged", "ended", "had_acknowledged", "settled")

    def __init__(self) -> None:
        self.acknowledged: dict[int, str] = {}
        self.had_acknowledged = False
        self.ended = RecentNames(ENDED_SUBSCRIPTIONS)
        self.settled = RecentNames(SETTLED_MESSAGES)


class Subscriptions:
    """Which ids are in use, which subscriptions take acknowledgements, and what was so a short time ago.

    A client that works asynchronously may send an ACK, NACK or UNSUBSCRIBE late: behind the UNSUBSCRIBE, or twice.

    Every method raises ``StompError`` for what the client may not do.
    """

    __slots__ = ("_destinations", "_details", "_limits", "_ordinal", "_ordinals")

    def __init__(self, limits: Limits) -> None:
        """Hold no more than ``limits.subscriptions``."""
        self._limits = limits
        self._ordinal = 0
        # By id. A small number takes no memory of its own; an object would take 56 bytes of each subscription.
        self._ordinals: dict[str, int] = {}
        # Made when needed, which few connections do: destinations by id, and the details.
        self._destinations: dict[str, str] | None = None
        self._details: _Details | None = None

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
            details = self._needed()
            details.acknowledged[self._ordinal] = subscription_id
            details.had_acknowledged = True
        if destination is not None:
            if self._destinations is None:
                self._destinations = {}
            self._destinations[subscription_id] = destination
        return self._ordinal

    def end(self, subscription_id: str) -> None:
        """Remove a subscription. Nothing is to be done for one that has ended a short time ago."""
        ordinal = self._ordinals.pop(subscription_id, None)
        if ordinal is None:
            if not self._has_ended(subscription_id):
                raise _unknown(subscription_id)
            return
        details = self._needed()
        details.acknowledged.pop(ordinal, None)
        destination = subscription_id if self._destinations is None else self._destinations.pop(subscription_id)
        for name in (subscription_id, destination):
            if name not in details.ended:  # a client may use the same one again and again
                details.ended.add(name)

    def id_for(self, destination: str) -> str:
        """Return the id of the one subscription that a 1.0 client means by its destination.

        It is the destination itself if the subscription has ended a short time ago.
        """
        if destination in self._ordinals:
            return destination
        ids = [i for i, known in (self._destinations or {}).items() if known == destination]
        if not ids and self._has_ended(destination):
            return destination
        if len(ids) != 1:
            raise StompError(
                Fault.UNKNOWN_SUBSCRIPTION, f'There are {len(ids)} subscriptions to "{destination}", not one.'
            )
        return ids[0]

    def check_acknowledged(self, subscription_id: str | None) -> None:
        """Require that this subscription takes acknowledgements, or may have done so; None: that any has."""
        details = self._details
        if details is not None and details.had_acknowledged:
            if subscription_id is None or self._ordinals.get(subscription_id) in details.acknowledged:
                return
            if subscription_id in details.ended:
                return
        if subscription_id is None:
            raise StompError(Fault.NOT_ACKNOWLEDGEABLE, "There is no subscription with ack:client.")
        if subscription_id not in self._ordinals:
            raise _unknown(subscription_id)
        raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'Subscription "{subscription_id}" has ack:auto.')

    def resolve_ack_id(self, ack_id: str) -> tuple[int, str | None, str]:
        """Return what ``spec.ack_id`` was made of, and the subscription's id between: None if it has ended."""
        parsed = parse_ack_id(ack_id)
        if parsed is not None and 0 < parsed[0] <= self._ordinal:
            ordinal, message_id = parsed
            subscription_id = None if self._details is None else self._details.acknowledged.get(ordinal)
            if subscription_id is None and ordinal in self._ordinals.values():
                raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'"{ack_id}" is of a subscription with ack:auto.')
            return ordinal, subscription_id, message_id
        raise StompError(Fault.UNKNOWN_MESSAGE, f'"{ack_id}" is not the ack header of a message of a subscription.')

    def settled(self, subscription: int | str | None, message_ids: Iterable[str]) -> None:
        """Remember messages that no longer wait for an ACK.

        :param subscription: as an ACK names it: the ordinal in 1.2, the id in 1.1, nothing in 1.0
        """
        details = self._needed()
        for message_id in message_ids:
            details.settled.add((subscription, message_id))

    def was_settled(self, subscription: int | str | None, message_id: str) -> bool:
        """Say whether a message was sent, and no longer waits for an ACK."""
        return self._details is not None and (subscription, message_id) in self._details.settled

    def _needed(self) -> _Details:
        if self._details is None:
            self._details = _Details()
        return self._details

    def _has_ended(self, name: str) -> bool:
        return self._details is not None and name in self._details.ended


def _unknown(subscription_id: str) -> StompError:
    return StompError(Fault.UNKNOWN_SUBSCRIPTION, f'There is no subscription with the id "{subscription_id}".')
