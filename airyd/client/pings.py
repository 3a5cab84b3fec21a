"""WebSocket pings for clients that send no heart-beats.

Such a client may vanish without a FIN (a laptop that is carried away, a NAT that forgets), and where nothing is
published its connection would stay for ever. A ping finds that out. It also keeps proxies from closing the connection
of a client that is well: nginx and haproxy do so after a minute in which nothing passes.
"""

from __future__ import annotations

import random
from typing import Final

from airyd.client.context import ClientContext
from airyd.interfaces import IChannel

#: Pings that a client may leave unanswered.
MOST_UNANSWERED: Final = 2
#: A ping is due after the interval, or up to so many times later: clients that came together don't answer together.
LATEST: Final = 1.25


class Pings:
    """Pings one client while it is silent, and notices when it is gone.

    Any byte of the client's is an answer. What all clients share is handed in: there are thousands of these.

    :param interval: seconds of silence after which a ping is sent
    :param now: the time, on the clock of all later calls
    """

    __slots__ = ("_sent_at", "_unanswered", "_wait")

    def __init__(self, interval: float, now: float) -> None:
        self._sent_at = now
        self._unanswered = 0
        self._wait = _next_wait(interval)

    def ping_if_silent(self, channel: IChannel, context: ClientContext, heard: float, now: float) -> float | None:
        """Send a ping if one is due; return the seconds until the next look, or None if the client is gone.

        :param heard: when the last byte of the client was read
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
