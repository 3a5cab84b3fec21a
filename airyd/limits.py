"""Limits on frames, headers, subscriptions, buffers and times: the options with their defaults, and the fixed ones."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

KIB = 1024
MIB = 1024 * KIB


def _limit(default: int, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that are options; sizes are bytes, times are seconds.

    A field's name, with dashes for underscores, is the name of its option.
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
    buffered_mark: int = _limit(
        128 * KIB, "bytes buffered for one client before it reads from the history; at most half of --buffered"
    )
    token_size: int = _limit(
        8 * KIB,
        "bytes of a token, up to 131072; the limits of request heads, frames, header lines and bodies do not count it",
    )

    @property
    def effective_mark(self) -> int:
        """The bytes of ``buffered_mark``, at most half of ``buffered``: else a client would be closed before that."""
        return min(self.buffered_mark, self.buffered // 2)

    @property
    def token_line(self) -> int:
        """Bytes of a header line of CONNECT that may hold a token."""
        return max(self.header_line, len("Authorization: Bearer ") + self.token_size)

    @property
    def token_body(self) -> int:
        """Bytes of the body of a SEND that refreshes a token."""
        return len("Bearer ") + self.token_size


_DEFAULTS = Limits()
#: ``(field name, default, help text)`` of each limit, in order.
LIMITS: tuple[tuple[str, int, str], ...] = tuple(
    (f.name, getattr(_DEFAULTS, f.name), f.metadata["help"]) for f in fields(Limits)
)

#: Bytes that a client may send while its login is being checked.
HELD_DURING_LOGIN = 64 * KIB
#: Requests of one client that may wait for an answer; above this, airyd pauses reading from the client.
MOST_UNDER_WAY = 64
#: Seconds that a DISCONNECT waits for the requests before it.
DISCONNECT_PATIENCE = 10.0
#: Longest timer, in seconds; longer waits are checked again after this. The timer wheel keeps a cancelled call until
#: it is due, a client may ask for months, and the wall clock, by which logins expire, may be set.
LONGEST_TIMER = 60.0
#: Seconds of silence after which a client that sends no heart-beats is pinged (option --ping-interval).
PING_INTERVAL = 30.0
#: Seconds between the start of a stop and the first close (option --drain-notice), and seconds over which the closes of
#: ``DRAINED_AT_ONCE`` or more clients are spread (option --drain-seconds), so that they don't all reconnect at once.
DRAIN_NOTICE = 0.0
DRAIN_SECONDS = 3.0
DRAINED_AT_ONCE = 1500
#: The most seconds that both may be together: for so long, and some more, systemd and Kubernetes must wait.
LONGEST_DRAIN = 300.0
#: After a gap, this many seconds per client, and at most so many in all, spread the closes.
SPREAD_PER_CLIENT = 0.002
SPREAD_AT_MOST = 3.0
#: Seconds that a closing connection may take to read its last frames and answer the close.
CLOSE_PATIENCE = 5.0
#: Seconds that a SUBSCRIBE, SEND or COMMIT may wait for the event source.
SOURCE_PATIENCE = 10.0
#: Unacknowledged messages of a subscription: the default, and the most that a client may ask for.
PREFETCH_DEFAULT = 100
PREFETCH_CAP = 1000
#: Settled messages (as many as two of the largest windows) and ended subscriptions that a connection remembers, with
#: 8 bytes each, so that a late ACK, NACK or UNSUBSCRIBE of them is accepted.
SETTLED_MESSAGES = 2 * PREFETCH_CAP
ENDED_SUBSCRIPTIONS = 1000
#: Characters of a pattern in a SUBSCRIBE; a longer one matches no destination (``airyd.events.DESTINATION``).
LONGEST_PATTERN = 202
#: Bytes of the smallest and the largest ``--token-size``. An RSA signature alone has 342 or more.
LEAST_TOKEN_SIZE = 1 * KIB
MOST_TOKEN_SIZE = 128 * KIB
#: Characters of a token's header, which is parsed before the signature is verified, and which is cached.
LONGEST_TOKEN_HEADER = 8 * KIB
#: Events in one page of a replay.
REPLAY_PAGE = 200
#: Events of a page, and about how many bytes, that are sent in one turn of the reactor.
REPLAY_PIECE = 50
REPLAY_PIECE_BYTES = 64 * KIB
#: Live events, and their bytes, that are held while a page of a replay is read.
HELD_EVENTS = 1000
HELD_BYTES = 1 * MIB
#: A replay pauses while more bytes than this are buffered for the client: a socket holds far more, and thousands of
#: slow clients may each have this and a piece.
REPLAY_BUFFER = 16 * KIB
#: Bytes of a WebSocket message, which may hold many STOMP frames; a larger one closes the connection with 1009.
WEBSOCKET_MESSAGE = 16 * MIB
