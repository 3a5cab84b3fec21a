"""What all clients of the daemon share."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from airyd.client.timer_wheel import TimerWheel
from airyd.hub.hub import Hub
from airyd.interfaces import IAuthenticator, IPrincipal
from airyd.limits import PING_INTERVAL, Limits
from airyd.metrics import Metrics
from airyd.stomp.spec import HeartBeat

#: A number of seconds that is more than any other.
NEVER: Final = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class ClientContext:
    """What all clients share.

    :ivar heart_beat: the server's wish
    :ivar grace: seconds for which no client is closed for a missing heart-beat
    :ivar wall: the wall-clock time, seconds since 1970
    :ivar ping_interval: seconds of silence after which a client without heart-beats is pinged; 0 for never
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
    _run: str = field(default_factory=lambda: secrets.token_hex(4))
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def left(self, principal: IPrincipal | None) -> float:
        """Return in how many seconds a login ends, by the wall clock as it is now; or :data:`NEVER`."""
        return NEVER if principal is None or principal.expires is None else principal.expires - self.wall()

    def next_session(self) -> tuple[int, str]:
        """Return the number and the ``session`` header of another session; unique over restarts."""
        number = next(self._numbers)
        return number, f"{self._run}-{number}"
