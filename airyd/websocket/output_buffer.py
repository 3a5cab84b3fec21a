"""The output buffer of a client, and its limits, which end a client that reads too slowly.

Bytes that a socket does not take at once wait in the transport's buffer. When it has more than
``Limits.buffered_mark`` bytes, the client reads further events from the history, at its own pace, if the source keeps
one. The buffer has two limits: ``Limits.buffered`` bytes, and two ping intervals without progress. A client that
exceeds one of them gets the ERROR ``client too slow`` and the close code 1013.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import ITransport

from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import Timer
from airyd.errors import Fault, StompError

#: Ping intervals without progress of the buffer after which its client is ended.
_STUCK_INTERVALS: Final = 2
#: Seconds for which bytes must wait until their client counts as slow; a busy moment of the network passes sooner.
_SLOW: Final = 1.0


class OutputBuffer:
    """Counts and limits the bytes that wait to be sent to one client; the transport holds them.

    It exists while bytes wait, and at most two ping intervals longer: an idle connection has none, and behind the PROXY
    protocol, where each send waits for a turn of the reactor, not every send costs an entry of the timer wheel.

    :param drop: called when no bytes wait; must call :meth:`close`
    """

    __slots__ = ("_client", "_context", "_drop", "_filled_at", "_is_stalled", "_progressed_at", "_timer", "_transport")

    def __init__(self, context: ClientContext, client: Client, transport: ITransport, drop: Callable[[], None]) -> None:
        self._context = context
        self._client = client
        self._transport = transport
        self._drop = drop
        self._is_stalled = False
        self._timer: Timer | None = None
        self._fill()
        if self._stuck_seconds:
            self._look_in(self._stuck_seconds)

    def write(self, data: bytes) -> None:
        """Send after the waiting bytes; end the client if those would become too many."""
        limits, waiting = self._context.limits, self._client.channel.buffered
        if self._client.is_over or waiting + len(data) <= limits.buffered:
            if not waiting:
                self._fill()
            self._transport.write(data)
            if waiting > limits.effective_mark and not self._client.is_over:
                self._client.fall_behind()
        else:
            most = limits.buffered
            self._end_client(f"More than {most} bytes wait for you; read faster, or resume.")

    def write_rest(self, rest: bytes) -> None:
        """Send bytes that the socket did not take, because it is full."""
        self._is_stalled = True
        self._context.metrics.stalls += 1
        self._context.metrics.buffered_clients += 1
        self._fill()
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
        """Stop, because no bytes wait or the connection is lost."""
        self._end_stall()
        if self._timer is not None:
            self._timer.cancel()

    def _end_stall(self) -> None:
        if self._is_stalled:
            self._is_stalled = False
            self._context.metrics.buffered_clients -= 1

    @property
    def waiting(self) -> int:
        """The number of bytes that wait."""
        buffered: int = self._client.channel.buffered
        return buffered

    @property
    def is_slow(self) -> bool:
        """Whether bytes have waited for more than a second without a moment in which none did."""
        return bool(self.waiting) and self._context.wheel.seconds() - self._filled_at > _SLOW

    def _fill(self) -> None:
        """Note that bytes wait from now on."""
        self._filled_at = self._progressed_at = self._context.wheel.seconds()

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
            self._end_client(f"You have read nothing for {self._stuck_seconds:g} seconds, and bytes wait for you.")

    def _end_client(self, text: str) -> None:
        self._client.fail(StompError(Fault.SLOW_CONSUMER, text))
