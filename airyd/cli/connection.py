"""Runs a :class:`~airyd.cli.stomp_client.StompClient` over Autobahn's WebSocket, with timeouts and heart-beats."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd import __version__
from airyd.cli.http_errors import LONGEST_QUOTE, http_reason
from airyd.cli.stomp_client import (
    LONGEST_FRAME,
    VERSIONS,
    ClientEvent,
    Connected,
    Disconnected,
    ErrorReceived,
    StompClient,
    StompViolation,
)
from airyd.cli.tls import VerifiedConnections
from airyd.cli.urls import tls_scheme
from airyd.errors import CloseCode
from airyd.openssl import TLS_ALERT, openssl_reason

_log = Logger()

#: Seconds from the connection to CONNECTED.
CONNECT_PATIENCE: Final = 10.0
#: Seconds that closing a connection may take.
CLOSE_PATIENCE: Final = 3.0
#: Heart-beat intervals of silence after which the server counts as lost.
_SILENCE: Final = 2
#: Bytes of a response's head, and of its body, that are read.
_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_BODY: Final = 4 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_HTTP: Final = b"HTTP/1."
_SWITCHING_PROTOCOLS: Final = 101
#: Statuses below 500 after which a retry may succeed: Request Timeout, Too Early, Too Many Requests.
_PASSING: Final = frozenset((408, 425, 429))


class OpeningAnswer:
    """Collects the server's response to the opening handshake until its kind is known.

    :ivar data: the received bytes
    :ivar is_complete: whether enough bytes have arrived; without a :attr:`refusal` the server opens a WebSocket
    :ivar refusal: why there is no WebSocket; None if there is one, or if that is not yet known
    :ivar is_permanent: whether a retry would be refused again
    """

    def __init__(self, tls_scheme: str) -> None:
        self._tls_scheme = tls_scheme
        self.data = b""
        self.is_complete = False
        self.refusal: str | None = None
        self.is_permanent = False

    def receive(self, data: bytes) -> None:
        """Add bytes of the response."""
        self.data += data
        head, end, body = self.data.partition(_HEAD_END)
        if not self.data.startswith(_HTTP[: len(self.data)]) or (not end and len(head) > _LONGEST_HEAD):
            self._refuse(self._not_http(), permanent=True, complete=True)
        elif end:
            self._read(head, body)

    def _read(self, head: bytes, body: bytes) -> None:
        status_line, *lines = head.decode("latin-1").split("\r\n")
        _, _, rest = status_line.partition(" ")
        code, _, phrase = rest.partition(" ")
        if not (code.isascii() and code.isdecimal() and len(code) == 3):
            self._refuse(self._not_http(), permanent=True, complete=True)
            return
        if int(code) == _SWITCHING_PROTOCOLS:
            self.is_complete = True
            if not _is_text(head):  # Autobahn would fail on it
                self._refuse("the server's opening handshake is wrong: it is not UTF-8", permanent=True, complete=True)
            return
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = body.partition(b"\r\n")[2]  # the first chunk is enough
        length = headers.get("content-length", "")
        whole = min(int(length), _LONGEST_BODY) if length.isdecimal() and len(length) < 20 else _LONGEST_BODY
        reason = http_reason(int(code), phrase, headers.get("location"), body[:_LONGEST_BODY])
        self._refuse(
            f"the server opens no WebSocket: {reason}",
            permanent=int(code) < 500 and int(code) not in _PASSING,
            complete=len(body) >= whole,
        )

    def _refuse(self, reason: str, permanent: bool, complete: bool) -> None:
        self.refusal, self.is_permanent, self.is_complete = reason, permanent, complete

    def _not_http(self) -> str:
        if self.data.startswith(TLS_ALERT):
            return f"the server speaks TLS on this port: use {self._tls_scheme}"
        first_line = self.data.lstrip().partition(b"\n")[0].rstrip()[:LONGEST_QUOTE].decode("utf-8", "replace")
        return f"the server does not speak HTTP on this port: it says {first_line!r}"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """How a connection ended.

    :ivar reason: one line for the user
    :ivar permanent: whether a retry would end in the same way
    :ivar error: the server's ERROR, if there was one
    """

    reason: str
    permanent: bool = False
    error: ErrorReceived | None = None


class StompConnection(WebSocketClientProtocol):
    """One connection to the server; made by :class:`StompFactory`."""

    factory: StompFactory
    transport: ITCPTransport  # with TLS, an object with the same methods

    def __init__(self) -> None:
        super().__init__()
        self._client: StompClient | None = None
        self._opening: OpeningAnswer | None = None
        self._end: ConnectionEnd | None = None
        self._lost: ConnectionEnd | None = None
        self._waiting: list[Deferred[ConnectionEnd]] = []
        self._timer: IDelayedCall | None = None
        self._loops: list[LoopingCall] = []
        self._heard = 0.0

    def when_ended(self) -> Deferred[ConnectionEnd]:
        """Return a Deferred that fires when the connection is lost; cancelling it does not affect the connection."""
        if self._lost is not None:
            return succeed(self._lost)
        waiting: Deferred[ConnectionEnd] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def leave(self) -> None:
        """Send DISCONNECT and close the connection, within :data:`CLOSE_PATIENCE` seconds."""
        if self._lost is not None:
            return
        self._end = self._end or ConnectionEnd("left")
        if self.state == self.STATE_OPEN and self._client is not None and self._client.leave():
            self._deadline(CLOSE_PATIENCE, None)
            self._flush()
        else:
            self._close()

    def connectionMade(self) -> None:
        """Start the opening handshake (called by Twisted)."""
        self._deadline(CONNECT_PATIENCE, "the server did not answer in time")
        self._opening = OpeningAnswer(tls_scheme(self.factory.url))
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes; any of them shows that the server is alive (called by Twisted)."""
        self._heard = self.factory.reactor.seconds()
        if self._opening is not None:
            self._opening.receive(data)
            if not self._opening.is_complete:
                return
            if self._opening.refusal is not None:
                self.transport.abortConnection()
                return
            data, self._opening = self._opening.data, None
        super().dataReceived(data)
        if self.failedByMe:
            self._end = self._end or ConnectionEnd("the server breaks the rules of WebSocket")
        if self.state == self.STATE_CLOSING and self._timer is None:
            # Whichever side began to close, the server should drop the connection, but it may not do so.
            self._deadline(CLOSE_PATIENCE, None)

    def failHandshake(self, reason: str) -> None:
        """End the connection: the server's opening handshake is invalid (called by Autobahn)."""
        self._end = self._end or ConnectionEnd(f"the server's opening handshake is wrong: {reason}", permanent=True)
        super().failHandshake(reason)

    def onOpen(self) -> None:
        """Send CONNECT (called by Autobahn when the WebSocket is open)."""
        self._client = self.factory.make_client()
        self._flush()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Process bytes of the server's STOMP stream (called by Autobahn)."""
        if self._client is None or self.state != self.STATE_OPEN:
            return
        for event in self._client.receive(payload):
            match event:
                case Connected(send_every, expect_every):
                    self._cancel_deadline()
                    self._start_heart_beats(send_every / 1000, expect_every / 1000)
                case ErrorReceived():
                    self._finish(ConnectionEnd(event.reason, event.is_permanent, event))
                case StompViolation(reason):
                    self._finish(ConnectionEnd(reason))
                case Disconnected():
                    self._close()
            self.factory.on_client_event(self, event)
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire the Deferreds of :meth:`when_ended` (called by Twisted)."""
        self._cancel_deadline()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        super().connectionLost(reason)
        self._lost = self._end or self._not_opened(reason) or self._closed_by_peer() or _end_of(reason)
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self._lost)

    def _flush(self) -> None:
        if self._client is not None:
            for frame in self._client.data_to_send():
                self._transmit(frame)

    def _transmit(self, payload: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload)

    def _start_heart_beats(self, send_every: float, expect_every: float) -> None:
        """Send heart-beats, and check for the server's (STOMP 1.2, "Heart-beating"); in seconds, 0 for never."""
        if send_every:
            self._loop(lambda: self._transmit(b"\n"), send_every)
        if expect_every:
            self._loop(lambda: self._check_silence(expect_every * _SILENCE), expect_every)

    def _loop(self, call: Callable[[], None], interval: float) -> None:
        loop = LoopingCall(call)
        loop.clock = self.factory.reactor
        loop.start(interval, now=False).addErrback(lambda failure: _log.failure("a heart-beat failed", failure))
        self._loops.append(loop)

    def _check_silence(self, longest: float) -> None:
        silent = self.factory.reactor.seconds() - self._heard
        if silent >= longest:
            self._give_up(f"nothing came from the server for {silent:.0f} s")

    def _finish(self, end: ConnectionEnd) -> None:
        """Close the connection from this side, for this reason."""
        self._end = self._end or end
        self._close()

    def _close(self) -> None:
        self._deadline(CLOSE_PATIENCE, None)
        if self.state == self.STATE_OPEN:
            self.sendClose(int(CloseCode.NORMAL))
        elif self.state == self.STATE_CONNECTING:
            self.transport.abortConnection()

    def _deadline(self, seconds: float, reason: str | None) -> None:
        """Give up after so many seconds, with this reason unless another one is known."""
        self._cancel_deadline()
        self._timer = self.factory.reactor.callLater(seconds, self._give_up, reason)

    def _cancel_deadline(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _give_up(self, reason: str | None) -> None:
        if reason is not None:
            self._end = self._end or self._not_opened(None) or ConnectionEnd(reason)
        self.transport.abortConnection()

    def _not_opened(self, reason: Failure | None) -> ConnectionEnd | None:
        """Return how the connection ended before it became a WebSocket; None if it had become one.

        :param reason: how it was lost; None if the server did not respond in time
        """
        if self._opening is None:
            return None
        if self._opening.refusal is not None:
            return ConnectionEnd(self._opening.refusal, self._opening.is_permanent)
        url, tls = self.factory.url, self.factory.tls
        failed = tls.reason(reason.value if reason is not None else None, url) if tls is not None else None
        if failed is not None:
            return ConnectionEnd(*failed)
        if reason is None or not reason.check(ConnectionClosed) or self._opening.data:
            return None
        hint = "" if self.factory.isSecure else f"; if it speaks TLS on this port, use {tls_scheme(url)}"
        return ConnectionEnd(f"the server closed the connection without an answer{hint}")

    def _closed_by_peer(self) -> ConnectionEnd | None:
        """Return the end if the server sent a close code without an ERROR, else None."""
        code = self.remoteCloseCode
        if code is None:
            return None
        words = self.remoteCloseReason or (
            CloseCode(code).name.lower().replace("_", " ") if code in CloseCode.__members__.values() else ""
        )
        return ConnectionEnd(f"the server closed the connection ({f'{code} {words}'.strip()})")


def _end_of(reason: Failure) -> ConnectionEnd:
    if reason.check(ConnectionDone):
        return ConnectionEnd("the server closed the connection")
    error = reason.value
    words = openssl_reason(error) if isinstance(error, SSLError) else " ".join(str(error).split()).rstrip(".")
    return ConnectionEnd(f"connection lost: {words}")


class StompFactory(WebSocketClientFactory):
    """Makes the connections to one server, which share their positions.

    :param url: such as ``ws://127.0.0.1:8080/ws.communication``
    :param positions: see :class:`~airyd.cli.stomp_client.StompClient`
    :param on_client_event: called with each event of the client
    :param tls: makes and verifies the TLS connections; None without TLS
    :ivar destinations: the subscriptions of the next connections; see :class:`~airyd.cli.stomp_client.StompClient`
    :ivar asks_status: whether they also subscribe to the server's status
    :ivar token: the token to log in with, or None
    """

    protocol = StompConnection  # type: ignore[assignment]  # Twisted's type requires an Optional factory
    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        url: str,
        destinations: Sequence[str],
        positions: MutableMapping[str, str],
        on_client_event: Callable[[StompConnection, ClientEvent], None],
        token: str | None = None,
        tls: VerifiedConnections | None = None,
    ) -> None:
        super().__init__(
            url,
            protocols=[version.rules.subprotocol for version in VERSIONS],
            useragent=f"airyd/{__version__}",
            reactor=reactor,
        )
        # Autobahn's timers use a global clock; the timeouts are implemented here instead.
        self.setProtocolOptions(
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            serverConnectionDropTimeout=0,
            autoPingInterval=0,
            failByDrop=False,
            maxMessagePayloadSize=LONGEST_FRAME,
        )
        self._name = self.host
        if ":" in self.host:
            # The Host header needs the brackets (RFC 3986, section 3.2.2).
            self.host = f"[{self.host}]"
        self.destinations = destinations
        self.asks_status = True
        self._positions = positions
        self.on_client_event = on_client_event
        self.token = token
        self.tls = tls

    def make_client(self) -> StompClient:
        """Return the client of a new connection."""
        return StompClient(self._name, self.destinations, self._positions, self.token, self.asks_status)
