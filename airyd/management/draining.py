"""Closes all clients: to drain the process, which may be taken back, and when the process stops."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from airyd.errors import Fault, RequestRefused, StompError
from airyd.limits import CLOSE_PATIENCE, DRAINED_AT_ONCE
from airyd.websocket.protocol import StompWebSocketFactory

#: Clients that are closed in one turn of the reactor; each takes some 40 µs.
_CLOSES_PER_TURN: Final = 50
#: Seconds by which a close may be early: a timer is as exact as floating-point numbers.
_EXACT: Final = 1e-6
_ERROR: Final = StompError(Fault.RESTARTING, "The server is going away; connect again.")
#: Seconds after which a refused client may try again; its balancer may have chosen another node by then.
_RETRY_AFTER: Final = 5
_REFUSAL: Final = RequestRefused(
    "The server is draining; connect again.", HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(_RETRY_AFTER)}
)


class Drain:
    """Closes the clients of one factory.

    :param announce: notifies all clients that their connections end within so many seconds
    :param times: returns ``--drain-notice`` and ``--drain-seconds``

    :ivar is_on: whether the process drains: it is not ready, and refuses new clients
    """

    _log = Logger()

    def __init__(
        self,
        factory: StompWebSocketFactory,
        announce: Callable[[float], None],
        times: Callable[[], tuple[float, float]],
        clock: IReactorTime,
    ) -> None:
        self._factory = factory
        self._announce = announce
        self._times = times
        self._clock = clock
        self._call: IDelayedCall | None = None
        # When each client is closed, and its number; the first one is the last here. They hold no connection, which may
        # have ended long before that.
        self._closes: list[tuple[float, int]] = []
        self._gives_notice = True
        self._notice: Deferred[None] = succeed(None)
        self.is_on = False

    def begin(self) -> None:
        """Drain: refuse new clients from now on, and close those that are connected, after the notice."""
        if self.is_on:
            return
        self.is_on = True
        self._factory.refusal = _REFUSAL
        notice, seconds = self._times()
        self._log.info(
            "airyd drains: it closes its connections in {notice:g} s, and is not ready until that is taken back",
            notice=notice,
        )
        if notice:
            self._announce(notice + seconds)
        self._call = self._clock.callLater(notice, self._close_all)

    def take_back(self) -> None:
        """Accept clients again; those that were not closed yet stay."""
        if self.is_on:
            self.is_on = False
            self._factory.refusal = None
            self._cancel()
            self._log.info("airyd drains no longer: {count} connections stay", count=len(self._factory.channels))

    async def give_notice(self) -> None:
        """Serve on, unready, until load balancers have noticed (``--drain-notice``)."""
        notice, seconds = self._times()
        if notice and self._gives_notice:
            self._log.info("airyd closes its connections in {notice:g} s", notice=notice)
            self._announce(notice + seconds)
            self._notice = deferLater(self._clock, notice)
            with suppress(CancelledError):
                await self._notice

    def skip_notice(self) -> None:
        """End the notice at the stop, or give none."""
        self._gives_notice = False
        self._notice.cancel()

    async def finish(self) -> None:
        """Close all clients, and return when they are gone; call this when no new ones can come."""
        self._cancel()
        if not self._factory.channels:
            return
        spread = self._close_all()
        gone = self._factory.when_empty()
        bound = self._clock.callLater(spread + CLOSE_PATIENCE + 1, self._abort)
        await gone
        if bound.active():
            bound.cancel()

    def _close_all(self) -> float:
        """Close all clients at random times within the seconds that are returned."""
        numbers = tuple(self._factory.channels)
        self._log.info("airyd closes its connections: {count}", count=len(numbers))
        spread = self._times()[1] * min(1, len(numbers) / DRAINED_AT_ONCE)
        self._announce(spread)
        now = self._clock.seconds()
        self._closes = [(now + random.uniform(0, spread), number) for number in numbers]  # noqa: S311  # no secret
        self._closes.sort(reverse=True)
        self._close_in_time()
        return spread

    def _close_in_time(self) -> None:
        """Close the clients whose time has come, some in each turn of the reactor, and wait for that of the next."""
        closes, now = self._closes, self._clock.seconds()
        for _ in range(_CLOSES_PER_TURN):
            if not closes or closes[-1][0] - now > _EXACT:
                break
            _, number = closes.pop()
            channel = self._factory.channels.get(number)
            if channel is not None:
                channel.fail(_ERROR)
        if closes:
            self._call = self._clock.callLater(max(closes[-1][0] - now, 0.0), self._close_in_time)

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._closes = []

    def _abort(self) -> None:
        for channel in tuple(self._factory.channels.values()):
            channel.abort()
