"""A connection's subscription ids and ack modes, against which UNSUBSCRIBE, ACK and NACK are checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import intern

from airyd.errors import Fault, StompError
from airyd.limits import ENDED_SUBSCRIPTIONS, SETTLED_MESSAGES, Limits
from airyd.stomp.recent import RecentNames
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, parse_ack_id


class _Details:
    """State that is needed only after an UNSUBSCRIBE, or after a SUBSCRIBE with acknowledgements.

    :ivar acknowledged: the ids of the subscriptions that take acknowledgements, by ordinal
    :ivar had_acknowledged: whether there has ever been one of these
    :ivar ended: ids of recently ended subscriptions; for a 1.0 client their destinations, too
    :ivar settled: messages that no longer await an ACK, each with its subscription as an ACK names it
    """

    __slots__ = ("acknowledged", "ended", "had_acknowledged", "settled")

    def __init__(self) -> None:
        self.acknowledged: dict[int, str] = {}
        self.had_acknowledged = False
        self.ended = RecentNames(ENDED_SUBSCRIPTIONS)
        self.settled = RecentNames(SETTLED_MESSAGES)


class SubscriptionIds:
    """The subscriptions of a connection: those that are open, and those that ended recently.

    An asynchronous client may send an ACK, NACK or UNSUBSCRIBE late: after the UNSUBSCRIBE, or twice. That is allowed.

    Every method raises ``StompError`` for what the client may not do.
    """

    __slots__ = ("_destinations", "_details", "_limits", "_ordinal", "_ordinals")

    def __init__(self, limits: Limits) -> None:
        """Allow ``limits.subscriptions`` open subscriptions."""
        self._limits = limits
        self._ordinal = 0
        # By id. A small number needs no memory of its own; an object would take 56 bytes per subscription.
        self._ordinals: dict[str, int] = {}
        # Created on demand, for few connections: destinations by id, and the details.
        self._destinations: dict[str, str] | None = None
        self._details: _Details | None = None

    @property
    def next_ordinal(self) -> int:
        """The ordinal that :meth:`begin` returns next."""
        return self._ordinal + 1

    def begin_all(self, requests: Sequence[Subscribe]) -> bool:
        """Call :meth:`begin` for these, whose ids differ, if it accepts them all; return whether that is so."""
        if len(self._ordinals) + len(requests) > self._limits.subscriptions:
            return False
        for request in requests:
            if request.id in self._ordinals:
                return False
        for request in requests:
            self._ordinal += 1
            self._ordinals[request.id] = self._ordinal
        return True

    def begin(self, subscription_id: str, ack: AckMode, destination: str | None = None) -> int:
        """Add a subscription; return its ordinal, which is unique in the connection.

        :param destination: given if :meth:`id_for` may be called with it
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
        # Many clients use the same few ids, which they share.
        subscription_id = intern(subscription_id)
        self._ordinals[subscription_id] = self._ordinal
        if ack is not AckMode.AUTO:
            details = self._ensure_details()
            details.acknowledged[self._ordinal] = subscription_id
            details.had_acknowledged = True
        if destination is not None:
            if self._destinations is None:
                self._destinations = {}
            self._destinations[subscription_id] = destination
        return self._ordinal

    def end(self, subscription_id: str) -> None:
        """Remove a subscription; do nothing if it ended recently."""
        ordinal = self._ordinals.pop(subscription_id, None)
        if ordinal is None:
            if not self._has_ended(subscription_id):
                raise _unknown(subscription_id)
            return
        details = self._ensure_details()
        details.acknowledged.pop(ordinal, None)
        destination = subscription_id if self._destinations is None else self._destinations.pop(subscription_id)
        for name in (subscription_id, destination):
            if name not in details.ended:  # a client may use the same id many times
                details.ended.add(name)

    def id_for(self, destination: str) -> str:
        """Return the id of the only subscription to a destination, by which a 1.0 client may name it.

        The result is the destination itself if the subscription ended recently.
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
        """Require that a subscription takes acknowledgements, or ended recently; with None, that any one did."""
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
        """Return ordinal, subscription id (None if it has ended) and ``message-id`` of an ``ack`` header."""
        parsed = parse_ack_id(ack_id)
        if parsed is not None and 0 < parsed[0] <= self._ordinal:
            ordinal, message_id = parsed
            subscription_id = None if self._details is None else self._details.acknowledged.get(ordinal)
            if subscription_id is None and ordinal in self._ordinals.values():
                raise StompError(Fault.NOT_ACKNOWLEDGEABLE, f'"{ack_id}" belongs to a subscription with ack:auto.')
            return ordinal, subscription_id, message_id
        raise StompError(Fault.UNKNOWN_MESSAGE, f'"{ack_id}" is not the ack header of a MESSAGE on this connection.')

    def remember_settled(self, subscription: int | str | None, message_ids: Iterable[str]) -> None:
        """Remember messages that no longer await an ACK.

        :param subscription: as an ACK names it: the ordinal in 1.2, the id in 1.1, None in 1.0
        """
        details = self._ensure_details()
        for message_id in message_ids:
            details.settled.add((subscription, message_id))

    def was_settled(self, subscription: int | str | None, message_id: str) -> bool:
        """Return whether a message was sent and no longer awaits an ACK."""
        return self._details is not None and (subscription, message_id) in self._details.settled

    def _ensure_details(self) -> _Details:
        if self._details is None:
            self._details = _Details()
        return self._details

    def _has_ended(self, name: str) -> bool:
        return self._details is not None and name in self._details.ended


def _unknown(subscription_id: str) -> StompError:
    return StompError(Fault.UNKNOWN_SUBSCRIPTION, f'There is no subscription with the id "{subscription_id}".')
