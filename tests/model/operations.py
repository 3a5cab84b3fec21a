"""What can happen in the model, as data (``tests.model.strategies`` makes lists of these)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.events import USER_PREFIX, message_id
from airyd.patterns import ANY_SEGMENT
from airyd.stomp.spec import AckMode, Version
from tests.model.client import Client, plain
from tests.model.twin import event_id
from tests.model.world import DESTINATIONS, EVERYTHING, LATE, USERS_EVERYTHING, World


class Operation(Protocol):
    """Something that happens; nothing if it can't happen now."""

    def __call__(self, world: World) -> None:
        """Let it happen."""


class Resume(Enum):
    """What a SUBSCRIBE has as ``last-message-id``."""

    NOTHING = "nothing"
    OWN = "what the client, or the one before it in its seat, read last: a MESSAGE's id, or a RECEIPT's position"
    NEWEST = "the newest event, which the feed may not have brought yet"
    OTHER = "an id of the other destination"
    OLD = "an event that may have left the history"
    EMPTY = "the position of an empty history"
    FUTURE = "an id that will be"
    EPOCH = "an id from before a restart"
    NONSENSE = "no id at all"

    def id(self, world: World, seat: int, destination: str) -> str | None:
        """Return the header's value."""
        destination = plain(destination)
        length = len(world.twin.ledger[destination])
        match self:
            case Resume.NOTHING:
                return None
            case Resume.OWN:
                return world.last_read(seat, destination)
            case Resume.OTHER:
                return message_id(next(name for name in DESTINATIONS if name != destination), event_id(length))
            case Resume.EPOCH:
                return message_id(destination, f"999-{length}")
            case Resume.NONSENSE:
                return "nonsense"
        number = {Resume.NEWEST: length, Resume.OLD: length // 3, Resume.EMPTY: 0, Resume.FUTURE: length + 2}[self]
        return message_id(destination, event_id(number))


@dataclass(frozen=True)
class Subscribe:
    """A client subscribes; if its connection is gone, another comes."""

    seat: int
    version: Version
    tls: bool
    bound: int
    mark: int
    name: str
    destination: str
    ack: AckMode
    prefetch: int
    resume: Resume
    side: str | None

    def __call__(self, world: World) -> None:
        """Let it happen."""
        if plain(self.destination) not in (*world.hub.catalogue, EVERYTHING):
            return
        last = self.resume.id(world, self.seat, self.destination)
        client = world.come(self.seat, self.version, self.tls, self.bound, self.mark)
        name = "" if client.version is Version.V1_0 and self.name == "0" else self.name
        if ANY_SEGMENT in self.destination:
            name, last = name or "all", None
        if (name or self.destination) not in client.subscribed:
            row_filter = None if self.side is None else ClaimRowFilter({"side": {self.side, "both"}}, {})
            client.subscribe(name, self.destination, self.ack, self.prefetch, last, row_filter)


@dataclass(frozen=True)
class Unsubscribe:
    """A client unsubscribes, as soon as the subscription stands; perhaps it subscribes again at once."""

    seat: int
    which: int
    again: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        client = world.present(self.seat)
        if client is None or not client.tracks:
            return
        (key, _), track = list(client.tracks.items())[self.which % len(client.tracks)]
        request = track.request
        destination = request.destination
        if len(client.of(key)) > 1:
            destination = USERS_EVERYTHING if destination.startswith(USER_PREFIX) else EVERYTHING

        def leave() -> None:
            client.unsubscribe(key)
            if self.again and not client.is_over:
                last = None if ANY_SEGMENT in destination else client.last_read(destination)
                name = key if request.echo_id else ""
                client.subscribe(name, destination, request.ack, request.prefetch, last, track.row_filter)

        if not track.is_answered:
            track.after.append(leave)
        else:
            leave()


@dataclass(frozen=True)
class Lose:
    """A connection is lost."""

    seat: int

    def __call__(self, world: World) -> None:
        """Let it happen."""
        client = world.present(self.seat)
        if client is not None:
            client.lose()


@dataclass(frozen=True)
class Arm:
    """The connection is lost, or a subscription ends, within the next send."""

    seat: int
    which: int | None

    def __call__(self, world: World) -> None:
        """Let it happen."""
        client = world.present(self.seat)
        if client is not None:
            client.armed = lambda: self._fire(client)

    def _fire(self, client: Client) -> None:
        if self.which is None:
            client.lose()
            return
        keys = [key for (key, _), track in client.tracks.items() if track.is_answered]
        if keys:
            client.unsubscribe(keys[self.which % len(keys)])


@dataclass(frozen=True)
class Kernel:
    """A client reads so many bytes, and its kernel takes so many more; None: all."""

    seat: int
    room: int | None

    def __call__(self, world: World) -> None:
        """Let it happen."""
        client = world.present(self.seat)
        if client is not None:
            client.channel.drain(self.room)


@dataclass(frozen=True)
class Acknowledge:
    """A client acknowledges some message that it read."""

    seat: int
    which: int

    def __call__(self, world: World) -> None:
        """Let it happen."""
        client = world.present(self.seat)
        if client is not None:
            tracks = [track for track in client.tracks.values() if track.outstanding]
            if tracks:
                client.acknowledge(tracks[self.which % len(tracks)], self.which)


@dataclass(frozen=True)
class Publish:
    """Somebody publishes: through the hub, or elsewhere into the feed."""

    destination: str
    count: int
    size: int
    elsewhere: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        for _ in range(self.count if self.destination in world.hub.catalogue else 0):
            if self.elsewhere:
                world.twin.append(self.destination, world.body(self.size))
            else:
                world.publish(self.destination, self.size)


@dataclass(frozen=True)
class Feed:
    """The feed brings a batch, also of what is no longer watched but not yet watched again."""

    counts: tuple[int, ...]

    def __call__(self, world: World) -> None:
        """Let it happen."""
        counts = {name: count for name, count in zip((*DESTINATIONS, LATE), self.counts, strict=False) if count}
        if counts:
            world.twin.feed(counts)


@dataclass(frozen=True)
class AnswerWatch:
    """A watch is answered, perhaps with a position that is behind what was published."""

    lag: int
    fails: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        if world.twin.watches:
            world.twin.answer_watch(world.twin.watches[0], self.lag, self.fails)


@dataclass(frozen=True)
class Look:
    """The history is looked at for a page that is answered later."""

    which: int

    def __call__(self, world: World) -> None:
        """Let it happen."""
        readings = world.twin.readings
        if readings:
            world.twin.look(readings[self.which % len(readings)])


@dataclass(frozen=True)
class AnswerReading:
    """A page is answered, in any order."""

    which: int
    fails: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        readings = world.twin.readings
        if readings:
            world.twin.answer_reading(readings[self.which % len(readings)], self.fails)


@dataclass(frozen=True)
class AnswerPublishing:
    """A publish is taken, and answered if ``is_answered``, in any order."""

    which: int
    is_answered: bool
    fails: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        publishings = world.twin.publishings
        if publishings:
            publishing = publishings[self.which % len(publishings)]
            if self.is_answered:
                world.twin.answer_publishing(publishing, self.fails)
            else:
                world.twin.take(publishing)


@dataclass(frozen=True)
class Evict:
    """The history loses all of a destination but so many."""

    destination: str
    left: int

    def __call__(self, world: World) -> None:
        """Let it happen."""
        world.twin.evict(self.destination, len(world.twin.ledger[self.destination]) - self.left)


@dataclass(frozen=True)
class Miss:
    """The source loses events, and says so."""

    destination: str
    count: int

    def __call__(self, world: World) -> None:
        """Let it happen."""
        if self.destination in world.twin.watched:
            world.twin.miss(self.destination, self.count)


@dataclass(frozen=True)
class Grow:
    """A destination is added to the catalogue; perhaps the feed is unreachable just then."""

    fails: bool

    def __call__(self, world: World) -> None:
        """Let it happen."""
        world.grow()
        for watch in [each for each in world.twin.watches if each.destination == LATE and self.fails]:
            world.twin.answer_watch(watch, fails=True)


@dataclass(frozen=True)
class Turn:
    """A turn of the reactor."""

    seconds: float

    def __call__(self, world: World) -> None:
        """Let it happen."""
        world.turn(self.seconds)
