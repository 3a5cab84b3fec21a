"""Bounds on what one client may do or cost, with their defaults; each is an option of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

KIB = 1024
MIB = 1024 * KIB


def _limit(default: int, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds. Sizes are in bytes, times in seconds.

    The name of a field with dashes is the name of its option.
    """

    connect_timeout: int = _limit(10, "seconds from TCP accept to CONNECTED")
    request_head: int = _limit(16 * KIB, "bytes of the opening handshake's request head")
    connect_frame: int = _limit(16 * KIB, "bytes of a STOMP frame before CONNECTED")
    frame: int = _limit(320 * KIB, "bytes of a STOMP frame after CONNECTED")
    body: int = _limit(256 * KIB, "bytes of an event's body")
    headers: int = _limit(100, "headers of a frame, and of the opening handshake")
    header_line: int = _limit(8 * KIB, "bytes of one header line")
    subscriptions: int = _limit(256, "subscriptions of a connection")
    transactions: int = _limit(16, "open transactions of a connection")
    transaction_bytes: int = _limit(1 * MIB, "bytes in all open transactions of a connection")
    buffered: int = _limit(2 * MIB, "bytes buffered for one client before it is closed as too slow")


_DEFAULTS = Limits()
#: ``(field name, default, help text)`` of each limit, in order.
LIMITS: tuple[tuple[str, int, str], ...] = tuple(
    (f.name, getattr(_DEFAULTS, f.name), f.metadata["help"]) for f in fields(Limits)
)

#: Bytes that a client may send ahead while its login is looked at.
HELD_DURING_LOGIN = 64 * KIB
#: Commands of one client that may wait for an answer; with more, nothing is read from it for a while.
MOST_UNDER_WAY = 64
#: Seconds that a DISCONNECT waits for what came before it.
DISCONNECT_PATIENCE = 10.0
#: Seconds to look ahead at most: the wheel keeps a cancelled call until its time, a client may ask for months, and the
#: wall clock, by which logins end, may be set.
FURTHEST_LOOK = 60.0
#: Seconds of silence after which a client that sends no heart-beats is pinged (option --ping-interval).
PING_INTERVAL = 30.0
#: Where many clients are to be closed, that takes this many seconds for each, and at most so many in all, so that they
#: don't come back as one.
SPREAD_PER_CLIENT = 0.002
SPREAD_AT_MOST = 3.0
#: Seconds that a closing connection may take to read its last frames and answer the close.
CLOSE_PATIENCE = 5.0
#: Seconds that a SUBSCRIBE, SEND or COMMIT may wait for the event source.
SOURCE_PATIENCE = 10.0
#: Unacknowledged messages of a subscription: when not asked for, and at most.
PREFETCH_DEFAULT = 100
PREFETCH_CAP = 1000
#: Messages that no longer wait for an ACK, as many as two of the largest windows hold, and subscriptions that ended: a
#: connection remembers so many, by 8 bytes each, and takes an ACK, NACK or UNSUBSCRIBE of them that comes late.
SETTLED_MESSAGES = 2 * PREFETCH_CAP
ENDED_SUBSCRIPTIONS = 1000
#: Characters of a pattern in a SUBSCRIBE: with more it fits no destination (``airyd.events.DESTINATION``).
PATTERN = 202
#: Characters of a token.
LONGEST_TOKEN = 8 * KIB
#: Events in a page of a replay.
REPLAY_PAGE = 200
#: Events of a page, and about how many bytes of them, that are sent in one turn of the reactor.
REPLAY_PIECE = 50
REPLAY_PIECE_BYTES = 64 * KIB
#: Live events held, and their bytes, while a page of a replay is under way.
HELD_EVENTS = 1000
HELD_BYTES = 1 * MIB
#: A replay pauses while more than this waits in the client's buffer.
REPLAY_BUFFER = 128 * KIB
#: A WebSocket message may hold many STOMP frames; above this many bytes the connection is failed with 1009.
WEBSOCKET_MESSAGE = 16 * MIB
