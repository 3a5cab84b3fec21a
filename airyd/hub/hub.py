"""The hub: passes the source's events to their destinations, flushes them once per turn, publishes, reports gaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd import payloads
from airyd.deferreds import result_of
from airyd.errors import Fault, PayloadRefused, SourceUnavailable, StompError, UnknownDestination
from airyd.events import (
    RESERVED_PREFIX,
    STATUS,
    USER_PREFIX,
    Event,
    RowFilter,
    message_id,
    names_with_one_tag,
    plain_destination,
    user_destination,
)
from airyd.hub.batch_timer import BatchTimer
from airyd.hub.destination import AnyAudience, Destination
from airyd.hub.interfaces import Subscriber
from airyd.hub.pacing import GapNotices, LateRemovals, NoticeBudget, TurnQueue
from airyd.hub.shared_pages import SharedPages
from airyd.hub.subscription import Subscription
from airyd.interfaces import IEventSink, IEventSource, IStatusSource
from airyd.limits import SOURCE_PATIENCE
from airyd.metrics import ORIGIN_SOURCE, Metrics
from airyd.patterns import Pattern
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode

#: Sends, of 4 to 5 µs each, in one turn of the reactor, which then handles everything else; a turn costs some 30 µs.
SENDS_PER_TURN: Final = 2000
#: Followers called in one turn of the reactor when the catalogue has grown; each call takes some 20 µs.
FOLLOWERS_PER_TURN: Final = 100


class Follower(Protocol):
    """Is called when destinations are added to the catalogue."""

    def added(self, names: Sequence[str]) -> None:
        """Handle new destinations."""


@implementer(IEventSink)
class Hub:
    """Fans the events of one source out to the subscriptions of all clients.

    :param catalogue: the destinations that exist; clients can't subscribe or publish to others
    :param clock: monotonic time, and the reactor's turns
    :param status: the feed of ``/airyd/status``, or None to leave that out
    :param has_user_destinations: whether names that begin with ``/user/`` are user destinations; the catalogue must
        have no such name then

    :ivar body_limit: bytes of an event's body
    :ivar catalogue: the names of all destinations but ``/airyd/status``
    :ivar followers: called when destinations are added to it
    :ivar source: the event source
    :ivar turns: spreads the work of replays, and of token refreshes, over turns of the reactor

    Raises ``ValueError`` if two destinations would have the same tag in message ids.
    """

    _log = Logger()

    def __init__(
        self,
        source: IEventSource,
        catalogue: Iterable[str],
        clock: IReactorTime,
        metrics: Metrics,
        body_limit: int,
        status: IStatusSource | None = None,
        has_user_destinations: bool = False,
    ) -> None:
        self.catalogue = tuple(catalogue)
        self.followers: dict[Follower, None] = {}
        self.source = source
        self._clock = clock
        self._metrics = metrics
        self.body_limit = body_limit
        self._has_user_destinations = has_user_destinations
        self.turns = TurnQueue(clock)
        self._late_removals = LateRemovals(clock)
        self._notice_budget = NoticeBudget(clock)
        self._dirty: deque[AnyAudience | BatchTimer] = deque()
        # Those of the next flush, by destination; each measures the oldest events.
        self._timers: dict[str, BatchTimer] = {}
        self._pages = SharedPages(source)
        self._destinations = {name: self._destination(name, source, self._pages) for name in self.catalogue}
        if status is not None:
            status.start(self)
            self._destinations[STATUS] = self._destination(STATUS, status, SharedPages(status))
            self._destinations[STATUS].status = status
        alike = names_with_one_tag(self._destinations)
        if alike is not None:
            raise ValueError(f"{alike[0]} and {alike[1]} have the same tag in message ids; rename one")

    def _destination(self, name: str, source: IEventSource, pages: SharedPages) -> Destination:
        gap_notices = GapNotices(self._notice_budget, self._pass_on)
        return Destination(
            name,
            source,
            pages,
            self.turns,
            self._late_removals,
            self._metrics,
            gap_notices,
            self._schedule,
            self._start_timer,
        )

    @property
    def destinations(self) -> Sequence[Destination]:
        """All destinations but ``/airyd/status``, in the order of the catalogue."""
        return [self._destinations[name] for name in self.catalogue]

    def extend(self, names: Sequence[str]) -> None:
        """Add destinations, which the source must know already, to the catalogue; call the followers."""
        self._destinations.update({name: self._destination(name, self.source, self._pages) for name in names})
        self.catalogue += tuple(names)
        self._call_followers(tuple(self.followers), names)

    def _call_followers(self, followers: Sequence[Follower], names: Sequence[str]) -> None:
        """Call those followers that are still registered, some in each turn of the reactor."""
        for follower in followers[:FOLLOWERS_PER_TURN]:
            if follower in self.followers:
                follower.added(names)
        rest = followers[FOLLOWERS_PER_TURN:]
        if rest:
            self._clock.callLater(0, self._call_followers, rest, names)

    def deliver(self, events: Sequence[Event]) -> None:
        """Take a batch from the feed; a timed call of the reactor sends it, with one send per member."""
        by_destination: dict[str, list[Event]] = {}
        for event in events:
            by_destination.setdefault(event.destination, []).append(event)
        for name, batch in by_destination.items():
            self._metrics.events_in[name] += len(batch)
            self._pass_on(batch)

    def _pass_on(self, batch: Sequence[Event]) -> None:
        """Pass events of one destination to it."""
        self._destinations[batch[0].destination].deliver(batch)

    def _schedule(self, audience: AnyAudience) -> None:
        if not self._dirty:
            # Later events of this turn join the same batch; no event waits longer than the turn.
            self._clock.callLater(0, self._flush)
        self._dirty.append(audience)

    def _start_timer(self, destination: Destination, event_id: str, now: float) -> None:
        if destination.name not in self._timers:
            self._timers[destination.name] = BatchTimer(
                destination.measured_source, destination.name, event_id, now, self._clock.seconds, self._metrics
            )

    def _flush(self) -> None:
        """Send pending events, or continue sending them, up to the limit of one turn of the reactor."""
        dirty = self._dirty
        if self._timers:  # behind all audiences that get these events
            dirty.extend(self._timers.values())
            self._timers.clear()
        room = SENDS_PER_TURN
        try:
            while dirty and room > 0:
                audience = dirty[0]
                if not audience.is_in_flight:
                    audience.start_batch()
                    self._metrics.flushes += 1
                room -= audience.advance(room)
                if not audience.is_in_flight:
                    dirty.popleft()
        finally:  # also after an exception in one group, which the reactor logs: the others must be sent to
            if dirty:
                self._clock.callLater(0, self._flush)

    def catching_up(self) -> int:
        """Return how many clients are behind the feed because a replay sends to them."""
        return len({channel for each in self._destinations.values() for channel in each.catching_up()})

    def silences(self) -> dict[str, float]:
        """Return the seconds since the last event of each destination that is watched, but ``/airyd/status``."""
        now = self._clock.seconds()
        destinations = self._destinations.values()
        return {
            each.name: now - each.quiet_since
            for each in destinations
            if each.quiet_since is not None and each.status is None
        }

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Report a gap: notify or disconnect every subscriber, so that none misses events unknowingly."""
        self._log.warn(
            "events of {destinations} may have been missed: {reason}", destinations=destinations, reason=reason
        )
        for name in destinations:
            self._metrics.gaps[name] += 1
            self._destinations[name].gap()

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Count and log an entry of the feed that the source left out."""
        self._metrics.payloads_refused[ORIGIN_SOURCE, refusal.kind] += 1
        self._log.warn(
            "left out {event_id} of {destination}, which is not a valid event: {reason}",
            event_id=event_id,
            destination=destination,
            reason=str(refusal),
            once_a_minute=f"left out {destination} {refusal.kind}",
        )

    def make_subscription(
        self, subscriber: Subscriber, request: Subscribe, row_filter: RowFilter | None
    ) -> Subscription:
        """Create a subscription; ``open()`` starts it.

        Raises ``StompError`` as :meth:`destination` does.
        """
        destination = self.find_destination(request)
        return Subscription(destination, subscriber, request, row_filter if destination.status is None else None)

    def find_destination(self, request: Subscribe) -> Destination:
        """Return the destination of a SUBSCRIBE.

        Raises ``StompError`` for a destination that isn't in the catalogue, or an ack mode that it doesn't have.
        """
        destination = self._named(request.destination)
        if destination is None:
            raise StompError(Fault.UNKNOWN_DESTINATION, self._offer(request.destination), request.receipt)
        if destination.status is not None and request.ack is not AckMode.AUTO:
            raise StompError(Fault.INVALID_HEADER, f"{STATUS} supports only ack:auto.", request.receipt)
        return destination

    def _named(self, name: str) -> Destination | None:
        if not self.is_user_destination(name):
            return self._destinations.get(name)
        name = plain_destination(name)
        return None if name.startswith(RESERVED_PREFIX) else self._destinations.get(name)

    def is_user_destination(self, name: str) -> bool:
        """Return whether a name is that of a user destination; its destination need not exist."""
        return self._has_user_destinations and name.startswith(USER_PREFIX)

    def matching(self, pattern: Pattern) -> list[str]:
        """Return the names that match and can be subscribed to; raises ``StompError`` if there are none."""
        names = self.matching_among(pattern, self.catalogue)
        if not names:
            raise StompError(Fault.UNKNOWN_DESTINATION, self._offer(pattern.text))
        return names

    def matching_among(self, pattern: Pattern, destinations: Iterable[str]) -> list[str]:
        """Return the names of these destinations that match.

        A pattern that begins with ``/user/`` matches the names of user destinations only, and no other pattern does.
        """
        if self.is_user_destination(pattern.text):
            destinations = map(user_destination, destinations)
        return [name for name in destinations if pattern.matches(name)]

    def publish(self, destination: str, body: bytes, origin: str) -> Deferred[str]:
        """Publish an event to the source; fires with its ``message-id`` when the source has accepted it.

        :param origin: who publishes, for the metrics (``airyd.metrics``)

        Errors: ``UnknownDestination``, ``PayloadRefused``, ``SourceUnavailable`` (also after a timeout, when the
        event may still arrive).
        """
        if destination not in self.catalogue:
            return fail(UnknownDestination(self._offer(destination)))
        try:
            payloads.check(destination, body, self.body_limit)
        except PayloadRefused as refusal:
            self._metrics.payloads_refused[origin, refusal.kind] += 1
            self._log.info(
                "refused an event for {destination} from {origin}: {reason}",
                destination=destination,
                origin=origin,
                reason=str(refusal),
                once_a_minute=f"refused {origin} {refusal.kind}",
            )
            return fail(refusal)

        publishing: Deferred[str] = self.source.publish(destination, body)
        event_id = result_of(publishing)
        if event_id is not None:
            return succeed(self._taken(event_id, destination, origin))
        if not publishing.called or publishing.paused:  # paused: it waits for another Deferred
            publishing.addTimeout(SOURCE_PATIENCE, self._clock, _unavailable)
        return publishing.addCallback(self._taken, destination, origin)

    def _taken(self, event_id: str, destination: str, origin: str) -> str:
        self._metrics.published[origin] += 1
        return message_id(destination, event_id)

    def _offer(self, asked: str) -> str:
        return f"There is no destination {asked[:200]!r} here; there are: {', '.join(self.catalogue)}."


def _unavailable(result: object, timeout: float) -> object:
    """Turn the cancellation of an overdue publish into ``SourceUnavailable``."""
    if isinstance(result, Failure) and result.check(CancelledError):
        raise SourceUnavailable(f"The event source did not take the event within {timeout:g} seconds.")
    return result
