"""A client of the model: a subscriber of the hub that checks each frame against the feed's ledger.

It stands in the place of ``airyd.client.client.Client`` and has no socket, so that it shares no connection with the
clients of daemons (``tests.integration.connection``). As they do, it reads frames by ``tests.integration.wire``: by
airyd's parser, a frame that is wrong on both sides would look right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from twisted.internet.defer import succeed
from zope.interface import implementer

from airyd.client.context import ClientContext
from airyd.client.wildcard import SubscriptionKey, Wildcard
from airyd.errors import Fault, StompError
from airyd.events import USER_PREFIX, RowFilter, event_id_of, message_id, plain_destination, user_destination
from airyd.hub.row_filter import LazyRow
from airyd.hub.subscription import Subscription
from airyd.interfaces import IPrincipal
from airyd.patterns import ANY_SEGMENT
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version, ack_id
from airyd.websocket.frames import websocket_framing
from tests.model.channel import MemoryChannel, Message, parse, unframe
from tests.model.twin import EPOCH, Twin


def plain(destination: str) -> str:
    """Return the destination of the feed that a name stands for, which may be that of a user destination."""
    return plain_destination(destination) if destination.startswith(USER_PREFIX) else destination


def number_of(event_id: str) -> int:
    """Return the number of an event of the twin."""
    return int(event_id.partition("-")[2])


@implementer(IPrincipal)
@dataclass(frozen=True)
class Bearer:
    """Somebody who may have everything that a filter lets pass."""

    rows: RowFilter | None
    name: str = "bearer"
    authority: None = None
    expires: None = None

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return True

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return False

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        return self.rows


@dataclass(eq=False)
class Track:
    """One destination of a subscription as its client sees it.

    :ivar request: for this destination; ``receipt`` tells the subscriptions of a client apart, be their ids the same
    :ivar is_answered: whether the RECEIPT has come
    :ivar position: up to where in the ledger everything has come or is hidden; None until it is established
    :ivar gaps: up to where something may be missing, each time that the client was told so
    :ivar outstanding: the message ids that were handed over and not acknowledged, with the end of each in the stream
    :ivar after: what the client asked for while the subscription was being established
    """

    request: Subscribe
    row_filter: RowFilter | None
    is_answered: bool = False
    position: int | None = None
    gaps: list[int] = field(default_factory=list)
    recovered: bool | None = None
    is_open: bool = True
    outstanding: dict[str, int] = field(default_factory=dict)
    after: list[Callable[[], None]] = field(default_factory=list)

    @property
    def source(self) -> str:
        """The destination of the feed."""
        return plain(self.request.destination)

    def next(self, twin: Twin) -> int:
        """Return the index of the event that must come next, or where it will be, if all is missing that may be."""
        return max(self.possible(twin))

    def possible(self, twin: Twin) -> set[int]:
        """Return the indices of the events that may come next: behind all, some, or none of what may be missing.

        A gap may be another subscription's of the same client, and this one read it all from the history.
        """
        assert self.position is not None
        return {self._visible(twin, max(self.position, gap)) for gap in (0, *self.gaps)}

    def _visible(self, twin: Twin, index: int) -> int:
        ledger = twin.ledger[self.source]
        row_filter = self.row_filter
        while index < len(ledger) and row_filter is not None and not row_filter.matches(LazyRow(ledger[index])):
            index += 1
        return index

    def is_behind(self, twin: Twin) -> bool:
        """Return whether events of the feed are missing; only for a client that was always live and has no window."""
        is_live = self.position is not None and self.request.ack is AckMode.AUTO and not self.recovered
        is_watched = self.source in twin.watched  # not from a gap on until it is watched anew
        return is_live and is_watched and self.next(twin) < twin.cursor[self.source]


class World(Protocol):
    """What a client needs of the model around it."""

    twin: Twin
    context: ClientContext

    def complain(self, what: str) -> None:
        """Take down that something is wrong."""

    def may_time_out(self) -> bool:
        """Say whether the source has left somebody without an answer for long."""


class Client:
    """Does what ``airyd.client.client.Client`` does with its subscriptions, and is the browser, too.

    :param can_be_notified: whether it can be notified of a gap
    :ivar subscribed: as ``airyd.client.client.Client`` has it
    :ivar tracks: what is known of its subscriptions, by their ids and each one's destinations
    :ivar faults: why the server closed the connection
    """

    framing: Final[Framing] = staticmethod(websocket_framing)

    def __init__(self, world: World, version: Version, tls: bool, bound: int, mark: int, can_be_notified: bool) -> None:
        self.version = version
        self.channel = MemoryChannel(self, bound, tls, mark)
        self.buffered_mark = mark
        self.channel.handed = self._handed
        self.channel.reenter = self._reenter
        self.faults: list[Fault] = []
        self.is_over = False
        self.armed: Callable[[], None] | None = None
        self.left_within_send = False
        self.messages = 0
        self.subscribed: dict[SubscriptionKey, Subscription | Wildcard] = {}
        self.tracks: dict[tuple[str, str], Track] = {}
        self._world = world
        self.can_be_notified = can_be_notified
        self._made = 0
        self._parsed = 0
        self._standing: dict[tuple[str, str], Track] = {}  # as far as the stream says so
        self._by_receipt: dict[str, list[Track]] = {}
        self._seen: list[tuple[int, str, str]] = []

    # What the hub calls.

    def notify(self, notice: bytes) -> bool:
        """Tell the client of a gap (``Subscriber``)."""
        if self.can_be_notified and not self.is_over:
            gap = json.loads(notice)
            frame = f"GAP\ndestination:{gap['destinations'][0]}\nmessage-id:{gap['since']}\n\n\0"
            self.channel.send(websocket_framing([frame.encode()], 1))
        return self.can_be_notified

    def answer_subscribe(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Answer a SUBSCRIBE (``Subscriber``); of a part of a wildcard let the client know, too."""
        if request.receipt is None:
            name = f"subscription:{request.id}\ndestination:{request.destination}\n"
            self._say(f"PART\n{name}last-message-id:{position}\n\n\0")
            return
        said = "" if recovered is None else f"recovered:{str(recovered).lower()}\n"
        self._say(f"RECEIPT\nreceipt-id:{request.receipt}\nlast-message-id:{position}\n{said}\n\0")

    def remember_settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Do nothing (``airyd.hub.interfaces.Subscriber``)."""

    def count_events(self, count: int) -> None:
        """Do nothing (``airyd.hub.interfaces.Subscriber``)."""

    def fail(self, error: StompError) -> None:
        """End the connection (``airyd.hub.interfaces.Subscriber``, ``IChannelOwner``)."""
        if self.is_over:
            return
        self.faults.append(error.fault)
        self._judge(error)
        self.ended()
        self._say("ERROR\n\n\0")
        self.channel.close(error.fault)

    def direct_changed(self) -> None:
        """See ``IChannelOwner``; unlike airyd's, this client may unsubscribe within what is sent to it."""
        for subscription in tuple(self.subscribed.values()):
            if subscription.group is not None:
                subscription.group.refresh(subscription)

    def fall_behind(self) -> None:
        """See ``IChannelOwner``."""
        for subscription in tuple(self.subscribed.values()):
            if subscription.group is not None:
                subscription.fall_behind()

    def drained(self) -> None:
        """See ``IChannelOwner``; unlike airyd's, this client may unsubscribe within what is sent to it."""
        for subscription in tuple(self.subscribed.values()):
            if subscription.replay is not None:
                subscription.replay.continue_reading()

    def ended(self) -> None:
        """Leave everything."""
        if self.is_over:
            return
        self.is_over = True
        self.channel.bound = sys.maxsize  # its last bytes are not dropped in the middle
        for track in self.tracks.values():
            track.is_open = False
        self.tracks.clear()
        subscribed, self.subscribed = self.subscribed, {}
        for subscription in subscribed.values():
            subscription.close()

    # What the browser does.

    def lose(self) -> None:
        """Lose the connection."""
        if not self.channel.is_closed:
            self.channel.close(None)
            self.ended()

    def subscribe(
        self, name: str, destination: str, ack: AckMode, prefetch: int, last: str | None, row_filter: RowFilter | None
    ) -> None:
        """Send a SUBSCRIBE; without a name (STOMP 1.0) the destination is the name."""
        key = name or destination
        self._made += 1
        request = Subscribe(
            key, destination, ack, prefetch, last, self._made, echo_id=bool(name), receipt=f"{self._made}"
        )
        context = self._world.context
        subscription: Subscription | Wildcard
        if ANY_SEGMENT in destination:
            subscription = Wildcard(context, self, request, Bearer(row_filter))
            names: Sequence[str] = context.hub.catalogue
            if destination.startswith(USER_PREFIX):
                names = [user_destination(name) for name in names]
        else:
            subscription = context.hub.make_subscription(self, request, row_filter)
            names = [destination]
        tracks = [Track(replace(request, destination=each), row_filter) for each in names]
        self._by_receipt[f"{self._made}"] = tracks
        self.tracks.update(((key, each), track) for each, track in zip(names, tracks, strict=True))
        self.subscribed[key] = subscription
        opening = subscription.open() or succeed(None)
        if ANY_SEGMENT in destination:
            opening.addCallback(self._all_stand, request)
        opening.addCallback(self._opened, tracks).addErrback(self._broken)

    def _all_stand(self, _: None, request: Subscribe) -> None:
        if not self.is_over:
            self._say(f"RECEIPT\nreceipt-id:{request.receipt}\n\n\0")

    def expect(self, destination: str) -> None:
        """Learn that there will be another destination: it joins each wildcard."""
        for key, subscription in self.subscribed.items():
            if isinstance(subscription, Wildcard) and isinstance(key, str):
                first = self.of(key)[0]
                is_users = first.request.destination.startswith(USER_PREFIX)
                name = user_destination(destination) if is_users else destination
                late = Track(replace(first.request, destination=name), first.row_filter, first.is_answered)
                self.tracks[key, name] = late

    def of(self, key: str) -> list[Track]:
        """Return what is known of a subscription."""
        return [track for (name, _), track in self.tracks.items() if name == key]

    def unsubscribe(self, key: str) -> None:
        """Send an UNSUBSCRIBE for a subscription that stands."""
        subscription, tracks = self.subscribed[key], self.of(key)
        subscription.flush()
        if self.is_over or key not in self.subscribed:  # left within that
            return
        for track in tracks:
            del self.tracks[key, track.request.destination]
            track.is_open = False
        self.subscribed.pop(key).close()
        if not self.left_within_send and any(track.is_behind(self._world.twin) for track in tracks):
            self._world.complain("UNSUBSCRIBE was answered before all that the feed had brought was sent")
        self._say(f"RECEIPT\nreceipt-id:end of {tracks[0].request.receipt}\n\n\0")

    def acknowledge(self, track: Track, which: int) -> None:
        """Send an ACK or NACK of a message that was read; both settle."""
        sent = [(end, each, one) for one in self.of(track.request.id) for each, end in one.outstanding.items()]
        read = sorted(
            ((end, each, one) for end, each, one in sent if end <= self.channel.taken), key=lambda one: one[0]
        )
        if not read:
            return
        index = which % len(read)
        chosen = read[index][1]
        settled = read[: index + 1] if track.request.ack is AckMode.CLIENT else [read[index]]
        for _, each, one in settled:
            del one.outstanding[each]
        subscription = self.subscribed[track.request.id]
        count = subscription.settle(chosen)
        if count != len(settled):
            self._world.complain(f"ACK of {chosen} settled {count} messages, not {len(settled)}")
        if subscription.settle(chosen):
            self._world.complain(f"a second ACK of {chosen} settled something")

    def last_read(self, destination: str) -> str | None:
        """Return the id that the client would resume after, be it from the user destination or from the plain one."""
        for end, each, wire_id in reversed(self._seen):
            if plain(each) == plain(destination) and end <= self.channel.taken:
                return wire_id
        return None

    # Checks.

    def _say(self, frame: str) -> None:
        self.channel.say(websocket_framing([frame.encode()], 1))

    def _opened(self, _: None, tracks: Sequence[Track]) -> None:
        for track in tracks:
            if track.is_open and not track.is_answered:
                self._world.complain("a SUBSCRIBE was done without being answered")
            while track.after and track.is_open:
                track.after.pop(0)()

    def _broken(self, failure: object) -> None:
        self._world.complain(f"open() failed: {failure}")

    def _handed(self) -> None:
        start = self._parsed
        for payload, end in unframe(bytes(self.channel.wire[start:])):
            self._parsed = start + end
            self._frame(parse(payload, self._parsed))

    def _reenter(self) -> None:
        armed = self.armed
        if armed is not None and not self.is_over:
            self.armed = None
            self.left_within_send = True
            armed()

    def _frame(self, frame: Message) -> None:
        destination = position = ""
        if frame.command == "RECEIPT":
            receipt = frame.headers["receipt-id"]
            tracks = self._by_receipt[receipt.removeprefix("end of ")]
            name = tracks[0].request.id
            if receipt not in self._by_receipt:
                self._standing = {key: each for key, each in self._standing.items() if key[0] != name}
            elif "last-message-id" in frame.headers:
                position, destination = frame.headers["last-message-id"], tracks[0].request.destination
                self._stands(tracks[0], position, frame.headers.get("recovered"))
            elif any(track.position is None for track in tracks):
                self._world.complain("a wildcard was answered before all its parts stood")
            for track in [*tracks, *self.of(name)]:
                track.is_answered = True
        elif frame.command == "PART":
            position, destination = frame.headers["last-message-id"], frame.headers["destination"]
            part = self.tracks.get((frame.headers["subscription"], destination))
            if part is None:
                self._world.complain(f"a wildcard has a part {destination}, which it must not have")
            else:
                self._stands(part, position, None)
        elif frame.command == "GAP":
            self._gap(frame)
        elif frame.command == "MESSAGE":
            self.messages += 1
            destination, position = frame.headers["destination"], frame.headers["message-id"]
            standing = self._standing.get((frame.headers.get("subscription", destination), destination))
            if standing is None:
                self._world.complain(f"{position} came before its RECEIPT, or after UNSUBSCRIBE was answered")
            else:
                self._message(standing, frame)
        self._seen.append((frame.end, destination, position))

    def _stands(self, track: Track, position: str, recovered: str | None) -> None:
        world, request = self._world, track.request
        event_id = event_id_of(track.source, position) or ""
        epoch, _, number = event_id.partition("-")
        if epoch != str(EPOCH):
            world.complain(f"a SUBSCRIBE was answered with the position {position}")
            return
        track.position = int(number)
        track.recovered = None if recovered is None else recovered == "true"
        self._standing[request.id, request.destination] = track
        if (recovered is None) != (request.last_message_id is None):
            world.complain(f"a SUBSCRIBE after {request.last_message_id} was answered with recovered:{recovered}")
        elif recovered == "true":
            if position != request.last_message_id:
                world.complain(f"recovered from {position} instead of {request.last_message_id}")
        else:
            if track.position != world.twin.cursor[track.source]:
                world.complain(f"live from {position}, where the feed isn't")
            last = event_id_of(track.source, request.last_message_id or "")
            if recovered and last is not None and (track.source, last) not in world.twin.refused:
                world.complain(f"{request.last_message_id} was not recovered, and is in the history")

    def _gap(self, frame: Message) -> None:
        """From where the feed is now, or began anew, nothing is missing; up to the id that is named nothing was."""
        twin, destination = self._world.twin, frame.headers["destination"]
        tracks = [track for track in self._standing.values() if track.request.destination == destination]
        source = plain(destination)
        since = number_of(event_id_of(source, frame.headers["message-id"]) or "")
        if not any(track.next(twin) >= since for track in tracks):
            self._world.complain(f"a gap since {since}, which nobody has got to")
        if not (twin.missed or any(self._has_lost(track) for track in tracks)):
            self._world.complain("a gap was told, and all that is to come is there")
        for track in tracks:
            track.gaps += [twin.begun[source], twin.cursor[source]]

    def _message(self, track: Track, frame: Message) -> None:
        twin, request = self._world.twin, track.request
        ledger = twin.ledger[track.source]
        wire_id = frame.headers["message-id"]
        named = [
            index for index in track.possible(twin) if index < len(ledger) and wire_id.endswith(f"-{ledger[index].id}")
        ]
        index = named[0] if named else track.next(twin)
        expected = ledger[index] if index < len(ledger) else None
        if expected is None or (wire_id, frame.body) != (message_id(track.source, expected.id), expected.body):
            self._world.complain(f"{wire_id} came where {expected and expected.id} had to come")
            return
        track.position = index + 1
        acknowledged = request.ack is not AckMode.AUTO
        if acknowledged:
            track.outstanding[wire_id] = frame.end
            if len(track.outstanding) > request.prefetch:
                self._world.complain(f"{len(track.outstanding)} unacknowledged, and {request.prefetch} may be")
        ack = ack_id(request.ordinal, wire_id) if acknowledged and self.version is Version.V1_2 else None
        if frame.headers.get("ack") != ack:
            self._world.complain(f"ack header {frame.headers.get('ack')} instead of {ack}")

    def _judge(self, error: StompError) -> None:
        """Complain about a fault that nothing justifies."""
        world = self._world
        if error.fault is Fault.HISTORY_LOST:
            if not (world.twin.missed or any(self._has_lost(track) for track in self.tracks.values())):
                world.complain("HISTORY_LOST, and all that is to come is there")
        elif error.fault is Fault.SOURCE_UNAVAILABLE:
            if not (world.twin.failures or world.may_time_out()):
                world.complain("SOURCE_UNAVAILABLE, and it was not")
        elif error.fault is not Fault.SLOW_CONSUMER:
            world.complain(f"a fault that nobody can have: {error}")

    def _has_lost(self, track: Track) -> bool:
        gone = self._world.twin.gone[track.source]
        return track.position is not None and track.position < gone
