"""A client that reads too slowly is ended here.

What a socket does not take at once waits in the transport's buffer. Two bounds hold for it: ``Limits.buffered`` bytes,
and two ping intervals in which none of them leaves. A client beyond one of them gets the ERROR ``client too slow`` and
the close code 1013.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import ITransport

from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import Timer
from airyd.errors import Fault, StompError

#: Ping intervals after which a buffer that makes no progress ends its client.
_STUCK_INTERVALS: Final = 2


class OutputBuffer:
    """Counts and bounds what waits to be sent to one client; the transport has the bytes.

    It exists while there is something in the buffer, and for two ping intervals at most after that: an idle connection
    has none, and under TLS, where each send is in the buffer for a turn, not each costs an entry of the timer wheel.

    :param drop: is called when nothing waits; must call :meth:`close`
    """

    __slots__ = ("_client", "_context", "_drop", "_is_stalled", "_progressed_at", "_timer", "_transport")

    def __init__(self, context: ClientContext, client: Client, transport: ITransport, drop: Callable[[], None]) -> None:
        self._context = context
        self._client = client
        self._transport = transport
        self._drop = drop
        self._is_stalled = False
        self._timer: Timer | None = None
        self._restart()
        if self._stuck_seconds:
            self._look_in(self._stuck_seconds)

    def write(self, data: bytes) -> None:
        """Send after what waits; end the client if that would be too many bytes."""
        most, waiting = self._context.limits.buffered, self._client.channel.buffered
        if self._client.is_over or waiting + len(data) <= most:
            if not waiting:
                self._restart()
            self._transport.write(data)
        else:
            self._end_client(f"More than {most} bytes wait for you; read faster, or resume.")

    def write_rest(self, rest: bytes) -> None:
        """Send what the socket did not take: it is full."""
        self._is_stalled = True
        self._context.metrics.stalls += 1
        self._context.metrics.buffered_clients += 1
        self._restart()
        self._transport.write(rest)

    def progressed(self) -> None:
        """See ``BufferObserver``."""
        self._restart()

    def emptied(self) -> None:
        """See ``BufferObserver``."""
        self._end_stall()
        self._restart()
        if self._timer is None:
            self._drop()

    def close(self) -> None:
        """End: nothing waits, or the connection is lost."""
        self._end_stall()
        if self._timer is not None:
            self._timer.cancel()

    def _end_stall(self) -> None:
        if self._is_stalled:
            self._is_stalled = False
            self._context.metrics.buffered_clients -= 1

    def _restart(self) -> None:
        """Count the time without progress from now."""
        self._progressed_at = self._context.wheel.seconds()

    @property
    def _stuck_seconds(self) -> float:
        return _STUCK_INTERVALS * self._context.ping_interval

    def _look_in(self, seconds: float) -> None:
        self._timer = self._context.wheel.call_later(seconds, self._look)

    def _look(self) -> None:
        if self._client.is_over:  # the connection has a deadline of its own
            return
        if not self._client.channel.buffered:
            self._drop()
            return
        wheel = self._context.wheel
        left = max(self._progressed_at, wheel.woke) + self._stuck_seconds - wheel.seconds()
        if left > 0:
            self._look_in(left)
        else:
            self._end_client(f"You have read nothing for {self._stuck_seconds:g} seconds of what waits for you.")

    def _end_client(self, text: str) -> None:
        self._client.fail(StompError(Fault.SLOW_CONSUMER, text))
