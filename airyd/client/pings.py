"""WebSocket pings for clients that send no heart-beats.

Such a client may vanish without a FIN (a laptop leaves the network, a NAT drops its entry), and if nothing is
published, its connection would stay open forever. A ping detects that. Pings also keep proxies from closing healthy
connections: nginx and haproxy do so after a minute without traffic.
"""

from __future__ import annotations

import random
from typing import Final

from airyd.client.context import ClientContext
from airyd.interfaces import IChannel

#: Pings that a client may leave unanswered.
MOST_UNANSWERED: Final = 2
#: A ping is due after 1 to this many intervals, at random, so that clients that connect together answer apart.
LATEST: Final = 1.25


class Pings:
    """Pings one client while it is silent, and detects that it is gone.

    Any byte from the client is an answer. What all clients share is passed in with each call, to save memory.

    :param interval: seconds of silence after which a ping is sent
    :param now: the time, by the clock of all later calls
    """

    __slots__ = ("_sent_at", "_unanswered", "_wait")

    def __init__(self, interval: float, now: float) -> None:
        self._sent_at = now
        self._unanswered = 0
        self._wait = _next_wait(interval)

    def ping_if_silent(self, channel: IChannel, context: ClientContext, heard: float, now: float) -> float | None:
        """Send a ping if one is due; return the seconds until the next call, or None if the client is gone.

        :param heard: when the last byte from the client was read
        """
        if heard >= self._sent_at:
            self._unanswered = 0
        left = max(heard, self._sent_at) + self._wait - now
        if left > 0:
            return left
        if self._unanswered >= MOST_UNANSWERED and now - heard > context.grace:
            return None
        self._unanswered += 1
        self._sent_at = now
        self._wait = _next_wait(context.ping_interval)
        channel.ping()
        return self._wait


def _next_wait(interval: float) -> float:
    return interval * random.uniform(1, LATEST)  # noqa: S311  # no secret
