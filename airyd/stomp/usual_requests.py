"""The short way to read a request: it looks up bytes that are equal to those of an earlier client.

After a failure, thousands of clients send the same CONNECT and the same SUBSCRIBEs. Their requests, which never change,
are remembered, so that the next client with the same bytes costs 1 µs in place of 12. Of a CONNECT with a token, the
frame without the token is remembered; a frame that may hold another secret is not. ``tests/stomp/test_usual_requests``
compares both ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from airyd.limits import Limits
from airyd.stomp.requests import Connect, Subscribe
from airyd.stomp.spec import AckMode, Header, HeartBeat, Version

#: The most entries of each kind, and the most bytes of one without its token: together at most 256 KiB.
MOST_REQUESTS: Final = 128
MOST_BYTES: Final = 1024
#: The beginnings of what is looked up; a SEND is not delayed by that.
BEGINNINGS: Final = (b"SUBSCRIBE\n", b"CONNECT\n", b"STOMP\n")
#: The most bytes that are looked up.
MOST_WITH_TOKEN: Final = 4096

#: A line of CONNECT that holds a token. Anything else than these characters is left to the parser.
TOKEN_LINE: Final = re.compile(rb"\n(Authorization|authorization|passcode):([!-\[\]-~]+(?: [!-\[\]-~]+)*)\n")
#: A CONNECT with other headers may hold another secret.
_USUAL_CONNECT: Final = frozenset({Header.ACCEPT_VERSION, Header.HOST, Header.HEART_BEAT})


class UsualConnect(NamedTuple):
    """A CONNECT without its token, and what it was negotiated with.

    :ivar token_header: the header with the token; None if it had none
    :ivar server_heart_beat: the server's ``heart-beat`` header
    :ivar heart_beat: the result, as ``Session.heart_beat``
    """

    request: Connect
    token_header: str | None
    limits: Limits
    server_heart_beat: HeartBeat
    heart_beat: tuple[int, int]

    def with_token(self, token: str) -> Connect:
        """Return the request with a token."""
        name, (version, headers) = self.token_header or "", (self.request.version, self.request.headers)
        passcode = token if name == Header.PASSCODE else None
        return Connect(version, None, passcode, {**headers, name: token})


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

    def find_connect(self, data: bytes) -> tuple[UsualConnect, str | None] | None:
        """Return what is remembered of a CONNECT, and its token."""
        found = TOKEN_LINE.search(data)
        if found is None:
            usual = self.connects.get(data)
            return None if usual is None or usual.token_header is not None else (usual, None)
        usual = self.connects.get(data[: found.start(2)] + data[found.end(2) :])
        if usual is None or usual.token_header is None or len(data) > min(usual.limits.header_line, MOST_WITH_TOKEN):
            return None
        return usual, str(found[2], "ascii")

    def remember_connect(
        self, data: bytes, request: Connect, limits: Limits, server_heart_beat: HeartBeat, heart_beat: tuple[int, int]
    ) -> None:
        """Remember a CONNECT without its token, unless it may hold another secret."""
        headers = dict(request.headers)
        token_header = None
        found = TOKEN_LINE.search(data)
        if found is not None:
            token_header = str(found[1], "ascii")
            headers.pop(token_header, None)
            data = data[: found.start(2)] + data[found.end(2) :]
            # The parser takes the first of two, and ignores the other, which is a secret, too.
            if sum(data.count(b"\n%b:" % name) for name in (b"Authorization", b"authorization", b"passcode")) != 1:
                return
        if len(data) <= MOST_BYTES and headers.keys() <= _USUAL_CONNECT:
            if len(self.connects) >= MOST_REQUESTS:
                del self.connects[next(iter(self.connects))]
            usual = Connect(request.version, None, None, headers)
            self.connects[data] = UsualConnect(usual, token_header, limits, server_heart_beat, heart_beat)

    def remember_subscribes(self, data: bytes, usual: UsualSubscribes) -> None:
        """Remember SUBSCRIBEs, unless one of them takes acknowledgements, or needs no ``id``."""
        is_usual = usual.version.rules.needs_subscription_id and len(data) <= MOST_BYTES
        if is_usual and all(each.ack is AckMode.AUTO for each in usual.requests):
            if len(self.subscribes) >= MOST_REQUESTS:
                del self.subscribes[next(iter(self.subscribes))]
            self.subscribes[data, usual.requests[0].ordinal] = usual
