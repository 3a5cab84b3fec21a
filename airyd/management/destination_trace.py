"""The trace of a destination: its events, and the frames of all clients that name it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from airyd.errors import Fault, QueryRefused, StompError, UnknownDestination
from airyd.events import plain_destination
from airyd.hub.hub import Hub
from airyd.interfaces import NO_OPENING, IChannel, Opening
from airyd.management.connection_trace import subject_of, unwatch_frames, watch_frames
from airyd.management.filters import row_filter_of
from airyd.management.queries import TraceLine, TraceQuery
from airyd.management.trace import Trace
from airyd.management.trace_lines import EVENT, IN, frame_sent, line_of, note
from airyd.patterns import ANY_SEGMENT, Pattern
from airyd.stomp.frames import Frame
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import AckMode, Command, Header, Version
from airyd.websocket.frames import texts_of, websocket_framing
from airyd.websocket.protocol import StompWebSocketFactory

#: Sessions that are watched, or not watched any more, in one turn of the reactor; each takes some 2 µs.
SESSIONS_PER_TURN: Final = 1000
#: The commands whose frames name a destination, or a subscription to one.
_NAMING: Final = frozenset({Command.SUBSCRIBE, Command.UNSUBSCRIBE, Command.SEND})


class DestinationFrames:
    """Adds the SUBSCRIBE, UNSUBSCRIBE and SEND frames that name a destination to a trace, from all clients."""

    def __init__(
        self,
        trace: Trace,
        query: TraceQuery,
        destination: str,
        factory: StompWebSocketFactory,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._trace = trace
        self._has_bodies = query.has_bodies
        self._destination = destination
        self._factory = factory
        self._clock = clock
        self._wall = wall
        self._watchers = factory.context.login_watchers
        self._watchers.append(self._watch)
        self._watch_some(tuple(factory.channels))

    def stop(self) -> None:
        """Stop watching."""
        self._watchers.remove(self._watch)
        self._unwatch_some(tuple(self._factory.channels))

    def _watch_some(self, numbers: Sequence[int]) -> None:
        if self._trace.is_over:
            return
        for number in numbers[:SESSIONS_PER_TURN]:
            if number in self._factory.channels:
                self._watch(number)
        if numbers[SESSIONS_PER_TURN:]:
            self._clock.callLater(0, self._watch_some, numbers[SESSIONS_PER_TURN:])

    def _unwatch_some(self, numbers: Sequence[int]) -> None:
        for number in numbers[:SESSIONS_PER_TURN]:
            if number in self._factory.channels:
                unwatch_frames(self._factory.channels[number].client, self)
        if numbers[SESSIONS_PER_TURN:]:
            self._clock.callLater(0, self._unwatch_some, numbers[SESSIONS_PER_TURN:])

    def _watch(self, number: int) -> None:
        # The session refers to the number, since a reference to its client would make a cycle.
        watch_frames(self._factory.channels[number].client, self, partial(self._received, number))

    def _received(self, number: int, frame: Frame) -> None:
        if frame.command not in _NAMING or self._trace.is_over:
            return
        channel = self._factory.channels[number]
        if frame.command == Command.UNSUBSCRIBE:
            key = frame.headers.get(Header.ID, frame.headers.get(Header.DESTINATION, ""))
            subscription = channel.client.subscribed.get(key)
            name = None if subscription is None else subscription.destination
        else:
            name = frame.headers.get(Header.DESTINATION)
        if name is not None and self._names(name):
            self._trace.add(partial(self._line_of, self._wall(), frame, channel.client.id, subject_of(channel)))

    def _names(self, name: str) -> bool:
        """Return whether a name, which may be a pattern or a user destination, is of the destination."""
        if self._factory.context.hub.is_user_destination(name):
            name = plain_destination(name)
        if ANY_SEGMENT not in name:
            return name == self._destination
        try:
            return Pattern(name).matches(self._destination)
        except ValueError:
            return False

    def _line_of(self, time: float, frame: Frame, connection: str, subject: str | None) -> Iterator[TraceLine]:
        if self._trace.takes():
            yield line_of(time, IN, frame, connection, subject, self._has_bodies)


@implementer(IChannel)
class EventSubscriber:
    """Subscribes to a destination, and adds each event to a trace (``airyd.hub.interfaces.Subscriber``).

    It is its own channel (``IChannel``), one that is never full.
    """

    direct: None = None
    peer: Final = "a trace"
    buffered: Final = 0
    buffered_mark: Final = 0
    version: Final = Version.V1_2
    can_be_notified: Final = True
    framing: Final[Framing] = staticmethod(websocket_framing)

    def __init__(self, trace: Trace, query: TraceQuery, destination: str, hub: Hub, wall: Callable[[], float]) -> None:
        self._trace = trace
        self._has_bodies = query.has_bodies
        self._wall = wall
        self._subscription = hub.make_subscription(self, subscribe_request(destination), row_filter_of(query.filter))

    def start(self) -> None:
        """Subscribe."""
        self._subscription.open()

    def stop(self) -> None:
        """Unsubscribe."""
        self._subscription.close()

    @property
    def channel(self) -> EventSubscriber:
        """See ``Subscriber``."""
        return self

    def notify(self, notice: bytes) -> bool:
        """Report a gap, and go on (``Subscriber``)."""
        line = note(self._wall(), "gap", [("notice", notice.decode())])
        self._trace.add(lambda: [line])
        return True

    def answer_subscribe(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Report the position after which the trace has every event (``Subscriber``)."""
        line = note(self._wall(), "subscribed", [(Header.LAST_MESSAGE_ID, position)])
        self._trace.add(lambda: [line])

    def remember_settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Do nothing: nothing is acknowledged (``Subscriber``)."""

    def count_events(self, count: int) -> None:
        """Do nothing (``Subscriber``)."""

    def fail(self, error: StompError) -> None:
        """End the trace (``Subscriber``)."""
        self._trace.stop(f"{error.fault.message}: {error.detail}")

    def send(self, wire: bytes) -> None:
        """Add the events (``IChannel``)."""
        self._trace.add(partial(self._lines_of, self._wall(), wire))

    def _lines_of(self, time: float, wire: bytes) -> Iterator[TraceLine]:
        for text in texts_of(wire):
            if self._trace.takes():
                yield line_of(time, EVENT, frame_sent(text, self.version), None, None, self._has_bodies)

    # The rest of IChannel. There is no socket behind this channel, so nothing ever waits or is closed.

    def take_opening(self) -> Opening:
        """Return nothing (``IChannel``)."""
        return NO_OPENING

    def ping(self) -> None:
        """Do nothing (``IChannel``)."""

    def send_rest(self, wire: bytes, count: int) -> None:
        """Do nothing, since there is no ``direct`` (``IChannel``)."""

    def pause(self) -> None:
        """Do nothing (``IChannel``)."""

    def resume(self) -> None:
        """Do nothing (``IChannel``)."""

    def close(self, fault: Fault | None) -> bool:
        """Do nothing (``IChannel``)."""
        return False


def subscribe_request(destination: str) -> Subscribe:
    """Return a SUBSCRIBE whose MESSAGEs have no ``subscription`` header."""
    return Subscribe("trace", destination, AckMode.AUTO, 1, None, 0, False)


def check_destination(name: str, hub: Hub) -> None:
    """Raise ``UnknownDestination`` or ``QueryRefused`` unless a destination can be traced."""
    if hub.is_user_destination(name):
        raise QueryRefused(f"{name} is each user's own part of {plain_destination(name)}: trace that")
    try:
        hub.find_destination(subscribe_request(name))
    except StompError as error:
        raise UnknownDestination(error.detail) from None
