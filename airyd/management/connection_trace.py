"""The trace of a connection, or of all connections of a user: their frames, in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from twisted.internet.interfaces import IReactorTime

from airyd.client.client import Client
from airyd.management.queries import TraceLine, TraceQuery
from airyd.management.trace import Trace
from airyd.management.trace_lines import IN, OUT, frame_sent, line_of, note
from airyd.stomp.frames import Frame
from airyd.stomp.watched_session import FrameObserver, unwatched, watched
from airyd.websocket.frames import texts_of
from airyd.websocket.protocol import StompWebSocket, StompWebSocketFactory
from airyd.websocket.tracing import observe, stop_observing

#: The most connections in the trace of a user.
MOST_CONNECTIONS: Final = 100
#: Connections whose user is looked at in one turn of the reactor; each takes some 0.5 µs.
CONNECTIONS_PER_TURN: Final = 2000


def subject_of(channel: StompWebSocket) -> str | None:
    """Return the name of a connection's user; None before the login."""
    principal = channel.principal
    return None if principal is None else str(principal.name)


def watch_frames(client: Client, key: object, observer: FrameObserver) -> None:
    """Report each frame that a client sends from now on, before it is carried out."""
    client.change_session(lambda session: watched(session, key, observer))


def unwatch_frames(client: Client, key: object) -> None:
    """End what :func:`watch_frames` began with this key."""
    client.change_session(lambda session: unwatched(session, key))


class ConnectionObserver:
    """Adds the frames of one connection, in and out, to a trace.

    :param lost: called when the connection is lost
    """

    def __init__(
        self,
        trace: Trace,
        channel: StompWebSocket,
        has_bodies: bool,
        wall: Callable[[], float],
        lost: Callable[[], None],
    ) -> None:
        self._trace = trace
        self._channel = channel
        self._client = channel.client
        self._has_bodies = has_bodies
        self._wall = wall
        self._lost = lost
        watch_frames(self._client, self, self._received)
        observe(channel, self)

    def stop(self) -> None:
        """Stop observing."""
        unwatch_frames(self._client, self)
        stop_observing(self._channel, self)

    def sent(self, wire: bytes) -> None:
        """See ``WireObserver``."""
        if self._channel.state != self._channel.STATE_CONNECTING:  # else it is the answer to the opening handshake
            self._trace.add(partial(self._lines_of, self._wall(), wire))

    def closed(self, kind: str) -> None:
        """See ``WireObserver``."""
        unwatch_frames(self._client, self)
        line = note(self._wall(), "disconnected", [("reason", kind)], self._client.id, self._subject)
        self._trace.add(lambda: [line])
        self._lost()

    @property
    def _subject(self) -> str | None:
        principal = self._client.principal
        return None if principal is None else principal.name

    def _received(self, frame: Frame) -> None:
        self._trace.add(partial(self._line_of, self._wall(), frame))

    def _line_of(self, time: float, frame: Frame) -> Iterator[TraceLine]:
        if self._trace.takes():
            yield line_of(time, IN, frame, self._client.id, self._subject, self._has_bodies)

    def _lines_of(self, time: float, wire: bytes) -> Iterator[TraceLine]:
        for text in texts_of(wire):
            if self._trace.takes():
                frame = frame_sent(text, self._client.version)
                yield line_of(time, OUT, frame, self._client.id, self._subject, self._has_bodies)


class SubjectTrace:
    """Adds the frames of all connections of a user to a trace, also of those that log in later, from CONNECTED on.

    With ``--auth anonymous`` all clients may have one name: only the first :data:`MOST_CONNECTIONS` are traced.
    """

    def __init__(
        self,
        trace: Trace,
        query: TraceQuery,
        subject: str,
        factory: StompWebSocketFactory,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._trace = trace
        self._has_bodies = query.has_bodies
        self._subject = subject
        self._factory = factory
        self._clock = clock
        self._wall = wall
        self._observers: dict[int, ConnectionObserver] = {}
        self._is_full = False
        self._watchers = factory.context.login_watchers
        self._watchers.append(self._logged_in)
        self._look_at(tuple(factory.channels))

    def stop(self) -> None:
        """Stop observing."""
        self._watchers.remove(self._logged_in)
        while self._observers:  # they refer to this object: nothing may be left in a cycle
            self._observers.popitem()[1].stop()

    def _look_at(self, numbers: Sequence[int]) -> None:
        if self._trace.is_over:
            return
        for number in numbers[:CONNECTIONS_PER_TURN]:
            channel = self._factory.channels.get(number)
            if channel is not None and subject_of(channel) == self._subject and number not in self._observers:
                self._observe(number, channel)
        if numbers[CONNECTIONS_PER_TURN:]:
            self._clock.callLater(0, self._look_at, numbers[CONNECTIONS_PER_TURN:])

    def _observe(self, number: int, channel: StompWebSocket) -> None:
        def lost() -> None:
            del self._observers[number]

        if len(self._observers) >= MOST_CONNECTIONS:
            if not self._is_full:
                self._is_full = True
                line = note(self._wall(), "full", [("connections", str(MOST_CONNECTIONS))], subject=self._subject)
                self._trace.add(lambda: [line])
            return
        self._observers[number] = ConnectionObserver(self._trace, channel, self._has_bodies, self._wall, lost)

    def _logged_in(self, number: int) -> None:
        channel = self._factory.channels[number]
        if subject_of(channel) == self._subject:
            self._observe(number, channel)
            if number in self._observers:
                line = note(self._wall(), "connected", [("peer", channel.peer)], channel.client.id, self._subject)
                self._trace.add(lambda: [line])
