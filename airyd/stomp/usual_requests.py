"""The short way to read a request: it looks up bytes that are equal to those of an earlier client.

After a failure, thousands of clients send the same CONNECT and the same SUBSCRIBEs. Their requests, which never change,
are remembered, so that the next client with the same bytes costs 1 µs in place of 12. A frame that may hold a secret is
not remembered. ``tests/stomp/test_usual_requests.py`` compares both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from airyd.limits import Limits
from airyd.stomp.requests import Connect, Subscribe
from airyd.stomp.spec import AckMode, Header, HeartBeat, Version

#: The most entries of each kind, and the most bytes of one: together at most 256 KiB.
MOST_REQUESTS: Final = 128
MOST_BYTES: Final = 1024

#: A CONNECT with other headers may hold a token.
_USUAL_CONNECT: Final = frozenset({Header.ACCEPT_VERSION, Header.HOST, Header.HEART_BEAT})


class UsualConnect(NamedTuple):
    """A CONNECT, and what it was negotiated with.

    :ivar server_heart_beat: the server's ``heart-beat`` header
    :ivar heart_beat: the result, as ``Session.heart_beat``
    """

    request: Connect
    limits: Limits
    server_heart_beat: HeartBeat
    heart_beat: tuple[int, int]


class UsualSubscribes(NamedTuple):
    """SUBSCRIBEs that came together, and the version and the limits with which they were read."""

    requests: Sequence[Subscribe]
    limits: Limits
    version: Version


class UsualRequests:
    """The requests that all sessions share.

    :ivar connects: each by the bytes of its frame
    :ivar subscribes: by the bytes of their frames, and the number of the first subscription in its connection
    """

    def __init__(self) -> None:
        self.connects: dict[bytes, UsualConnect] = {}
        self.subscribes: dict[tuple[bytes, int], UsualSubscribes] = {}

    def remember_connect(self, data: bytes, usual: UsualConnect) -> None:
        """Remember a CONNECT, unless it may hold a secret."""
        if usual.request.headers.keys() <= _USUAL_CONNECT:
            if len(self.connects) >= MOST_REQUESTS:
                del self.connects[next(iter(self.connects))]
            self.connects[data] = usual

    def remember_subscribes(self, data: bytes, usual: UsualSubscribes) -> None:
        """Remember SUBSCRIBEs, unless one of them takes acknowledgements, or needs no ``id``."""
        if usual.version.rules.needs_subscription_id and all(each.ack is AckMode.AUTO for each in usual.requests):
            if len(self.subscribes) >= MOST_REQUESTS:
                del self.subscribes[next(iter(self.subscribes))]
            self.subscribes[data, usual.requests[0].ordinal] = usual
