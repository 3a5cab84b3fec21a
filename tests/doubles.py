"""Test doubles around a client: a feed and an authenticator that answer when told, a channel that keeps the bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import TimerWheel
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS, HistoryPage, RowFilter
from airyd.hub.hub import Hub
from airyd.interfaces import NO_OPENING, Credentials, IAuthenticator, IChannel, IEventSource, IPrincipal, Opening
from airyd.limits import Limits
from airyd.metrics import Metrics
from airyd.sources.memory import MemorySource
from airyd.sources.status import SourceState, StatusSource
from airyd.stomp.spec import HeartBeat
from airyd.websocket.frames import websocket_framing
from tests.integration.wire import PING, TEXT, StompFrame, decode

#: The commands that stand for a heart-beat and a ping in lists of frames.
BEAT: Final = "beat"
PINGED: Final = "ping"
#: A valid event for every destination of Airy.
EVENT: Final = b'{"id":"1","conversation_id":"1","message":{"id":"1"},"unread_message_count":1,"timestamp":"now"}'

_T = TypeVar("_T")


def websocket_frames(wire: bytes) -> list[tuple[int, bytes]]:
    """Return ``(opcode, payload)`` of each frame that the server sent; they must be whole, final and unmasked."""
    found = []
    while wire:
        first, length = wire[0], wire[1]
        start = 2
        if length == 126:
            (length,), start = struct.unpack_from("!H", wire, 2), 4
        elif length == 127:
            (length,), start = struct.unpack_from("!Q", wire, 2), 10
        payload = wire[start : start + length]
        if not first & 0x80 or first & 0x70 or len(payload) != length:
            raise AssertionError(f"not a whole frame of a server: {wire[:80]!r}")
        found.append((first & 0x0F, payload))
        wire = wire[start + length :]
    return found


def stomp_frames(wire: bytes, version: str = "1.2") -> list[StompFrame]:
    """Return the STOMP frames, heart-beats and WebSocket pings that the server sent."""
    known = {(TEXT, b"\n"): StompFrame(BEAT, {}, b""), (PING, b""): StompFrame(PINGED, {}, b"")}
    return [known.get(found) or decode(found[1], found[0], version) for found in websocket_frames(wire)]


def frame(command: str, /, body: bytes = b"", **headers: str) -> bytes:
    """Return a client's frame; ``_`` in a header's name stands for ``-``."""
    lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items()), "", ""]
    return "\n".join(lines).encode() + body + b"\0"


class Told:
    """Calls that succeed, fail or wait, as the test says.

    :ivar holding: whether each call waits for :meth:`answer`
    :ivar fault: what every call fails with; None: it does not fail
    """

    def __init__(self) -> None:
        self.holding = False
        self.fault: Exception | None = None
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def call(self, function: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Make the call now, or at its :meth:`answer`."""
        if self.fault is not None:
            return fail(self.fault)
        if not self.holding:
            return maybeDeferred(function)
        told: Deferred[None] = Deferred()
        self._waiting.append(told)
        return told.addCallback(lambda _: function())

    def answer(self, fault: Exception | None = None) -> None:
        """Let the oldest waiting call go on, or fail."""
        told = self._waiting.pop(0)
        if fault is None:
            told.callback(None)
        else:
            told.errback(fault)


@implementer(IEventSource)
class Feed(MemorySource):
    """The memory feed, which answers when told.

    :ivar taken: ``(destination, body)`` of each published event, in order
    """

    def __init__(self) -> None:
        super().__init__(lambda: 1.7e9)
        self.watches = Told()
        self.replays = Told()
        self.publishes = Told()
        self.taken: list[tuple[str, bytes]] = []

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """See ``IEventSource``."""
        watch = super().watch
        return self.watches.call(lambda: watch(destination, after_gap))

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """See ``IEventSource``."""
        replay = super().replay
        return self.replays.call(lambda: replay(destination, after, limit))

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """See ``IEventSource``."""
        publish = super().publish

        def take() -> Deferred[str]:
            self.taken.append((destination, body))
            return publish(destination, body)

        return self.publishes.call(take)


@implementer(IPrincipal)
class Somebody:
    """A principal with the rights that the test gives it.

    :ivar expires: when its login ends; None: never
    :ivar forbidden: destinations that it may neither subscribe nor send to
    """

    name = "somebody"
    authority = "the tests"

    def __init__(self) -> None:
        self.expires: float | None = None
        self.forbidden: set[str] = set()

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return destination not in self.forbidden

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return destination not in self.forbidden

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        return None


@implementer(IAuthenticator)
class Door(Told):
    """An authenticator that answers when told.

    :ivar seen: the credentials that it got
    """

    public = False
    cookies = False
    revocable = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Credentials] = []
        self.principal = Somebody()

    def start(self) -> None:
        """See ``IAuthenticator``."""

    def stop(self) -> None:
        """See ``IAuthenticator``."""

    def takes(self, credentials: Credentials) -> bool:
        """See ``IAuthenticator``."""
        return True

    def health(self) -> list[str]:
        """See ``IAuthenticator``."""
        return []

    def warnings(self) -> list[str]:
        """See ``IAuthenticator``."""
        return []

    def authenticate(self, credentials: Credentials) -> Deferred[IPrincipal]:
        """See ``IAuthenticator``."""
        self.seen.append(credentials)
        return self.call(lambda: maybeDeferred(lambda: self.principal))


@implementer(IChannel)
class Channel:
    """A connection that keeps all bytes sent over it.

    :ivar paused: whether reading is paused
    :ivar closed: the fault of each close
    :ivar late: what was sent directly after the close, which is wrong
    :ivar times: when something was sent
    :ivar opening: the credentials of the opening handshake, until :meth:`take_opening`
    """

    peer = "tcp4:192.0.2.1:5000"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.client: Client
        self.direct: Callable[[bytes], int] | None = self._take
        self.buffered = 0
        self.paused = False
        self.closed: list[Fault | None] = []
        self.late: list[bytes] = []
        self.opening = NO_OPENING
        self.times: list[float] = []
        self._wire = b""

    def _take(self, wire: bytes) -> int:
        if self.closed:
            self.late.append(wire)
        self._keep(wire)
        return len(wire)

    def _keep(self, wire: bytes) -> None:
        self._wire += wire
        self.times.append(self._clock.seconds())

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        opening, self.opening = self.opening, NO_OPENING
        return opening

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        if not self.closed:
            self._keep(wire)

    def ping(self) -> None:
        """See ``IChannel``."""
        self.send(b"\x89\0")

    def send_rest(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""
        raise AssertionError("everything fits in here")

    def pause(self) -> None:
        """See ``IChannel``."""
        self.paused = True

    def resume(self) -> None:
        """See ``IChannel``."""
        self.paused = False

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        self.closed.append(fault)
        self.direct = None
        return True

    def frames(self, version: str = "1.2") -> list[StompFrame]:
        """Return the frames that were sent since the last call."""
        wire, self._wire = self._wire, b""
        return stomp_frames(wire, version)

    def commands(self, version: str = "1.2") -> list[str]:
        """Return the commands of the frames sent since the last call; a RECEIPT is followed by its id."""
        names = [(sent.command, sent.headers.get("receipt-id", "")) for sent in self.frames(version)]
        return [f"{command} {receipt}".strip() for command, receipt in names]


class ClientTestCase(SynchronousTestCase):
    """Clients of one hub over a feed, with a clock that the test advances.

    :ivar troubles: why the feed is unreachable, for ``/airyd/status``; empty if it is reachable
    """

    limits = Limits()
    heart_beat = HeartBeat(30000, 30000)
    grace = 65.0
    ping_interval = 30.0
    tick = 1.0
    has_user_destinations = False

    def setUp(self) -> None:
        """Make what all clients share."""
        self.clock = self.make_clock()
        self.feed = Feed()
        self.door = Door()
        self.metrics = Metrics(AIRY_DESTINATIONS)
        self.troubles: list[str] = []
        self.status = StatusSource([SourceState(AIRY_DESTINATIONS, lambda: self.troubles)], self.clock, lambda: 1.7e9)
        hub = Hub(
            self.feed,
            AIRY_DESTINATIONS,
            self.clock,
            self.metrics,
            self.limits.body,
            self.status,
            self.has_user_destinations,
        )
        self.successResultOf(self.feed.start(hub))
        self.wheel = TimerWheel(self.clock, self.tick)
        self.wall_ahead = 1.7e9  # seconds that the wall clock is ahead of the monotonic one
        self.context = ClientContext(
            hub,
            self.door,
            self.limits,
            self.heart_beat,
            self.grace,
            self.wheel,
            self.metrics,
            self.wall,
            self.ping_interval,
        )

    def make_clock(self) -> Clock:
        """Return the clock."""
        return Clock()

    def wall(self) -> float:
        """Return the wall-clock time."""
        return self.wall_ahead + self.clock.seconds()

    def open(self) -> Channel:
        """Return the channel of a client that has sent nothing yet."""
        channel = Channel(self.clock)
        channel.client = Client(self.context, channel, websocket_framing)
        return channel

    def connected(self, version: str = "1.2", **headers: str) -> Channel:
        """Return the channel of a client that is CONNECTED."""
        channel = self.open()
        channel.client.received(frame("CONNECT", b"", accept_version=version, **headers))
        self.assertEqual(channel.commands(version), ["CONNECTED"])
        return channel

    def publish(self, destination: str, body: bytes = EVENT) -> str:
        """Publish, not from a client, in a turn of its own; return the ``message-id``."""
        published = self.successResultOf(self.context.hub.publish(destination, body, "admin"))
        self.clock.advance(0)
        return published

    def assert_failed(self, channel: Channel, fault: Fault, version: str = "1.2") -> StompFrame:
        """Check that the last frame is the fault's ERROR and that it closed the channel once; return the ERROR."""
        *_, error = channel.frames(version)
        self.assertEqual((error.command, error.headers.get("message")), ("ERROR", fault.message))
        self.assertEqual(channel.closed, [fault])
        self.assertEqual(channel.late, [])
        return error


def record_log(case: SynchronousTestCase) -> list[LogEvent]:
    """Return a list that collects all log events of the test."""
    events: list[LogEvent] = []

    @implementer(ILogObserver)
    def keep(event: LogEvent) -> None:
        events.append(event)

    globalLogPublisher.addObserver(keep)
    case.addCleanup(globalLogPublisher.removeObserver, keep)
    return events


def text_of(events: list[LogEvent]) -> str:
    """Return the events as a log file shows them, with the values of all their fields."""
    return "\n".join(f"{eventAsText(event)} {sorted(event.items(), key=str)}" for event in events)
