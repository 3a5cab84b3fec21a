"""A client of the model: a subscriber of the hub that checks each frame against the feed's ledger."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from twisted.internet.defer import succeed

from airyd.destination import Subscription
from airyd.encoding import Framing, websocket_framing
from airyd.errors import Fault, StompError
from airyd.events import Row, RowFilter, event_id_of, message_id
from airyd.hub import Hub
from airyd.rows import LazyRow
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Version, ack_id
from airyd.subscriber import Listener
from tests.model.channel import MemoryChannel, Message, parse, unframe
from tests.model.twin import EPOCH, Twin


@dataclass(frozen=True)
class Parity:
    """A filter by value: events with even, or with odd numbers."""

    rest: int

    def matches(self, row: Row) -> bool:
        """See ``RowFilter``."""
        return number_of(row.event.id) % 2 == self.rest


def number_of(event_id: str) -> int:
    """Return the number of an event of the twin."""
    return int(event_id.partition("-")[2])


@dataclass(eq=False)
class Track:
    """One subscription as its client sees it.

    :ivar position: up to where in the ledger everything has come or is hidden; None until it is established
    :ivar gap: up to where something may be missing, since the client was told so
    :ivar outstanding: the message ids that were handed over and not acknowledged, with the end of each in the stream
    :ivar after: what the client asked for while the subscription was being established
    """

    request: Subscribe
    row_filter: RowFilter | None
    subscription: Subscription
    position: int | None = None
    gap: int = 0
    recovered: bool | None = None
    is_open: bool = True
    outstanding: dict[str, int] = field(default_factory=dict)
    after: list[Callable[[], None]] = field(default_factory=list)

    def next(self, twin: Twin, skip: bool = True) -> int:
        """Return the index of the event that must come next, or where it will be.

        :param skip: whether what may be missing is
        """
        assert self.position is not None
        ledger = twin.ledger[self.request.destination]
        index = max(self.position, self.gap) if skip else self.position
        row_filter = self.row_filter
        while index < len(ledger) and row_filter is not None and not row_filter.matches(LazyRow(ledger[index])):
            index += 1
        return index

    def is_behind(self, twin: Twin) -> bool:
        """Say whether the feed has brought what has not come, for who was live from the beginning and has no window."""
        is_live = self.position is not None and self.request.ack is AckMode.AUTO and not self.recovered
        is_watched = self.request.destination in twin.watched  # not from a gap on until it is watched anew
        return is_live and is_watched and self.next(twin) < twin.cursor[self.request.destination]


class World(Protocol):
    """What a client needs of the model around it."""

    twin: Twin
    hub: Hub

    def complain(self, what: str) -> None:
        """Take down that something is wrong."""

    def may_time_out(self) -> bool:
        """Say whether the source has left somebody without an answer for long."""


@dataclass
class Ear:
    """What stands for a subscription to ``/airyd/status`` (``airyd.subscriber.Listener``)."""

    client: Client
    hears: bool

    def tell(self, destination: str, since: str) -> bool:
        """Tell the client of a gap."""
        if self.hears and not self.client.is_over:
            frame = f"GAP\ndestination:{destination}\nmessage-id:{message_id(destination, since)}\n\n\0"
            self.client.channel.send(websocket_framing([frame.encode()], 1))
        return self.hears


class Client:
    """Does what ``airyd.client.Client`` does with its subscriptions, and is the browser, too.

    :param listens: whether it can be told of a gap
    :ivar faults: why the server closed the connection
    """

    framing: Final[Framing] = staticmethod(websocket_framing)

    def __init__(self, world: World, version: Version, tls: bool, bound: int, listens: bool) -> None:
        self.version = version
        self.channel = MemoryChannel(self, bound, tls)
        self.channel.handed = self._handed
        self.channel.reenter = self._reenter
        self.faults: list[Fault] = []
        self.is_over = False
        self.armed: Callable[[], None] | None = None
        self.left_within_send = False
        self.messages = 0
        self.tracks: dict[str, Track] = {}
        self._world = world
        self._ear = Ear(self, listens)
        self._made = 0
        self._parsed = 0
        self._standing: dict[str, Track] = {}  # as far as the stream says so
        self._by_receipt: dict[str, Track] = {}
        self._seen: list[tuple[int, str, str]] = []

    # What the hub calls.

    @property
    def subscribed(self) -> dict[str, Listener]:
        """See ``airyd.subscriber.Subscriber``."""
        return {**{key: track.subscription for key, track in self.tracks.items()}, "ear": self._ear}

    def established(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Answer a SUBSCRIBE (``airyd.subscriber.Subscriber``)."""
        said = "" if recovered is None else f"recovered:{str(recovered).lower()}\n"
        self._say(f"RECEIPT\nreceipt-id:{request.receipt}\nlast-message-id:{position}\n{said}\n\0")

    def fail(self, error: StompError) -> None:
        """End the connection (``airyd.subscriber.Subscriber``, ``IChannelOwner``)."""
        if self.is_over:
            return
        self.faults.append(error.fault)
        self._judge(error)
        self.ended()
        self._say("ERROR\n\n\0")
        self.channel.close(error.fault)

    def direct_changed(self) -> None:
        """See ``IChannelOwner``."""
        for track in self.tracks.values():
            group = track.subscription.group
            if group is not None:
                group.refresh(track.subscription)

    def drained(self) -> None:
        """See ``IChannelOwner``."""
        for track in self.tracks.values():
            if track.subscription.delivery is not None:
                track.subscription.delivery.proceed()

    def ended(self) -> None:
        """Leave everything."""
        if self.is_over:
            return
        self.is_over = True
        self.channel.bound = sys.maxsize  # its last bytes are not dropped in the middle
        for track in tuple(self.tracks.values()):
            track.is_open = False
            track.subscription.close()
        self.tracks.clear()

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
        subscription = self._world.hub.subscription(self, request, row_filter)
        track = Track(request, row_filter, subscription)
        self.tracks[key] = self._by_receipt[f"{self._made}"] = track
        opening = subscription.open() or succeed(None)
        opening.addCallback(self._opened, track).addErrback(self._broken)

    def unsubscribe(self, key: str) -> None:
        """Send an UNSUBSCRIBE for a subscription that stands."""
        track = self.tracks[key]
        track.subscription.flush()
        if self.is_over or key not in self.tracks:  # left within that
            return
        del self.tracks[key]
        track.is_open = False
        track.subscription.close()
        if not self.left_within_send and track.is_behind(self._world.twin):
            self._world.complain("UNSUBSCRIBE was answered before all that the feed had brought was sent")
        self._say(f"RECEIPT\nreceipt-id:end of {track.request.receipt}\n\n\0")

    def acknowledge(self, track: Track, which: int) -> None:
        """Send an ACK or NACK of a message that was read; both settle."""
        read = [each for each, end in track.outstanding.items() if end <= self.channel.taken]
        if not read:
            return
        chosen = read[which % len(read)]
        expected = read.index(chosen) + 1 if track.request.ack is AckMode.CLIENT else 1
        settled = read[:expected] if track.request.ack is AckMode.CLIENT else [chosen]
        for each in settled:
            del track.outstanding[each]
        count = track.subscription.settle(chosen)
        if count != expected:
            self._world.complain(f"ACK of {chosen} settled {count} messages, not {expected}")
        if track.subscription.settle(chosen):
            self._world.complain(f"a second ACK of {chosen} settled something")

    def last_read(self, destination: str) -> str | None:
        """Return the id that the client would resume after."""
        for end, each, wire_id in reversed(self._seen):
            if each == destination and end <= self.channel.taken:
                return wire_id
        return None

    # Checks.

    def _say(self, frame: str) -> None:
        self.channel.say(websocket_framing([frame.encode()], 1))

    def _opened(self, _: None, track: Track) -> None:
        if track.is_open and track.position is None:
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
            if receipt in self._by_receipt:
                track = self._by_receipt[receipt]
                position, destination = frame.headers["last-message-id"], track.request.destination
                self._stands(track, position, frame.headers.get("recovered"))
            else:
                ended = self._by_receipt[receipt.removeprefix("end of ")]
                self._standing.pop(ended.request.id)
        elif frame.command == "GAP":
            self._gap(frame)
        elif frame.command == "MESSAGE":
            self.messages += 1
            destination, position = frame.headers["destination"], frame.headers["message-id"]
            standing = self._standing.get(frame.headers.get("subscription", destination))
            if standing is None:
                self._world.complain(f"{position} came before its RECEIPT, or after UNSUBSCRIBE was answered")
            else:
                self._message(standing, frame)
        self._seen.append((frame.end, destination, position))

    def _stands(self, track: Track, position: str, recovered: str | None) -> None:
        world, request = self._world, track.request
        event_id = event_id_of(request.destination, position) or ""
        epoch, _, number = event_id.partition("-")
        if epoch != str(EPOCH):
            world.complain(f"a SUBSCRIBE was answered with the position {position}")
            return
        track.position = int(number)
        track.recovered = None if recovered is None else recovered == "true"
        self._standing[request.id] = track
        if (recovered is None) != (request.last_message_id is None):
            world.complain(f"a SUBSCRIBE after {request.last_message_id} was answered with recovered:{recovered}")
        elif recovered == "true":
            if position != request.last_message_id:
                world.complain(f"recovered from {position} instead of {request.last_message_id}")
        else:
            if track.position != world.twin.cursor[request.destination]:
                world.complain(f"live from {position}, where the feed isn't")
            last = event_id_of(request.destination, request.last_message_id or "")
            if recovered and last is not None and (request.destination, last) not in world.twin.refused:
                world.complain(f"{request.last_message_id} was not recovered, and is in the history")

    def _gap(self, frame: Message) -> None:
        """From where the feed is now nothing is missing; up to the id that is named nothing was."""
        twin, destination = self._world.twin, frame.headers["destination"]
        tracks = [track for track in self._standing.values() if track.request.destination == destination]
        since = number_of(event_id_of(destination, frame.headers["message-id"]) or "")
        if not any(track.next(twin) >= since for track in tracks):
            self._world.complain(f"a gap since {since}, which nobody has got to")
        if not (twin.missed or any(self._has_lost(track) for track in tracks)):
            self._world.complain("a gap was told, and all that is to come is there")
        for track in tracks:
            track.gap = twin.cursor[destination]

    def _message(self, track: Track, frame: Message) -> None:
        twin, request = self._world.twin, track.request
        ledger = twin.ledger[request.destination]
        wire_id = frame.headers["message-id"]
        # A gap may be another subscription's of the same client, and this one read it all from the history.
        indices = {track.next(twin, skip) for skip in (False, True)}
        named = [index for index in indices if index < len(ledger) and wire_id.endswith(f"-{ledger[index].id}")]
        index = named[0] if named else track.next(twin)
        expected = ledger[index] if index < len(ledger) else None
        if expected is None or (wire_id, frame.body) != (message_id(request.destination, expected.id), expected.body):
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
        gone = self._world.twin.gone[track.request.destination]
        return track.position is not None and track.position < gone
