"""The context that all clients share: hub, authenticator, limits, timer wheel, metrics, wall clock, session ids."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeVar

from twisted.internet.defer import Deferred

from airyd.client.connection_log import ConnectionLog
from airyd.client.timer_wheel import TimerWheel
from airyd.deferreds import is_deferred
from airyd.hub.hub import Hub
from airyd.interfaces import Credentials, IAuthenticator, IPrincipal
from airyd.limits import PING_INTERVAL, Limits
from airyd.metrics import Metrics
from airyd.stomp.spec import HeartBeat

_T = TypeVar("_T")

#: Seconds until an event that never happens.
NEVER: Final = math.inf
#: More digits than the number of any connection has.
_MOST_DIGITS: Final = 19
NO_CONNECTION_LOG: Final = ConnectionLog(None)


@dataclass(frozen=True, slots=True, eq=False)
class ClientContext:
    """The objects and settings that all clients share.

    :ivar heart_beat: the server's ``heart-beat`` header
    :ivar grace: seconds of silence within which no client is closed for a missing heart-beat
    :ivar wall: returns the wall-clock time in seconds since 1970
    :ivar ping_interval: seconds of silence after which a client without heart-beats is pinged; 0 for never
    :ivar connection_log: logs when clients connect and disconnect
    :ivar login_watchers: called with the number of each connection whose client has logged in, before it is told so;
        a reload keeps them
    """

    hub: Hub
    authenticator: IAuthenticator
    limits: Limits
    heart_beat: HeartBeat
    grace: float
    wheel: TimerWheel
    metrics: Metrics
    wall: Callable[[], float]
    ping_interval: float = PING_INTERVAL
    connection_log: ConnectionLog = NO_CONNECTION_LOG
    login_watchers: list[Callable[[int], None]] = field(default_factory=list)
    _run: str = field(default_factory=lambda: secrets.token_hex(4))
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def authenticate(self, credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Check credentials, and measure how long that takes, also if they are refused; see ``IAuthenticator``."""
        begun = self.wheel.seconds()
        login: IPrincipal | Deferred[IPrincipal] | None = None
        try:
            login = self.authenticator.authenticate(credentials)
        finally:
            if not is_deferred(login):
                self._measure_login(None, begun)
        return login.addBoth(self._measure_login, begun) if is_deferred(login) else login

    def _measure_login(self, result: _T, begun: float) -> _T:
        self.metrics.login_time.observe(self.wheel.seconds() - begun)
        return result

    def logged_in(self, number: int) -> None:
        """Call the watchers of logins."""
        if self.login_watchers:
            for watcher in tuple(self.login_watchers):
                watcher(number)

    def may_subscribe(self, principal: IPrincipal, destination: str) -> bool:
        """Return whether a principal may subscribe to a destination.

        A user destination is never unfiltered: nobody may subscribe to it who has no row filter for it.
        """
        if not principal.may_subscribe(destination):
            return False
        return not self.hub.is_user_destination(destination) or principal.row_filter(destination) is not None

    def left(self, principal: IPrincipal | None) -> float:
        """Return in how many seconds a login expires by the wall clock, or :data:`NEVER`."""
        return NEVER if principal is None or principal.expires is None else principal.expires - self.wall()

    def next_number(self) -> int:
        """Return the number of a new connection."""
        return next(self._numbers)

    def connection_id(self, number: int) -> str:
        """Return the id of a connection: the ``session`` header of its CONNECTED, unique across restarts."""
        return f"{self._run}-{number}"

    def number_of(self, connection_id: str) -> int | None:
        """Return the number in the id of a connection; None if it is not one of this process."""
        run, _, number = connection_id.partition("-")
        is_ours = run == self._run and number.isascii() and number.isdigit() and len(number) < _MOST_DIGITS
        return int(number) if is_ours else None
