"""The client side of STOMP, sans I/O: subscribes, and resumes where an earlier connection ended.

Bytes from the server go into :meth:`StompClient.receive`, which returns what happened; bytes for
it come out of :meth:`StompClient.data_to_send`. What a connection must hand to the next one, the
positions, is a mapping of the caller's.
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

#: What this client sends and would like to get, in milliseconds.
OWN_HEART_BEAT: Final = HeartBeat(10_000, 10_000)
#: The versions that are spoken: those with escapes and heart-beats.
VERSIONS: Final = (Version.V1_2, Version.V1_1)

#: Bytes of a frame. A server may have been given limits above the defaults; this is a client's bound on its memory.
LONGEST_FRAME: Final = 17 * MIB
_LIMITS: Final = Limits(connect_frame=64 * KIB, frame=LONGEST_FRAME, body=16 * MIB, headers=1000, header_line=64 * KIB)
_BYE: Final = "bye"
_STATUS_ID: Final = "status"
#: ERRORs that another try meets again.
_PERMANENT: Final = frozenset((Fault.UNKNOWN_DESTINATION.message, Fault.FORBIDDEN.message))
_LOGIN_FAILED: Final = "401"
_AIRYD_ERRORS: Final = frozenset(fault.message for fault in Fault)


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has accepted the connection.

    :ivar send_every: milliseconds between the heart-beats to send; 0: none
    :ivar expect_every: milliseconds between those to expect; 0: none
    """

    send_every: int
    expect_every: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription is live.

    :ivar recovered: whether everything since the position that was asked for follows;
        None if none was asked for
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
    :ivar destination: what could not be subscribed to, if it was that: a name, or a pattern
    :ivar is_of_status: whether it was the subscription to ``/airyd/status`` that every client asks for
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
        """Whether the same would happen again: a failed login, an unknown destination."""
        return self.message in _PERMANENT or _LOGIN_FAILED in self.message


@dataclass(frozen=True, slots=True)
class StompViolation:
    """The server does not keep to STOMP; ``reason`` says how."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server has answered the DISCONNECT: everything is done."""


ClientEvent = Connected | Subscribed | Received | StatusReceived | ErrorReceived | StompViolation | Disconnected


class ClientState(Enum):
    """Where a connection is."""

    CONNECTING = "CONNECT was sent"
    LIVE = "CONNECTED came, the subscriptions were sent"
    LEAVING = "DISCONNECT was sent"
    OVER = "nothing is read any more"


class StompClient:
    """One connection's client.

    :param host: the name of the server, for CONNECT (STOMP 1.2, "CONNECT or STOMP Frame")
    :param destinations: what to subscribe to: names, and patterns (docs/protocol.rst, "Wildcards"). What is there by
        its name comes by that subscription alone, not also by a pattern
    :param positions: per destination, never a pattern, where to resume; kept up to date as events arrive, and to be
        given to the client of the next connection
    :param token: to log in with; None for none
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
        # Which subscription brings a destination's events; a pattern's copies of them are dropped.
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
        """Where the connection is."""
        return self._state

    def data_to_send(self) -> list[bytes]:
        """Take what is to be sent now: one STOMP frame each."""
        frames, self._out = self._out, []
        return frames

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Take bytes as they came and return what happened, in order.

        A :class:`ErrorReceived` or :class:`StompViolation` is the last item that ever comes.
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
        """Send DISCONNECT; say whether an answer (:class:`Disconnected`) can be expected."""
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
            # First: a server that has no such destination refuses it before it answers anything else.
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
        position = self._positions.get(destination)  # there is none of a pattern, nor of the status
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
        # A server that says nothing has not proved that nothing is missing.
        recovered = frame.headers.get(Header.RECOVERED) == "true" if subscription in self._resumes else None
        live_from = frame.headers.get(Header.LAST_MESSAGE_ID)
        # With recovered:true the events up to this position are still to come: the old one holds until then.
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
        # Other servers may not say what they refuse, but do so in the order in which they were asked.
        is_first = receipt is None and self._awaits_status and message not in _AIRYD_ERRORS
        return ErrorReceived(message, reason, self._destinations.get(receipt or ""), receipt == _STATUS_ID or is_first)

    def _parted(self, frame: Frame) -> ClientEvent | None:
        if frame.headers.get(Header.RECEIPT_ID) != _BYE:
            return None
        self._over()
        return Disconnected()

    def _ignored(self, _frame: Frame) -> None:
        """What was under way when the client left is not wanted any more, and not counted as seen."""

    def _over(self) -> None:
        self._state = ClientState.OVER
        self._parser.close()

    def _send(self, command: str, headers: Mapping[str, str]) -> None:
        self._out.append(Frame(command, dict(headers)).encode(self._version))


#: What is done with a frame in each state; anything else breaks the protocol.
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
    """Say whether this is one destination, and no pattern."""
    return ANY_SEGMENT not in destination


def _has_position(destination: str) -> bool:
    """Say whether a destination can be resumed: a pattern can't, and nothing is kept of the status."""
    return _is_name(destination) and destination != STATUS
