"""The queries of the admin API, and their replies; the replies' fields are the API's JSON (``airyd.admin.openapi``).

A process answers a query by itself (``airyd.management.manager``). With ``--workers`` the parent passes it to the
workers and merges their replies (``airyd.management.merging``). All times are wall-clock seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec

#: Rows of a page: unless the query says otherwise, and at most.
PAGE: Final = 50
LARGEST_PAGE: Final = 1000
#: Characters of a kick's reason, of a user agent and of a subject in a reply.
LONGEST_TEXT: Final = 200


class ConnectionState(Enum):
    """The state of a connection, or of one of its subscriptions."""

    OPENING = "opening"  # not logged in yet; a subscription: not answered yet
    LIVE = "live"  # gets events as they come
    CATCHING_UP = "catching-up"  # reads history: it resumes, or its window of unacknowledged messages is full
    SLOW = "slow"  # bytes have been queued for it for more than a second
    CLOSING = "closing"


class SortKey(Enum):
    """What connections are sorted by; the largest value comes first, and with ``age`` the oldest connection."""

    AGE = "age"
    BUFFERED = "buffered"
    LAG = "lag"
    DELIVERIES = "deliveries"


class ConnectionsQuery(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Find connections.

    :ivar subject: the name of their user
    :ivar address: the client's address, without the port
    :ivar destination: a destination that they subscribe to
    :ivar limit: the most rows, 1 to :data:`LARGEST_PAGE`
    :ivar cursor: ``next`` of the page before; None for the first page
    """

    subject: str | None = None
    address: str | None = None
    destination: str | None = None
    state: ConnectionState | None = None
    sort: SortKey = SortKey.AGE
    limit: int = PAGE
    cursor: str | None = None


class ConnectionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One connection in a list.

    :ivar id: the ``session`` header of its CONNECTED; other nodes have other ids
    :ivar process: ``airyd``, or the worker: ``worker-1``
    :ivar subject: the name of its user; None before the login
    :ivar address: the client's address and port; the real one behind a trusted proxy
    :ivar agent: the ``User-Agent`` of the opening handshake
    :ivar version: the STOMP version; None before CONNECT
    :ivar since: when it connected
    :ivar subscriptions: how many it has
    :ivar events: MESSAGEs that were handed to it
    :ivar buffered: bytes that are queued for it
    :ivar lag: seconds that it is behind the feed, by the times in the ids; 0 if it is live, None if that is unknown
    """

    id: str
    process: str
    state: ConnectionState
    subject: str | None
    address: str
    agent: str | None
    version: str | None
    since: float
    subscriptions: int
    events: int
    buffered: int
    lag: float | None


class ConnectionsReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """A page of connections.

    :ivar total: how many connections match, on all pages
    :ivar next: the cursor of the next page; None if this is the last one
    :ivar keys: the sort key of each row, with which the parent merges the pages of its workers; not in the JSON
    :ivar missing: workers that did not answer, whose connections are missing
    """

    connections: Sequence[ConnectionRow]
    total: int
    next: str | None = None
    keys: Sequence[float] = ()
    missing: Sequence[str] = ()


class ConnectionQuery(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Find one connection by its id."""

    id: str


class SubscriptionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription of a connection.

    :ivar id: its id in SUBSCRIBE
    :ivar destination: as the client named it; a wildcard has a row for each destination that it covers
    :ivar ack: the ack mode
    :ivar position: the ``message-id`` of the last event that was handed to the client or passed over, or the position
        it began at
    :ivar lag: see :class:`ConnectionRow`
    :ivar window: the most unacknowledged messages; None with ack mode ``auto``
    :ivar unacknowledged: messages that wait for an ACK or NACK
    :ivar filter: the row filter, as text; None if it gets all events
    """

    id: str
    destination: str
    state: ConnectionState
    ack: str
    position: str | None
    lag: float | None
    window: int | None
    unacknowledged: int
    filter: str | None


class ConnectionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One connection in full.

    :ivar heart_beat: seconds between the heart-beats that airyd sends, and that it expects; 0 for none
    :ivar heard: seconds since the client sent anything
    :ivar token_end: when its login expires; None if it does not
    :ivar sent: bytes on the wire that the client has received, as the kernel counts them; None if it does not
    :ivar received: bytes on the wire that the client has sent, or None
    :ivar limit: the most bytes that may be queued for it (``--buffered``)
    """

    connection: ConnectionRow
    heart_beat: tuple[float, float]
    heard: float
    token_end: float | None
    sent: int | None
    received: int | None
    limit: int
    subscriptions: Sequence[SubscriptionInfo]


class ConnectionReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The connection; None if the process has none with this id."""

    details: ConnectionDetails | None


class KickCommand(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """End connections: ERROR ``disconnected by operator``, close code 1008. The clients may come back.

    Either ``id`` or ``subject`` is given.

    :ivar reason: is added to the ERROR's body alone, at most :data:`LONGEST_TEXT` characters
    """

    id: str | None = None
    subject: str | None = None
    reason: str = ""


class KickReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """How many connections were ended, and the workers that did not answer."""

    disconnected: int
    missing: Sequence[str] = ()


class DestinationsQuery(msgspec.Struct, tag=True, frozen=True):
    """Report all destinations."""


class DestinationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One destination.

    :ivar subscriptions: how many there are, of all connections
    :ivar catching_up: those that read history
    :ivar groups: groups of subscriptions that get the same bytes
    :ivar filters: different row filters
    :ivar position: the ``message-id`` of the last event; None while nobody subscribes
    :ivar events: events received since the start
    :ivar deliveries: MESSAGEs handed to clients since the start
    :ivar events_per_second: over the last ten seconds; also ``deliveries_per_second``
    :ivar silence: seconds since the last event, or since the first of the present subscriptions; None without one
    :ivar lag_entries: events of the feed that were not read yet; None if the feed does not say, also ``lag_seconds``
    :ivar history: how far back the history reaches, in seconds; None if that is unknown
    """

    name: str
    subscriptions: int
    catching_up: int
    groups: int
    filters: int
    position: str | None
    events: int
    deliveries: int
    events_per_second: float
    deliveries_per_second: float
    silence: float | None
    lag_entries: int | None
    lag_seconds: float | None
    history: float | None


class DestinationsReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """All destinations, by name, and the workers that did not answer."""

    destinations: Sequence[DestinationRow]
    missing: Sequence[str] = ()


class ProcessesQuery(msgspec.Struct, tag=True, frozen=True):
    """Report the process itself."""


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the node.

    :ivar name: ``airyd``, ``parent`` or ``worker-1``
    :ivar versions: of airyd, Python, Twisted, Autobahn and txredisapi
    :ivar since: when it was started
    :ivar load: seconds of CPU in each of the last ten seconds, 0 to 1
    :ivar memory: resident bytes
    :ivar files: open files, and the most that it may open
    :ivar connections: open connections, and the most that it accepts
    :ivar sources: the event sources, without passwords
    :ivar ready: whether it is ready for clients
    :ivar reasons: why it is not ready
    :ivar warnings: problems that do not keep it from being ready
    :ivar draining: whether it was told to drain
    """

    name: str
    pid: int
    versions: Mapping[str, str]
    since: float
    load: float | None
    memory: int | None
    files: tuple[int, int] | None
    connections: tuple[int, int] | None
    sources: Sequence[str]
    ready: bool
    reasons: Sequence[str]
    warnings: Sequence[str]
    draining: bool


class ProcessesReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The processes, the parent first, and the workers that did not answer."""

    processes: Sequence[ProcessRow]
    missing: Sequence[str] = ()


class EventsQuery(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Read a page of a destination's history, as a client would get it.

    :ivar after: a ``message-id``; the page begins after it. None for the newest events
    :ivar filter: fields of the body and the values that they may have; only such events are returned
    :ivar has_bodies: whether to return the bodies
    """

    destination: str
    after: str | None = None
    limit: int = PAGE
    filter: Mapping[str, Sequence[str]] = {}
    has_bodies: bool = False


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    :ivar id: its ``message-id``
    :ivar time: when it was added to the feed; None if its id does not say that
    :ivar size: bytes of its body
    :ivar body: the body, as text; None without the right to see it
    """

    id: str
    time: float | None
    size: int
    body: str | None = None


class EventsReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """A page of the history, oldest first.

    :ivar complete: False if events after ``after`` are lost, or it is unknown; then there are no events
    :ivar next: what to give as ``after`` for the next page; None if this is the last one
    :ivar skipped: events that the filter hides
    """

    events: Sequence[EventRow]
    complete: bool
    next: str | None
    skipped: int = 0


class ExplainQuery(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Find out what happened to an event, for one connection.

    :ivar event: its ``message-id``, or the id that the feed gave it together with ``destination``
    :ivar destination: needed only if ``event`` is the feed's id
    :ivar connection: the connection's id
    """

    event: str
    destination: str | None = None
    connection: str


class DeliveryOutcome(Enum):
    """What happened to an event, for one connection."""

    REFUSED = "refused"  # its body breaks the payload rules
    NOT_SUBSCRIBED = "not-subscribed"
    NOT_PERMITTED = "not-permitted"
    FILTERED = "filtered"
    BEFORE_POSITION = "before-position"  # it is older than the position at which the subscription began
    PENDING = "pending"  # not handed to the client yet: the client catches up, or its window is full
    BUFFERED = "buffered"  # handed to the client, for which bytes are queued
    SENT = "sent"  # the subscription's position is past it
    UNKNOWN = "unknown"  # the history does not have it (any more)
    NO_CONNECTION = "no-connection"  # there is no connection with this id (any more)


class ExplainReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """What happened to the event.

    :ivar text: the same in one sentence, with what to do
    :ivar field: the field of the body by which the row filter hides it; None unless it is filtered
    """

    outcome: DeliveryOutcome
    text: str
    destination: str | None = None
    field: str | None = None


class OverviewQuery(msgspec.Struct, tag=True, frozen=True):
    """Report the figures that the console's front page shows."""


class OverviewReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The figures of a node; counters begin with the process.

    :ivar time: when they were read
    :ivar slow: connections for which bytes have been queued for more than a second
    :ivar catching_up: connections that read history
    :ivar buffered: bytes that are queued for all of them
    :ivar lag_seconds: of the destination that is furthest behind its feed; None if no feed says it
    :ivar delivery: the upper bounds in seconds, and the number of batches up to each, of the time from reading a batch
        of events to its last send
    :ivar round_trip: the same of Redis' round trips
    :ivar warnings: what is wrong, as sentences
    """

    time: float
    ready: bool
    connections: int
    sessions: int
    opened: int
    closed: int
    events: int
    deliveries: int
    sent: int
    slow: int
    catching_up: int
    buffered: int
    lag_seconds: float | None
    delivery: Sequence[tuple[float, int]]
    round_trip: Sequence[tuple[float, int]]
    warnings: Sequence[str]


class DrainCommand(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Begin to drain the process, or take it back: it is not ready, refuses new clients and closes those it has."""

    is_on: bool


class DrainReply(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """How many connections are left to close, and the workers that did not answer."""

    draining: bool
    connections: int
    missing: Sequence[str] = ()


class TraceQuery(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Follow the frames of a connection, of a user's connections, or of a destination; exactly one is given.

    Of a destination, events are reported once, as a subscriber without a row filter gets them, together with the
    SUBSCRIBE, UNSUBSCRIBE and SEND frames that name it.

    :ivar seconds: how long
    :ivar has_bodies: whether to report bodies
    :ivar filter: see :class:`EventsQuery`; only for a destination
    """

    connection: str | None = None
    subject: str | None = None
    destination: str | None = None
    seconds: float = 60.0
    has_bodies: bool = False
    filter: Mapping[str, Sequence[str]] = {}


class TraceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One frame, or one thing that happened to a traced connection.

    :ivar direction: ``in``, ``out``, ``event`` (of a traced destination) or ``note``
    :ivar command: the STOMP command, ``HEARTBEAT``, or what happened: ``connected``; ``disconnected`` (with a
        ``reason``); ``subscribed`` (with the position after which a traced destination has every event); ``gap`` (with
        the ``notice``); ``full`` (a traced user has more connections); ``worker-ended``; ``dropped`` (with the
        ``count`` of lines that were left out)
    :ivar headers: in their order; the values of secret ones are masked
    :ivar size: bytes of the body
    """

    time: float
    direction: str
    command: str
    connection: str | None = None
    subject: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    size: int = 0
    body: str | None = None


ManagementQuery = (
    ConnectionsQuery
    | ConnectionQuery
    | KickCommand
    | DestinationsQuery
    | ProcessesQuery
    | EventsQuery
    | ExplainQuery
    | OverviewQuery
    | DrainCommand
)
ManagementReply = (
    ConnectionsReply
    | ConnectionReply
    | KickReply
    | DestinationsReply
    | ProcessesReply
    | EventsReply
    | ExplainReply
    | OverviewReply
    | DrainReply
)
