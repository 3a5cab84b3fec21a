"""A sans-IO STOMP session: turns a client's bytes into typed requests, and builds the frames that answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Final, TypeVar

from airyd import __version__
from airyd.errors import Fault, StompError
from airyd.events import REFRESH
from airyd.limits import HELD_DURING_LOGIN, PREFETCH_CAP, PREFETCH_DEFAULT, Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.requests import (
    Abort,
    Ack,
    Begin,
    Collected,
    Commit,
    Connect,
    Disconnect,
    Refresh,
    Request,
    Send,
    Subscribe,
    Unsubscribe,
    Violation,
)
from airyd.stomp.spec import (
    ALL_VERSIONS,
    FROM_CLIENT,
    PREFETCH_COUNT,
    AckMode,
    Command,
    Header,
    HeartBeat,
    Version,
    negotiate_heart_beat,
    negotiate_version,
)
from airyd.stomp.state import DEAF, HOLDING, REFUSED, TABLE, State
from airyd.stomp.subscription_ids import SubscriptionIds
from airyd.stomp.transactions import Transactions
from airyd.stomp.usual_requests import BEGINNINGS, UsualRequests, UsualSubscribes

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_usual: Final = UsualRequests()
_Operation = TypeVar("_Operation", Send, Ack)


class Session:
    """The STOMP session of one client.

    The caller passes each chunk to :meth:`receive`, carries out the returned requests in order, and sends
    the frames that :meth:`accept`, :meth:`receipt` and :meth:`error` return.

    :ivar state: the current state; see ``state.TABLE``
    :ivar version: the negotiated version from :class:`Connect` on; 1.0 before
    :ivar heart_beat: ``(send_every, expect_every)`` in milliseconds, 0 for never; ``(0, 0)`` before :class:`Connect`
    """

    __slots__ = (
        "_limits",
        "_parser",
        "_server_heart_beat",
        "_subscriptions",
        "_transactions",
        "heart_beat",
        "state",
        "version",
    )

    def __init__(self, limits: Limits, heart_beat: HeartBeat) -> None:
        """Create the session of a new connection.

        :param heart_beat: the server's ``heart-beat`` header
        """
        self.state = State.AWAITING_CONNECT
        self.version = Version.V1_0
        self.heart_beat = (0, 0)
        self._limits = limits
        self._server_heart_beat = heart_beat
        # Created with the first bytes that are not usual ones, and most connections send no others.
        self._parser: Parser | None = None
        self._subscriptions = SubscriptionIds(limits)
        # Created with the first BEGIN, which most connections never send.
        self._transactions: Transactions | None = None

    def reduce_token_room(self, size: int) -> None:
        """Exempt ``size`` bytes less of a token in CONNECT from the limits.

        The opening handshake had a token with so many exempt bytes, which is still held. Called before the first
        :meth:`receive`.
        """
        self._need_parser().reduce_token_room(size)

    def receive(self, data: bytes) -> Sequence[Request]:
        """Parse a chunk of bytes, which may begin and end anywhere; return the client's requests in order.

        A fault is not raised but returned as the last item, a :class:`Violation`. After it, and after a
        :class:`Disconnect`, all bytes are ignored. From :class:`Connect` to :meth:`accept` bytes are held:
        call ``receive(b"")`` after accepting to get the requests in them.
        """
        requests: list[Request] = []
        parser = self._parser
        may_be_usual = data.startswith(BEGINNINGS) and (parser is None or parser.is_between_frames)
        if may_be_usual and (usual := self._recall(data)):
            return usual
        parser = self._need_parser()
        parser.feed(data)
        try:
            while self.state not in HOLDING:
                frame = parser.next_frame()
                if frame is None:
                    break
                requests.append(self._to_request(frame))
            if may_be_usual and requests and parser.is_between_frames:
                self._remember(data, requests)
            if self.state in HOLDING and parser.buffered > HELD_DURING_LOGIN:
                raise StompError(
                    Fault.FRAME_TOO_BIG, f"At most {HELD_DURING_LOGIN} bytes may be sent before CONNECTED."
                )
        except StompError as error:
            self._move(State.FAILED)
            # The traceback refers to this call's variables, and so to the list: that would be a reference cycle.
            requests.append(Violation(error.with_traceback(None)))
        return requests

    def _recall(self, data: bytes) -> Sequence[Request]:
        """Return the requests of bytes that were read before; none if they were not (``usual_requests``)."""
        if self.state is State.CONNECTED:
            subscribes = _usual.subscribes.get((data, self._subscriptions.next_ordinal))
            if subscribes is None or subscribes.limits is not self._limits or subscribes.version is not self.version:
                return ()
            return subscribes.requests if self._subscriptions.begin_all(subscribes.requests) else ()
        if self.state is not State.AWAITING_CONNECT:
            return ()
        found = _usual.find_connect(data)
        if found is None:
            return ()
        usual, token = found
        if usual.limits is not self._limits or usual.server_heart_beat is not self._server_heart_beat:
            return ()
        request = usual.request if token is None else usual.with_token(token)
        self.version = request.version
        self.heart_beat = usual.heart_beat
        self._move(State.AUTHENTICATING)
        return (request,)

    def _remember(self, data: bytes, requests: Sequence[Request]) -> None:
        first = requests[0]
        if isinstance(first, Connect):
            _usual.remember_connect(data, first, self._limits, self._server_heart_beat, self.heart_beat)
            return
        subscribes = [each for each in requests if isinstance(each, Subscribe)]
        if len(subscribes) == len(requests):
            _usual.remember_subscribes(data, UsualSubscribes(subscribes, self._limits, self.version))

    @property
    def has_held(self) -> bool:
        """Whether bytes have been held since the :class:`Connect`."""
        return self._parser is not None and self._parser.buffered > 0

    def accept(self, session_id: str) -> bytes:
        """Accept the login; return the CONNECTED frame.

        :param session_id: letters, digits and dashes

        Raises ``RuntimeError`` unless the session is ``AUTHENTICATING``; it may end before the authenticator answers.
        """
        step = TABLE[Command.CONNECTED][self.state]
        if not isinstance(step, State):
            raise RuntimeError(f"there is no login to accept in state {self.state.name}")
        self._move(step)
        if self._parser is not None:
            self._parser.connected(self.version)
        head = _connected_head(self.version, self._server_heart_beat)
        return b"%b%b:%b\n\n\0" % (head, Header.SESSION.encode(), session_id.encode())

    def receipt(self, receipt: str, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
        """Return the RECEIPT frame for a request's receipt, with additional headers."""
        return Frame(Command.RECEIPT, {Header.RECEIPT_ID: receipt, **headers}).encode(self.version)

    def remember_settled(self, request: Subscribe, message_ids: Iterable[str]) -> None:
        """Remember which messages of a subscription no longer await an ACK; :meth:`was_settled` uses that."""
        subscription: int | str | None = request.ordinal
        if self.version is not Version.V1_2:
            subscription = request.id if self.version is Version.V1_1 else None
        self._subscriptions.remember_settled(subscription, message_ids)

    def was_settled(self, request: Ack) -> bool:
        """Return whether the message that an ACK or NACK names was sent, and is already settled."""
        subscription = request.subscription_id if request.ordinal is None else request.ordinal
        return self._subscriptions.was_settled(subscription, request.message_id)

    def error(self, fault: Fault, detail: str, receipt: str | None = None) -> bytes:
        """End the session; return the ERROR frame (STOMP 1.2, "ERROR").

        ``detail`` is the sentence in the body. This may be called in every state.
        """
        self._move(State.FAILED)
        self._subscriptions = SubscriptionIds(self._limits)  # only now: earlier requests may have needed them
        headers = {Header.MESSAGE: fault.message, Header.CONTENT_TYPE: "text/plain"}
        if receipt is not None:
            headers[Header.RECEIPT_ID] = receipt
        if fault is Fault.VERSION_MISMATCH:
            headers[Header.VERSION] = ALL_VERSIONS
        return Frame(Command.ERROR, headers, detail.encode(errors="replace")).encode(self.version)

    def _move(self, state: State) -> None:
        """Enter a state; free what it does not need."""
        self.state = state
        if state in DEAF:
            self._need_parser().close()
            self._transactions = None

    def _need_parser(self) -> Parser:
        if self._parser is None:
            self._parser = Parser(self._limits, FROM_CLIENT)
            if self.state is State.CONNECTED:
                self._parser.connected(self.version)
        return self._parser

    def _to_request(self, frame: Frame) -> Request:
        """Turn a frame into a request; raises ``StompError`` with the frame's receipt."""
        try:
            step = TABLE[frame.command][self.state]
            if step is REFUSED:
                when = "a second time" if self.state is State.CONNECTED else "before CONNECT"
                raise StompError(Fault.UNEXPECTED_COMMAND, f"{frame.command} can't be sent {when}.")
            request = _HANDLERS[frame.command](self, frame)
        except StompError as error:
            error.receipt = frame.receipt
            raise
        if isinstance(step, State) and step is not self.state:
            self._move(step)
        return request

    # Connection

    def _connect(self, frame: Frame) -> Connect:
        headers = frame.headers
        version = negotiate_version(headers.get(Header.ACCEPT_VERSION))
        if version is None:
            raise StompError(Fault.VERSION_MISMATCH, f"This server speaks STOMP {ALL_VERSIONS.replace(',', ', ')}.")
        heart_beat = headers.get(Header.HEART_BEAT)
        if heart_beat is not None and version.rules.heart_beats:
            try:
                self.heart_beat = negotiate_heart_beat(self._server_heart_beat, HeartBeat.parse(heart_beat))
            except ValueError as error:
                raise StompError(Fault.INVALID_HEADER, f"In CONNECT, {error}.") from None
        self.version = version
        return Connect(version, headers.get(Header.LOGIN), headers.get(Header.PASSCODE), headers, frame.receipt)

    def _disconnect(self, frame: Frame) -> Disconnect:
        return Disconnect(frame.receipt)

    # Subscriptions

    def _subscribe(self, frame: Frame) -> Subscribe:
        headers = frame.headers
        destination = _required(frame, Header.DESTINATION)
        needs_id = self.version.rules.needs_subscription_id
        subscription_id = _required(frame, Header.ID) if needs_id else headers.get(Header.ID, destination)
        try:
            ack = AckMode(headers.get(Header.ACK, AckMode.AUTO.value))
        except ValueError:
            modes = ", ".join(mode.value for mode in AckMode)
            raise StompError(Fault.INVALID_HEADER, f"The ack header of SUBSCRIBE must be one of {modes}.") from None
        prefetch = PREFETCH_DEFAULT
        prefetch_count = headers.get(Header.PREFETCH_COUNT)
        if prefetch_count is not None:
            if not PREFETCH_COUNT.match(prefetch_count):
                raise StompError(Fault.INVALID_HEADER, "A prefetch-count must be a decimal number, at least 1.")
            prefetch = min(int(prefetch_count), PREFETCH_CAP)
        ordinal = self._subscriptions.begin(subscription_id, ack, None if needs_id else destination)
        return Subscribe(
            intern(subscription_id),  # the same string as in SubscriptionIds
            destination,
            ack,
            prefetch,
            headers.get(Header.LAST_MESSAGE_ID),
            ordinal,
            Header.ID in headers,
            frame.receipt,
        )

    def _unsubscribe(self, frame: Frame) -> Unsubscribe:
        if self.version.rules.needs_subscription_id or Header.ID in frame.headers:
            subscription_id = _required(frame, Header.ID)
        else:
            subscription_id = self._subscriptions.id_for(_required(frame, Header.DESTINATION))
        self._subscriptions.end(subscription_id)
        return Unsubscribe(subscription_id, frame.receipt)

    # Messages

    def _send(self, frame: Frame) -> Send | Refresh | Collected:
        destination = _required(frame, Header.DESTINATION)
        if destination == REFRESH:
            if Header.TRANSACTION in frame.headers:
                raise StompError(Fault.INVALID_HEADER, f"A SEND to {REFRESH} can't be part of a transaction.")
            if len(frame.body) > self._limits.token_body:  # bounds memory: several may be queued
                raise StompError(Fault.FRAME_TOO_BIG, f"A token has at most {self._limits.token_size} characters.")
            return Refresh(frame.body.decode(errors="replace"), frame.receipt)
        return self._collect(frame, Send(destination, frame.body, frame.receipt))

    def _ack(self, frame: Frame) -> Ack | Collected:
        subscription_id: str | None
        ordinal = None
        if self.version is Version.V1_2:
            ordinal, subscription_id, message_id = self._subscriptions.resolve_ack_id(_required(frame, Header.ID))
        else:
            message_id = _required(frame, Header.MESSAGE_ID)
            subscription_id = None if self.version is Version.V1_0 else _required(frame, Header.SUBSCRIPTION)
            self._subscriptions.check_acknowledged(subscription_id)
        is_ack = frame.command == Command.ACK
        return self._collect(frame, Ack(subscription_id, message_id, is_ack, frame.receipt, ordinal))

    def _nack(self, frame: Frame) -> Ack | Collected:
        if not self.version.rules.nack:
            raise StompError(Fault.UNKNOWN_COMMAND, f"There is no NACK in STOMP {self.version.value}.")
        return self._ack(frame)

    # Transactions

    def _begin(self, frame: Frame) -> Begin:
        name = _required(frame, Header.TRANSACTION)
        self._open_transactions().begin(name)
        return Begin(name, frame.receipt)

    def _commit(self, frame: Frame) -> Commit:
        name = _required(frame, Header.TRANSACTION)
        return Commit(name, self._open_transactions().end(name), frame.receipt)

    def _abort(self, frame: Frame) -> Abort:
        name = _required(frame, Header.TRANSACTION)
        self._open_transactions().end(name)
        return Abort(name, frame.receipt)

    def _collect(self, frame: Frame, operation: _Operation) -> _Operation | Collected:
        """Add the operation to its transaction, if it names one."""
        name = frame.headers.get(Header.TRANSACTION)
        if name is None:
            return operation
        operation = replace(operation, receipt=None)
        self._open_transactions().add(name, operation)
        return Collected(name, operation, frame.receipt)

    def _open_transactions(self) -> Transactions:
        if self._transactions is None:
            self._transactions = Transactions(self._limits)
        return self._transactions


@lru_cache(maxsize=8)  # only the session's id differs between clients
def _connected_head(version: Version, heart_beat: HeartBeat) -> bytes:
    headers = {
        Header.VERSION: version.value,
        Header.HEART_BEAT: str(heart_beat),
        Header.SERVER: f"airyd/{__version__}",
    }
    if not version.rules.heart_beats:
        del headers[Header.HEART_BEAT]
    return Frame(Command.CONNECTED, headers).encode(version).removesuffix(b"\n\0")


@lru_cache(maxsize=32)  # many clients use the same few receipts, and subscribe at the same position
def subscribe_receipt(version: Version, receipt: str, position: str, recovered: bool | None) -> bytes:
    """Return the RECEIPT of a SUBSCRIBE.

    :param position: the ``message-id`` of the event from which on it is live
    :param recovered: whether nothing is missing that it asked for; None if it did not resume
    """
    headers = {Header.RECEIPT_ID: receipt, Header.LAST_MESSAGE_ID: position}
    if recovered is not None:
        headers[Header.RECOVERED] = "true" if recovered else "false"
    return Frame(Command.RECEIPT, headers).encode(version)


def _required(frame: Frame, name: str) -> str:
    """Return a header's value; raises ``StompError`` if the frame does not have it."""
    value = frame.headers.get(name)
    if value is None:
        raise StompError(Fault.MISSING_HEADER, f"{frame.command} needs a header {name}.")
    return value


_HANDLERS: Final[Mapping[str, Callable[[Session, Frame], Request]]] = {
    Command.CONNECT: Session._connect,
    Command.STOMP: Session._connect,
    Command.SEND: Session._send,
    Command.SUBSCRIBE: Session._subscribe,
    Command.UNSUBSCRIBE: Session._unsubscribe,
    Command.ACK: Session._ack,
    Command.NACK: Session._nack,
    Command.BEGIN: Session._begin,
    Command.COMMIT: Session._commit,
    Command.ABORT: Session._abort,
    Command.DISCONNECT: Session._disconnect,
}
