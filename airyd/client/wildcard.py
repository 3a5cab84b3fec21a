"""A SUBSCRIBE with a pattern: one subscription of the client's, made of one to each destination that is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
from airyd.limits import PATTERN, SOURCE_PATIENCE
from airyd.patterns import Pattern
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version

#: Many clients subscribe to the same few patterns: one copy serves all.
_pattern: Final = lru_cache(maxsize=256)(Pattern)


#: What a subscription stands under in its client: its id; of a part of a wildcard the id, and the destination.
SubscriptionKey = str | tuple[str, str]


class WildcardOwner(Subscriber, Protocol):
    """The client that a wildcard belongs to.

    :ivar subscribed: its subscriptions
    """

    subscribed: dict[SubscriptionKey, Subscription | Wildcard]


class WildcardPart(Subscription):
    """One destination of a wildcard.

    :param is_late: whether it comes when the SUBSCRIBE has long been answered
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
        shown = super().send_events(events)
        self._wildcard.sent(self, shown)
        return shown

    def fail(self, error: StompError) -> None:
        """End the client's connection, unless it is for what the client didn't ask for by now: that can wait."""
        is_opening = self.state is SubscriptionState.OPENING
        if self._is_late and is_opening and error.fault is Fault.SOURCE_UNAVAILABLE:
            self._wildcard.postpone(self)
        else:
            super().fail(error)


class Wildcard:
    """Holds the parts together; among the client's subscriptions it stands under the id, beside its parts.

    It looks like a subscription that is in no group and has no replay: its parts do all the work, and what is done to
    all subscriptions of a client is done to them. To its parts it is the subscriber.

    Destinations that are added to the catalogue join.

    :param request: with a pattern as its destination

    Raises ``StompError`` if nothing can be subscribed to so.
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
            text = "A pattern has no last-message-id: to resume, subscribe to each destination singly, with its own."
            raise StompError(Fault.INVALID_HEADER, text)
        self._context = context
        self._client = client
        self._request = request
        self._principal = principal
        self._pattern = _read_pattern(request.destination)
        self._parts: dict[str, WildcardPart] = {}
        self._postponed: dict[str, Timer] = {}
        # What the log has of this one: for more there was no room.
        self._left_out: set[str] = set()
        # The messages that wait for an answer, in the order in which they were sent, where an ACK settles those before.
        self._unsettled: dict[str, WildcardPart] | None = {} if request.ack is AckMode.CLIENT else None
        self._is_open = False
        allowed = self._allowed(context.hub.matching(self._pattern))
        if not allowed:
            raise StompError(Fault.FORBIDDEN, f"You may not subscribe to any destination of {self._pattern.text}.")
        most = context.limits.subscriptions
        if len(client.subscribed) + 1 + len(allowed) > most:
            text = f"{self._pattern.text} means {len(allowed)} destinations, and a connection must not have more"
            raise StompError(Fault.TOO_MANY_SUBSCRIPTIONS, f"{text} than {most} subscriptions: each counts as one.")

    def _allowed(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._principal.may_subscribe(name)]

    def open(self) -> Deferred[None] | None:
        """Begin with all parts; fires when all stand, and is None if they do already (``Subscription.open``)."""
        self._is_open = True
        hub = self._context.hub
        hub.followers[self] = None
        waiting = []
        for name in self._allowed(hub.matching(self._pattern)):
            if not self._is_open:  # the part before has ended the client
                break
            opening = self._open_part(name, self._request.receipt, is_late=False)
            if opening is not None:
                waiting.append(opening)
        return gatherResults(waiting).addCallback(lambda _: None) if waiting else None

    def _open_part(self, name: str, receipt: str | None, is_late: bool) -> Deferred[None] | None:
        request = replace(self._request, destination=name, receipt=receipt)
        destination = self._context.hub.destination(request)
        part = WildcardPart(destination, self, request, self._principal.row_filter(name), is_late)
        self._parts[name] = part
        self._client.subscribed[self._request.id, name] = part
        return part.open()

    # What joins and goes later.

    def added(self, names: Sequence[str]) -> None:
        """Let those of these that are meant join: they are new in the catalogue (``airyd.hub.hub.Follower``)."""
        for name in names:
            if self._is_open and self._pattern.matches(name) and self._principal.may_subscribe(name):
                self._join(name)

    def apply_rights(self, principal: IPrincipal) -> list[str]:
        """Apply the rights of a new login to the parts; return the destinations of those that it ended."""
        self._principal = principal
        if self._unsettled is not None:  # a client that never answers could go from token to token
            standing = set(self._parts.values())
            self._unsettled = {each: part for each, part in self._unsettled.items() if part in standing}
        ended = []
        for part in tuple(self._parts.values()):
            if principal.may_subscribe(part.destination):
                part.apply_filter(principal.row_filter(part.destination))
                continue
            part.flush()
            if self._is_open:  # else that found the client too slow
                self._close_part(part)
                ended.append(part.destination)
        self.added(self._context.hub.matching(self._pattern))
        return ended

    def _join(self, name: str) -> None:
        if name in self._parts or name in self._postponed:
            return
        if len(self._client.subscribed) >= self._context.limits.subscriptions:
            if name in self._left_out:  # a client could have a line for each of its tokens
                return
            self._left_out.add(name)
            self._log.warn(
                "{peer} does not get {destination} too: it has as many subscriptions as it may",
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
        """Let a part that can't have its events now come again later."""
        self._close_part(part)
        again = self._context.wheel.call_later(SOURCE_PATIENCE, lambda: self._again(part.destination))
        self._postponed[part.destination] = again

    def _again(self, name: str) -> None:
        del self._postponed[name]
        self.added([name])

    def _close_part(self, part: WildcardPart) -> None:
        del self._parts[part.destination]
        # A client that ends closes all that it has by itself.
        if self._client.subscribed.pop((self._request.id, part.destination), None) is part:
            part.close()

    # What the client asks of a subscription.

    def flush(self) -> None:
        """Send at once what was published before (``Subscription``)."""
        for part in tuple(self._parts.values()):
            part.flush()

    def close(self) -> None:
        """End all parts; nothing is sent for this afterwards (``Subscription``)."""
        self._is_open = False
        self._context.hub.followers.pop(self, None)
        for entry in self._postponed.values():
            entry.cancel()
        self._postponed = {}
        self._unsettled = None
        for part in tuple(self._parts.values()):
            self._close_part(part)

    def settle(self, wire_id: str) -> int:
        """Settle a message, in mode ``client`` also all those of any part that were sent before (``Subscription``)."""
        unsettled = self._unsettled
        if unsettled is None:
            return sum([part.settle(wire_id) for part in self._parts.values()])
        if wire_id not in unsettled:
            return 0
        settled = 0
        for each in tuple(unsettled):
            settled += unsettled.pop(each).settle(each) or 1  # or its part has ended
            if each == wire_id:
                break
        return settled

    # What the parts ask of their subscriber.

    @property
    def ordinal(self) -> int:
        """Its number in its connection, which its parts have, too."""
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

    def established(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """See ``Subscriber``; the answer is for all parts together, and given by the client."""
        self._client.established(replace(request, receipt=None), position, recovered)

    def settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """See ``Subscriber``."""
        self._client.settled(request, message_ids)

    def fail(self, error: StompError) -> None:
        """See ``Subscriber``."""
        self._client.fail(error)

    def sent(self, part: WildcardPart, events: Sequence[Event]) -> None:
        """Add to the messages that wait for an ACK what a part has sent."""
        if self._unsettled is not None:
            self._unsettled.update((message_id(part.destination, event.id), part) for event in events)


def _read_pattern(text: str) -> Pattern:
    try:
        if len(text) > PATTERN:
            raise ValueError(f"a pattern has at most {PATTERN} characters")
        return _pattern(text)
    except ValueError as error:
        raise StompError(Fault.INVALID_HEADER, f"In SUBSCRIBE, {error}.") from None
