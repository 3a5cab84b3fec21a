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
from airyd.limits import KIB, MIB, Limits
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
#: ERRORs that another try meets again.
_PERMANENT: Final = frozenset((Fault.UNKNOWN_DESTINATION.message, Fault.FORBIDDEN.message))
_LOGIN_FAILED: Final = "401"


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
class Refused:
    """The server ends the connection with an ERROR.

    :ivar reason: its ``message``, and the body's first line
    :ivar permanent: whether the same would happen again: a failed login, an unknown destination
    """

    reason: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """The server does not keep to STOMP; ``reason`` says how."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parted:
    """The server has answered the DISCONNECT: everything is done."""


Happening = Connected | Subscribed | Received | Refused | Broken | Parted


class State(Enum):
    """Where a connection is."""

    CONNECTING = "CONNECT was sent"
    LIVE = "CONNECTED came, the subscriptions were sent"
    LEAVING = "DISCONNECT was sent"
    OVER = "nothing is read any more"


class StompClient:
    """One connection's client.

    :param host: the name of the server, for CONNECT (STOMP 1.2, "CONNECT or STOMP Frame")
    :param destinations: what to subscribe
    :param positions: per destination where to resume; kept up to date as events arrive, and to be given
        to the client of the next connection
    :param token: to log in with; None for none
    """

    def __init__(
        self,
        host: str,
        destinations: Sequence[str],
        positions: MutableMapping[str, str],
        token: str | None = None,
    ) -> None:
        self._destinations = {f"sub-{number}": destination for number, destination in enumerate(destinations)}
        self._positions = positions
        self._resumes: set[str] = set()
        self._parser = Parser(_LIMITS, FROM_SERVER)
        self._version = VERSIONS[0]
        self._out: list[bytes] = []
        self._state = State.CONNECTING
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
    def state(self) -> State:
        """Where the connection is."""
        return self._state

    def data_to_send(self) -> list[bytes]:
        """Take what is to be sent now: one STOMP frame each."""
        frames, self._out = self._out, []
        return frames

    def receive(self, data: bytes) -> list[Happening]:
        """Take bytes as they came and return what happened, in order.

        A :class:`Refused` or :class:`Broken` is the last item that ever comes.
        """
        happened: list[Happening] = []
        self._parser.feed(data)
        try:
            while (frame := self._parser.next_frame()) is not None:
                happening = self._take(frame)
                if happening is not None:
                    happened.append(happening)
        except StompError as error:
            self._over()
            happened.append(Broken(f"the server's frames are not STOMP: {error.detail}"))
        return happened

    def leave(self) -> bool:
        """Send DISCONNECT; say whether an answer (:class:`Parted`) can be expected."""
        if self._state is not State.LIVE:
            return False
        self._state = State.LEAVING
        self._send(Command.DISCONNECT, {Header.RECEIPT: _BYE})
        return True

    def _take(self, frame: Frame) -> Happening | None:
        take = _TABLE.get((self._state, frame.command))
        if take is None:
            self._over()
            return Broken(f"the server sent {frame.command} when it must not")
        return take(self, frame)

    def _connected(self, frame: Frame) -> Happening:
        version = next((v for v in VERSIONS if v.value == frame.headers.get(Header.VERSION)), None)
        try:
            theirs = HeartBeat.parse(frame.headers.get(Header.HEART_BEAT, "0,0"))
        except ValueError:
            version = None
        if version is None:
            self._over()
            return Broken("the server's CONNECTED names no version that was offered, or no valid heart-beat")
        self._version = version
        self._parser.connected(version)
        self._state = State.LIVE
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
        position = self._positions.get(destination)
        if position is not None:
            headers[Header.LAST_MESSAGE_ID] = position
            self._resumes.add(subscription)
        self._send(Command.SUBSCRIBE, headers)

    def _receipt(self, frame: Frame) -> Happening | None:
        subscription = frame.headers.get(Header.RECEIPT_ID, "")
        destination = self._destinations.get(subscription)
        if destination is None:
            return None
        # A server that says nothing has not proved that nothing is missing.
        recovered = frame.headers.get(Header.RECOVERED) == "true" if subscription in self._resumes else None
        live_from = frame.headers.get(Header.LAST_MESSAGE_ID)
        # With recovered:true the events up to this position are still to come: the old one holds until then.
        if live_from is not None and not recovered:
            self._positions[destination] = live_from
        return Subscribed(destination, recovered)

    def _message(self, frame: Frame) -> Happening | None:
        destination = self._destinations.get(frame.headers.get(Header.SUBSCRIPTION, ""))
        message_id = frame.headers.get(Header.MESSAGE_ID)
        if destination is None or message_id is None:
            self._over()
            return Broken("the server sent a MESSAGE of no subscription, or without a message-id")
        self._positions[destination] = message_id
        return Received(frame.headers.get(Header.DESTINATION, destination), message_id, frame.body)

    def _error(self, frame: Frame) -> Happening:
        self._over()
        message = frame.headers.get(Header.MESSAGE, "ERROR")
        detail = frame.body.decode("utf-8", "replace").strip().partition("\n")[0]
        reason = f"{message}: {detail}" if detail and detail != message else message
        return Refused(reason, message in _PERMANENT or _LOGIN_FAILED in message)

    def _parted(self, frame: Frame) -> Happening | None:
        if frame.headers.get(Header.RECEIPT_ID) != _BYE:
            return None
        self._over()
        return Parted()

    def _ignored(self, _frame: Frame) -> None:
        """What was under way when the client left is not wanted any more, and not counted as seen."""

    def _over(self) -> None:
        self._state = State.OVER
        self._parser.close()

    def _send(self, command: str, headers: Mapping[str, str]) -> None:
        self._out.append(Frame(command, dict(headers)).encode(self._version))


#: What is done with a frame in each state; anything else breaks the protocol.
_TABLE: Final[Mapping[tuple[State, str], Callable[[StompClient, Frame], Happening | None]]] = {
    (State.CONNECTING, Command.CONNECTED): StompClient._connected,
    (State.CONNECTING, Command.ERROR): StompClient._error,
    (State.LIVE, Command.MESSAGE): StompClient._message,
    (State.LIVE, Command.RECEIPT): StompClient._receipt,
    (State.LIVE, Command.ERROR): StompClient._error,
    (State.LEAVING, Command.MESSAGE): StompClient._ignored,
    (State.LEAVING, Command.RECEIPT): StompClient._parted,
    (State.LEAVING, Command.ERROR): StompClient._error,
}
