"""The revocation sweep: ends connections whose tokens are revoked, checking some of them per turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IReactorTime

from airyd.errors import Fault, StompError
from airyd.interfaces import IPrincipal
from airyd.websocket.protocol import StompWebSocket

#: The most connections that are checked, and ended, in one turn of the reactor: each limit means some 2 ms of work.
CHECKS_PER_TURN: Final = 2000
ENDS_PER_TURN: Final = 50


class RevocationSweep:
    """Ends the connections whose tokens are revoked.

    :param channels: the open connections by their numbers, always up to date
    :param is_revoked: whether a client's token is revoked
    """

    def __init__(
        self, channels: Mapping[int, StompWebSocket], is_revoked: Callable[[IPrincipal], bool], clock: IReactorTime
    ) -> None:
        self._channels = channels
        self._is_revoked = is_revoked
        self._clock = clock
        self._left: list[int] = []
        self._is_wanted = False
        self._is_under_way = False

    def start(self) -> None:
        """Check all open connections; later logins are checked by the authenticator.

        A sweep in progress is finished first, so that every connection is checked however many revocations arrive.
        """
        self._is_wanted = True
        if not self._is_under_way:
            self._is_under_way = True
            self._clock.callLater(0, self._sweep)

    def _sweep(self) -> None:
        try:
            self._check_part()
        finally:  # also after an exception, which the reactor logs: the others must still be checked
            self._is_under_way = bool(self._left) or self._is_wanted
            if self._is_under_way:
                self._clock.callLater(0, self._sweep)

    def _check_part(self) -> None:
        if not self._left:
            self._is_wanted = False
            self._left = list(self._channels)
        ends = 0
        for _ in range(min(CHECKS_PER_TURN, len(self._left))):
            channel = self._channels.get(self._left.pop())
            principal = None if channel is None else channel.principal
            if channel is not None and principal is not None and self._is_revoked(principal):
                channel.fail(StompError(Fault.TOKEN_REVOKED, "Connect again with a new token."))
                ends += 1
                if ends == ENDS_PER_TURN:
                    break
