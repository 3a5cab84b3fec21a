"""Server-sent events (WHATWG HTML, section 9.2): responses that go on, bounded in number, bytes and time."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from airyd.admin.responses import HttpError
from airyd.limits import MIB

EVENT_STREAM: Final = "text/event-stream"
#: The most streams at once.
MOST_STREAMS: Final = 20
#: Seconds between two comments that keep proxies from closing an idle stream.
BEAT_SECONDS: Final = 15.0
#: Bytes that are held for a client that reads slowly; further events are dropped and counted.
MOST_HELD: Final = 1 * MIB
#: Seconds after its time at which a stream is ended that has not ended by itself.
_LATE: Final = 2.0


class StreamConsumer(Protocol):
    """What a stream writes to: the response of a request."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Call ``pauseProducing`` and ``resumeProducing`` of the stream."""

    def unregisterProducer(self) -> None:
        """Stop that."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body."""

    def finish(self) -> None:
        """End the response."""


@implementer(IPushProducer)
class EventStream:
    """One response of server-sent events.

    A client that does not read gets at most what :data:`MOST_HELD` allows, and then an event ``dropped`` with the
    number of events that are missing. The last event is ``end``, with the reason.

    :param ended: called once, when the stream ends for whatever reason
    """

    def __init__(self, reactor: IReactorTime, seconds: float, ended: Callable[[EventStream], None]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._consumer: StreamConsumer | None = None
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self._is_paused = True  # until there is a consumer
        self._is_over = False
        self._stop: Callable[[], None] = lambda: None
        self._calls: list[IDelayedCall] = [
            reactor.callLater(BEAT_SECONDS, self._beat),
            reactor.callLater(seconds + _LATE, self.end, "the time is over"),
        ]

    def on_end(self, stop: Callable[[], None]) -> None:
        """Call this when the stream ends; at once if it has ended."""
        if self._is_over:
            stop()
        else:
            self._stop = stop

    def attach(self, consumer: StreamConsumer) -> None:
        """Write to this from now on; its head has been written."""
        self._consumer = consumer
        consumer.registerProducer(self, True)
        self.resumeProducing()

    def send(self, event: str, value: object) -> None:
        """Send an event with a value as JSON."""
        if self._is_over:
            return
        data = b"event: %s\ndata: %s\n\n" % (event.encode("ascii"), msgspec.json.encode(value))
        if self._dropped or self._held_bytes + len(data) > MOST_HELD:
            self._dropped += 1
        else:
            self._hold(data)
            self._flush()

    def send_all(self, event: str, values: Sequence[object]) -> None:
        """Send an event for each value."""
        for value in values:
            self.send(event, value)

    def end(self, reason: str) -> None:
        """Send the event ``end`` and end the response."""
        if self._is_over:
            return
        self._report_dropped()
        self._hold(b"event: end\ndata: %s\n\n" % json.dumps({"reason": reason}).encode())
        self._close()
        if self._consumer is not None:
            self._finish(self._consumer)

    def client_left(self) -> None:
        """End the stream, because nobody reads it."""
        self._consumer = None
        self._close()
        self._held.clear()

    def pauseProducing(self) -> None:
        """Hold what comes (``IPushProducer``)."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Write what is held (``IPushProducer``)."""
        self._is_paused = False
        self._flush()
        if self._is_over and self._consumer is not None:
            self._finish(self._consumer)

    def stopProducing(self) -> None:
        """End the stream (``IPushProducer``)."""
        self.client_left()

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)

    def _flush(self) -> None:
        """Write until the connection has enough; it calls ``pauseProducing`` from ``write``."""
        while self._consumer is not None and not self._is_paused and (self._held or self._dropped):
            if self._held:
                data = self._held.popleft()
                self._held_bytes -= len(data)
                self._consumer.write(data)
            else:
                self._report_dropped()

    def _report_dropped(self) -> None:
        if self._dropped:
            self._hold(b'event: dropped\ndata: {"events": %d}\n\n' % self._dropped)
            self._dropped = 0

    def _beat(self) -> None:
        if not (self._held or self._is_paused or self._consumer is None):
            self._consumer.write(b": still here\n\n")
        self._calls[0] = self._reactor.callLater(BEAT_SECONDS, self._beat)

    def _close(self) -> None:
        """Stop what feeds the stream."""
        if self._is_over:
            return
        self._is_over = True
        for call in self._calls:
            if call.active():
                call.cancel()
        self._ended(self)
        stop, self._stop = self._stop, lambda: None  # a trace refers to its stream: no cycle stays
        stop()

    def _finish(self, consumer: StreamConsumer) -> None:
        """Write the rest, which is bounded, and end the response."""
        self._consumer = None
        for data in self._held:
            consumer.write(data)
        self._held.clear()
        consumer.unregisterProducer()
        consumer.finish()


class EventStreams:
    """The open streams of the admin page."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._open: set[EventStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, seconds: float) -> EventStream:
        """Return a new stream, which ends after some seconds; errors: ``HttpError`` (503) if there are too many."""
        if len(self._open) >= MOST_STREAMS:
            reason = f"{MOST_STREAMS} streams are open, which is the most; close one of them"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "10"})
        stream = EventStream(self._reactor, seconds, self._open.discard)
        self._open.add(stream)
        return stream

    def end_all(self, reason: str) -> None:
        """End all streams."""
        for stream in list(self._open):
            stream.end(reason)
