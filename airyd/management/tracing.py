"""Traces of connections, users and destinations: their frames and events, as they come and go (``TraceQuery``).

A trace costs others nothing. What a traced connection sends is observed by ``airyd.websocket.tracing``, what its client
sends by ``airyd.stomp.watched_session``. The events of a destination come from one more subscription. For the frames
that name a destination, the sessions of all clients are watched while the trace runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.internet.interfaces import IReactorTime

from airyd.errors import QueryRefused, TooManyTraces
from airyd.hub.hub import Hub
from airyd.management.connection_trace import ConnectionObserver, SubjectTrace
from airyd.management.destination_trace import DestinationFrames, EventSubscriber, check_destination
from airyd.management.queries import TraceQuery
from airyd.management.trace import LONGEST_TRACE, OnLines, Trace
from airyd.websocket.protocol import StompWebSocketFactory

#: Traces of a process that may run at once.
MOST_TRACES: Final = 10
#: The reason why the trace of an unknown connection ends.
NO_CONNECTION: Final = "there is no connection with this id"


class Tracer:
    """Begins and ends the traces of a process.

    :param factory: its connections
    :param wall: returns the wall-clock time in seconds since 1970
    :param most: the most traces that may run at once
    """

    def __init__(
        self,
        factory: StompWebSocketFactory,
        hub: Hub,
        clock: IReactorTime,
        wall: Callable[[], float],
        most: int = MOST_TRACES,
    ) -> None:
        self._most = most
        self._factory = factory
        self._hub = hub
        self._clock = clock
        self._wall = wall
        self._running: list[Trace] = []

    def start(self, query: TraceQuery, on_lines: OnLines, has_frames: bool = True, has_events: bool = True) -> Trace:
        """Begin a trace.

        If there is no such connection, it has ended already, with the reason ``NO_CONNECTION``.

        :param has_frames: of a destination: whether to report frames that name it; also ``has_events``

        Errors: ``QueryRefused``, ``UnknownDestination``, raised.
        """
        if len(self._running) >= self._most:
            raise too_many_traces()
        check_query(query)
        if query.destination is not None:
            check_destination(query.destination, self._hub)
        trace = Trace(query.seconds, self._clock, self._wall, on_lines)
        self._running.append(trace)
        trace.when_over(partial(self._running.remove, trace))
        if query.connection is not None:
            self._trace_connection(trace, query, query.connection)
        elif query.subject is not None:
            trace.when_over(SubjectTrace(trace, query, query.subject, self._factory, self._clock, self._wall).stop)
        elif query.destination is not None:
            self._trace_destination(trace, query, query.destination, has_frames, has_events)
        return trace

    def stop_all(self, reason: str) -> None:
        """End all traces."""
        for trace in tuple(self._running):
            trace.stop(reason)

    def _trace_destination(
        self, trace: Trace, query: TraceQuery, destination: str, has_frames: bool, has_events: bool
    ) -> None:
        if has_frames:
            frames = DestinationFrames(trace, query, destination, self._factory, self._clock, self._wall)
            trace.when_over(frames.stop)
        if has_events:
            events = EventSubscriber(trace, query, destination, self._hub, self._wall)
            trace.when_over(events.stop)
            events.start()

    def _trace_connection(self, trace: Trace, query: TraceQuery, connection: str) -> None:
        number = self._factory.context.number_of(connection)
        channel = None if number is None else self._factory.channels.get(number)
        if channel is None:
            trace.stop(NO_CONNECTION)
            return

        def lost() -> None:
            trace.stop("the connection has ended")

        trace.when_over(ConnectionObserver(trace, channel, query.has_bodies, self._wall, lost).stop)


def too_many_traces() -> TooManyTraces:
    """Return the error of a trace that would be one too many."""
    return TooManyTraces(f"{MOST_TRACES} traces run already; stop one of them")


def check_query(query: TraceQuery) -> None:
    """Raise ``QueryRefused`` unless the query names exactly one thing, and its other parts fit that."""
    given = [each for each in (query.connection, query.subject, query.destination) if each is not None]
    if len(given) != 1:
        raise QueryRefused("a trace is of a connection, of a subject or of a destination: name exactly one")
    if query.filter and query.destination is None:
        raise QueryRefused("only a trace of a destination has a filter")
    if not 0 < query.seconds <= LONGEST_TRACE:
        raise QueryRefused(f"a trace takes at most {LONGEST_TRACE:g} seconds")
