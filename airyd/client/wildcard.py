"""A wildcard SUBSCRIBE: a subscription to a pattern, made of one subscription to each destination that matches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Final, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from airyd.client.context import ClientContext
from airyd.client.timer_wheel import Timer
from airyd.errors import Fault, StompError
from airyd.events import Event, RowFilter, message_id
from airyd.hub.destination import Destination
from airyd.hub.interfaces import Subscriber
from airyd.hub.subscription import Subscription, SubscriptionState
from airyd.interfaces import IChannel, IPrincipal
from airyd.limits import LONGEST_PATTERN, SOURCE_PATIENCE
from airyd.patterns import Pattern
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version

#: Many clients subscribe to the same few patterns, which they share.
_pattern: Final = lru_cache(maxsize=256)(Pattern)


#: The key of a subscription in its client: its id, or for a part of a wildcard the id and the destination.
SubscriptionKey = str | tuple[str, str]


class WildcardOwner(Subscriber, Protocol):
    """The client that a wildcard belongs to.

    :ivar subscribed: its subscriptions by key
    """

    subscribed: dict[SubscriptionKey, Subscription | Wildcard]


class WildcardPart(Subscription):
    """A wildcard's subscription to one destination.

    :param is_late: whether it was not part of the SUBSCRIBE but joined later
    """

    __slots__ = ("_is_late", "_wildcard")

    def __init__(
        self,
        destination: Destination,
        wildcard: Wildcard,
        request: Subscribe,
        row_filter: RowFilter | None,
        is_late: bool,
    ) -> None:
        super().__init__(destination, wildcard, request, row_filter)
        self._wildcard = wildcard
        self._is_late = is_late

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """See ``airyd.hub.replay.ReplayTarget``."""
        sent = super().send_events(events)
        self._wildcard.sent(self, sent)
        return sent

    def fail(self, error: StompError) -> None:
        """End the client's connection; but postpone a late part that can't open because its source is unreachable."""
        is_opening = self.state is SubscriptionState.OPENING
        if self._is_late and is_opening and error.fault is Fault.SOURCE_UNAVAILABLE:
            self._wildcard.postpone(self)
        else:
            super().fail(error)


class Wildcard:
    """A client's subscription to a pattern; the client holds it under its id, besides its parts.

    It has the methods of a subscription, without a group or a replay: its parts do all the work, and the client
    handles them like its other subscriptions. For its parts it is the ``Subscriber``.

    Destinations that are added to the catalogue later join it.

    :param request: a SUBSCRIBE with a pattern as its destination

    Raises ``StompError`` for an invalid SUBSCRIBE, no allowed destination, or too many subscriptions.
    """

    __slots__ = (
        "_client",
        "_context",
        "_is_open",
        "_left_out",
        "_parts",
        "_pattern",
        "_postponed",
        "_principal",
        "_request",
        "_unsettled",
    )

    _log = Logger()

    group: ClassVar[None] = None
    replay: ClassVar[None] = None

    def __init__(
        self, context: ClientContext, client: WildcardOwner, request: Subscribe, principal: IPrincipal
    ) -> None:
        if request.last_message_id is not None:
            text = "A pattern can't have a last-message-id: to resume, subscribe to each destination singly."
            raise StompError(Fault.INVALID_HEADER, text)
        self._context = context
        self._client = client
        self._request = request
        self._principal = principal
        self._pattern = _read_pattern(request.destination)
        self._parts: dict[str, WildcardPart] = {}
        self._postponed: dict[str, Timer] = {}
        # The destinations that were left out, and logged, because the client had too many subscriptions.
        self._left_out: set[str] = set()
        # In ack mode client, the unacknowledged messages in the order of sending: an ACK settles all before it.
        self._unsettled: dict[str, WildcardPart] | None = {} if request.ack is AckMode.CLIENT else None
        self._is_open = False
        allowed = self._allowed(context.hub.matching(self._pattern))
        if not allowed:
            raise StompError(Fault.FORBIDDEN, f"You may not subscribe to any destination of {self._pattern.text}.")
        most = context.limits.subscriptions
        if len(client.subscribed) + 1 + len(allowed) > most:
            text = f"{self._pattern.text} matches {len(allowed)} destinations, and a connection must not have more"
            raise StompError(Fault.TOO_MANY_SUBSCRIPTIONS, f"{text} than {most} subscriptions: each counts as one.")

    def _allowed(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._context.may_subscribe(self._principal, name)]

    def open(self) -> Deferred[None] | None:
        """Open all parts; fires when all are established, and is None if they are already (``Subscription.open``)."""
        self._is_open = True
        hub = self._context.hub
        hub.followers[self] = None
        waiting = []
        for name in self._allowed(hub.matching(self._pattern)):
            if not self._is_open:  # the previous part has ended the client
                break
            opening = self._open_part(name, self._request.receipt, is_late=False)
            if opening is not None:
                waiting.append(opening)
        return gatherResults(waiting).addCallback(lambda _: None) if waiting else None

    def _open_part(self, name: str, receipt: str | None, is_late: bool) -> Deferred[None] | None:
        request = replace(self._request, destination=name, receipt=receipt)
        destination = self._context.hub.find_destination(request)
        part = WildcardPart(destination, self, request, self._principal.row_filter(name), is_late)
        self._parts[name] = part
        self._client.subscribed[self._request.id, name] = part
        return part.open()

    # Parts that join or end later.

    def added(self, names: Sequence[str]) -> None:
        """Join new destinations that match and are allowed (``airyd.hub.hub.Follower``)."""
        self._join_allowed(self._context.hub.matching_among(self._pattern, names))

    def _join_allowed(self, matching: Iterable[str]) -> None:
        for name in matching:
            if self._is_open and self._context.may_subscribe(self._principal, name):
                self._join(name)

    def apply_rights(self, principal: IPrincipal) -> Iterator[tuple[str, bool]]:
        """Apply the rights of a new login to one part after the other, and let destinations join that they allow.

        Yields the destination of each, and whether they have ended it. Parts may end or join between two of them.
        """
        self._principal = principal
        if self._unsettled is not None:  # bounds memory: a client may refresh its token often, and never send an ACK
            standing = set(self._parts.values())
            self._unsettled = {each: part for each, part in self._unsettled.items() if part in standing}
        for name, part in tuple(self._parts.items()):
            if self._parts.get(name) is not part:  # it has ended meanwhile
                continue
            if self._context.may_subscribe(principal, name):
                part.apply_filter(principal.row_filter(name))
                yield name, False
                continue
            part.flush()
            if self._is_open:  # else the flush has ended a client that is too slow
                self._close_part(part)
                yield name, True
        for name in self._allowed(self._context.hub.matching(self._pattern)):
            if name not in self._parts:
                self._join_allowed([name])
                yield name, False

    def _join(self, name: str) -> None:
        if name in self._parts or name in self._postponed:
            return
        if len(self._client.subscribed) >= self._context.limits.subscriptions:
            if name in self._left_out:  # logged already: each of a client's tokens could cause a line
                return
            self._left_out.add(name)
            self._log.warn(
                "{peer} does not get {destination}: it has as many subscriptions as are allowed",
                peer=self.channel.peer,
                destination=name,
                once_a_minute="subscriptions full",
            )
            return
        opening = self._open_part(name, None, is_late=True)
        if opening is not None:
            opening.addErrback(
                lambda failure: self._log.failure("cannot join {destination}", failure, destination=name)
            )

    def postpone(self, part: WildcardPart) -> None:
        """Close a part whose source is unreachable, and try again after ``SOURCE_PATIENCE`` seconds."""
        self._close_part(part)
        timer = self._context.wheel.call_later(SOURCE_PATIENCE, lambda: self._retry(part.destination))
        self._postponed[part.destination] = timer

    def _retry(self, name: str) -> None:
        del self._postponed[name]
        self._join_allowed([name])

    def _close_part(self, part: WildcardPart) -> None:
        del self._parts[part.destination]
        # A client that ends closes all its subscriptions itself.
        if self._client.subscribed.pop((self._request.id, part.destination), None) is part:
            part.close()

    # What the client calls, as on a Subscription.

    def flush(self) -> None:
        """Send pending events at once (``Subscription``)."""
        for part in tuple(self._parts.values()):
            part.flush()

    def close(self) -> None:
        """End all parts; nothing is sent for this afterwards (``Subscription``)."""
        self._is_open = False
        self._context.hub.followers.pop(self, None)
        for timer in self._postponed.values():
            timer.cancel()
        self._postponed = {}
        self._unsettled = None
        for part in tuple(self._parts.values()):
            self._close_part(part)

    def settle(self, wire_id: str) -> int:
        """Settle a message, in ack mode ``client`` also all earlier ones of all parts (``Subscription``)."""
        unsettled = self._unsettled
        if unsettled is None:
            return sum([part.settle(wire_id) for part in self._parts.values()])
        if wire_id not in unsettled:
            return 0
        settled = 0
        for each in tuple(unsettled):
            settled += unsettled.pop(each).settle(each) or 1  # or 1 if its part has ended
            if each == wire_id:
                break
        return settled

    @property
    def destination(self) -> str:
        """The pattern."""
        return self._pattern.text

    # What the parts call (airyd.hub.interfaces.Subscriber).

    @property
    def ordinal(self) -> int:
        """Its number in its connection, which its parts share."""
        return self._request.ordinal

    @property
    def channel(self) -> IChannel:
        """See ``Subscriber``."""
        return self._client.channel

    @property
    def framing(self) -> Framing:
        """See ``Subscriber``."""
        return self._client.framing

    @property
    def buffered_mark(self) -> int:
        """See ``Subscriber``."""
        return self._client.buffered_mark

    @property
    def version(self) -> Version:
        """See ``Subscriber``."""
        return self._client.version

    @property
    def can_be_notified(self) -> bool:
        """See ``Subscriber``."""
        return self._client.can_be_notified

    def notify(self, notice: bytes) -> bool:
        """See ``Subscriber``."""
        return self._client.notify(notice)

    def answer_subscribe(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """See ``Subscriber``; the client answers once for all parts together."""
        self._client.answer_subscribe(replace(request, receipt=None), position, recovered)

    def remember_settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """See ``Subscriber``."""
        self._client.remember_settled(request, message_ids)

    def count_events(self, count: int) -> None:
        """See ``Subscriber``."""
        self._client.count_events(count)

    def fail(self, error: StompError) -> None:
        """See ``Subscriber``."""
        self._client.fail(error)

    def sent(self, part: WildcardPart, events: Sequence[Event]) -> None:
        """Add the events that a part has sent to the unacknowledged messages."""
        if self._unsettled is not None:
            self._unsettled.update((message_id(event.destination, event.id), part) for event in events)


def _read_pattern(text: str) -> Pattern:
    try:
        if len(text) > LONGEST_PATTERN:
            raise ValueError(f"a pattern has at most {LONGEST_PATTERN} characters")
        return _pattern(text)
    except ValueError as error:
        raise StompError(Fault.INVALID_HEADER, f"In SUBSCRIBE, {error}.") from None
