"""A sans-I/O STOMP client that subscribes, and resumes where an earlier connection ended.

The caller passes bytes from the server to :meth:`StompClient.receive`, which returns events, and
sends the frames of :meth:`StompClient.data_to_send`. The caller also owns the mapping of positions,
which one connection passes to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from airyd.errors import Fault, StompError
from airyd.events import STATUS
from airyd.limits import KIB, MIB, Limits
from airyd.patterns import ANY_SEGMENT
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_SERVER, Command, Header, HeartBeat, Version, negotiate_heart_beat

#: The heart-beats that this client offers and requests, in milliseconds.
OWN_HEART_BEAT: Final = HeartBeat(10_000, 10_000)
#: The supported versions of STOMP: those with escapes and heart-beats.
VERSIONS: Final = (Version.V1_2, Version.V1_1)

#: Largest frame, in bytes. It bounds the client's memory, and is above the server's defaults, which may be raised.
LONGEST_FRAME: Final = 17 * MIB
_LIMITS: Final = Limits(connect_frame=64 * KIB, frame=LONGEST_FRAME, body=16 * MIB, headers=1000, header_line=64 * KIB)
_BYE: Final = "bye"
_STATUS_ID: Final = "status"
#: ERRORs that a retry would get again.
_PERMANENT: Final = frozenset((Fault.UNKNOWN_DESTINATION.message, Fault.FORBIDDEN.message))
_LOGIN_FAILED: Final = "401"
_AIRYD_ERRORS: Final = frozenset(fault.message for fault in Fault)


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has accepted the connection.

    :ivar send_every: milliseconds between heart-beats to send; 0 for none
    :ivar expect_every: milliseconds between heart-beats to expect; 0 for none
    """

    send_every: int
    expect_every: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription is live.

    :ivar recovered: whether all events after the requested position follow; None if no position was requested
    """

    destination: str
    recovered: bool | None


@dataclass(frozen=True, slots=True)
class Received:
    """An event."""

    destination: str
    message_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """A message of ``/airyd/status``; its body is JSON (docs/protocol.rst, "Status")."""

    body: bytes


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """The server ends the connection with an ERROR.

    :ivar message: its header ``message``
    :ivar reason: the message, and the body's first line
    :ivar destination: the name or pattern that could not be subscribed to, if that was the reason
    :ivar is_of_status: whether the subscription to ``/airyd/status`` was refused, which tail adds by itself
    """

    message: str
    reason: str
    destination: str | None = None
    is_of_status: bool = False

    @property
    def is_forbidden(self) -> bool:
        """Whether the login does not allow the destination."""
        return self.destination is not None and self.message == Fault.FORBIDDEN.message

    @property
    def is_unknown(self) -> bool:
        """Whether there is no such destination."""
        return self.destination is not None and self.message == Fault.UNKNOWN_DESTINATION.message

    @property
    def is_permanent(self) -> bool:
        """Whether a retry would fail again, as after a failed login or for an unknown destination."""
        return self.message in _PERMANENT or _LOGIN_FAILED in self.message


@dataclass(frozen=True, slots=True)
class StompViolation:
    """The server violates STOMP; ``reason`` says how."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server has answered the DISCONNECT."""


ClientEvent = Connected | Subscribed | Received | StatusReceived | ErrorReceived | StompViolation | Disconnected


class ClientState(Enum):
    """The state of a connection."""

    CONNECTING = "CONNECT was sent"
    LIVE = "CONNECTED was received and the subscriptions were sent"
    LEAVING = "DISCONNECT was sent"
    OVER = "the rest is ignored"


class StompClient:
    """The STOMP client of one connection.

    :param host: the name of the server, for CONNECT (STOMP 1.2, "CONNECT or STOMP Frame")
    :param destinations: the names and patterns to subscribe to (docs/protocol.rst, "Wildcards"); events of a
        destination that is given by name are not also returned for a pattern
    :param positions: where to resume each destination (never a pattern); updated as events arrive, and meant for the
        client of the next connection
    :param token: the token to log in with, or None
    :param asks_status: whether to subscribe to ``/airyd/status``, which only airyd has
    """

    def __init__(
        self,
        host: str,
        destinations: Sequence[str],
        positions: MutableMapping[str, str],
        token: str | None = None,
        asks_status: bool = False,
    ) -> None:
        self._asks_status = asks_status
        self._awaits_status = False
        self._destinations = {f"sub-{number}": destination for number, destination in enumerate(destinations)}
        # The subscription whose events of a destination are returned; copies from a pattern are dropped.
        self._carriers = {name: subscription for subscription, name in self._destinations.items() if _is_name(name)}
        self._positions = positions
        self._resumes: set[str] = set()
        self._parser = Parser(_LIMITS, FROM_SERVER)
        self._version = VERSIONS[0]
        self._out: list[bytes] = []
        self._state = ClientState.CONNECTING
        self._send(
            Command.CONNECT,
            {
                Header.ACCEPT_VERSION: ",".join(version.value for version in reversed(VERSIONS)),
                "host": host,
                Header.HEART_BEAT: str(OWN_HEART_BEAT),
                **({} if token is None else {"Authorization": f"Bearer {token}"}),
            },
        )

    @property
    def state(self) -> ClientState:
        """The state of the connection."""
        return self._state

    def data_to_send(self) -> list[bytes]:
        """Return, and forget, the bytes to send now: one item per STOMP frame."""
        frames, self._out = self._out, []
        return frames

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Process bytes from the server and return the events, in order.

        No event follows an :class:`ErrorReceived` or a :class:`StompViolation`.
        """
        happened: list[ClientEvent] = []
        self._parser.feed(data)
        try:
            while (frame := self._parser.next_frame()) is not None:
                event = self._take(frame)
                if event is not None:
                    happened.append(event)
        except StompError as error:
            self._over()
            happened.append(StompViolation(f"the server's frames are not STOMP: {error.detail}"))
        return happened

    def leave(self) -> bool:
        """Send DISCONNECT; return whether an answer (:class:`Disconnected`) can be expected."""
        if self._state is not ClientState.LIVE:
            return False
        self._state = ClientState.LEAVING
        self._send(Command.DISCONNECT, {Header.RECEIPT: _BYE})
        return True

    def _take(self, frame: Frame) -> ClientEvent | None:
        take = _TABLE.get((self._state, frame.command))
        if take is None:
            self._over()
            return StompViolation(f"the server sent {frame.command} when it must not")
        return take(self, frame)

    def _connected(self, frame: Frame) -> ClientEvent:
        version = next((v for v in VERSIONS if v.value == frame.headers.get(Header.VERSION)), None)
        try:
            theirs = HeartBeat.parse(frame.headers.get(Header.HEART_BEAT, "0,0"))
        except ValueError:
            version = None
        if version is None:
            self._over()
            return StompViolation("the server's CONNECTED names no version that was offered, or no valid heart-beat")
        self._version = version
        self._parser.connected(version)
        self._state = ClientState.LIVE
        if self._asks_status:
            # Subscribe to it first: a server without this destination refuses it before it answers anything else.
            self._subscribe(_STATUS_ID, STATUS)
            self._awaits_status = True
        for subscription, destination in self._destinations.items():
            self._subscribe(subscription, destination)
        return Connected(*negotiate_heart_beat(OWN_HEART_BEAT, theirs))

    def _subscribe(self, subscription: str, destination: str) -> None:
        headers = {
            Header.ID: subscription,
            Header.DESTINATION: destination,
            Header.ACK: "auto",
            Header.RECEIPT: subscription,
        }
        position = self._positions.get(destination)  # patterns and the status have none
        if position is not None:
            headers[Header.LAST_MESSAGE_ID] = position
            self._resumes.add(subscription)
        self._send(Command.SUBSCRIBE, headers)

    def _receipt(self, frame: Frame) -> ClientEvent | None:
        subscription = frame.headers.get(Header.RECEIPT_ID, "")
        destination = self._destinations.get(subscription)
        if subscription == _STATUS_ID:
            self._awaits_status = False
        if destination is None:
            return None
        # Without the header, the server has not proved that no event is missing.
        recovered = frame.headers.get(Header.RECOVERED) == "true" if subscription in self._resumes else None
        live_from = frame.headers.get(Header.LAST_MESSAGE_ID)
        # With recovered:true the events up to this position are yet to come: keep the old position until then.
        if live_from is not None and not recovered and _has_position(destination):
            self._positions[destination] = live_from
        return Subscribed(destination, recovered)

    def _message(self, frame: Frame) -> ClientEvent | None:
        subscription = frame.headers.get(Header.SUBSCRIPTION, "")
        if subscription == _STATUS_ID:
            return StatusReceived(frame.body)
        subscribed = self._destinations.get(subscription)
        message_id = frame.headers.get(Header.MESSAGE_ID)
        if subscribed is None or message_id is None:
            self._over()
            return StompViolation("the server sent a MESSAGE of no subscription, or without a message-id")
        named = frame.headers.get(Header.DESTINATION, subscribed)
        destination = subscribed if _is_name(subscribed) else named
        if self._carriers.setdefault(destination, subscription) != subscription:
            return None
        if _has_position(destination):
            self._positions[destination] = message_id
        return Received(named, message_id, frame.body)

    def _error(self, frame: Frame) -> ClientEvent:
        self._over()
        message = frame.headers.get(Header.MESSAGE, "ERROR")
        detail = frame.body.decode("utf-8", "replace").strip().partition("\n")[0]
        reason = f"{message}: {detail}" if detail and detail != message else message
        receipt = frame.headers.get(Header.RECEIPT_ID)
        # Other servers may not name the refused SUBSCRIBE, but they answer in order.
        is_first = receipt is None and self._awaits_status and message not in _AIRYD_ERRORS
        return ErrorReceived(message, reason, self._destinations.get(receipt or ""), receipt == _STATUS_ID or is_first)

    def _parted(self, frame: Frame) -> ClientEvent | None:
        if frame.headers.get(Header.RECEIPT_ID) != _BYE:
            return None
        self._over()
        return Disconnected()

    def _ignored(self, _frame: Frame) -> None:
        """Ignore an event that was in flight when the client left; it does not count as received."""

    def _over(self) -> None:
        self._state = ClientState.OVER
        self._parser.close()

    def _send(self, command: str, headers: Mapping[str, str]) -> None:
        self._out.append(Frame(command, dict(headers)).encode(self._version))


#: The handler of each frame in each state; any other frame violates the protocol.
_TABLE: Final[Mapping[tuple[ClientState, str], Callable[[StompClient, Frame], ClientEvent | None]]] = {
    (ClientState.CONNECTING, Command.CONNECTED): StompClient._connected,
    (ClientState.CONNECTING, Command.ERROR): StompClient._error,
    (ClientState.LIVE, Command.MESSAGE): StompClient._message,
    (ClientState.LIVE, Command.RECEIPT): StompClient._receipt,
    (ClientState.LIVE, Command.ERROR): StompClient._error,
    (ClientState.LEAVING, Command.MESSAGE): StompClient._ignored,
    (ClientState.LEAVING, Command.RECEIPT): StompClient._parted,
    (ClientState.LEAVING, Command.ERROR): StompClient._error,
}


def _is_name(destination: str) -> bool:
    """Return whether this is the name of a destination, not a pattern."""
    return ANY_SEGMENT not in destination


def _has_position(destination: str) -> bool:
    """Return whether a destination can be resumed: patterns and the status can't."""
    return _is_name(destination) and destination != STATUS
