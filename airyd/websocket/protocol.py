"""WebSocket in and out: Autobahn shakes hands, reads frames and closes; airyd sends its own frames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorCore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import Timer
from airyd.errors import CloseCode, Fault, RequestRefused, StompError
from airyd.interfaces import NO_OPENING, IChannel, IPrincipal, Opening
from airyd.limits import CLOSE_PATIENCE
from airyd.metrics import CLOSED_BY_CLIENT, CLOSED_LOST, CLOSED_NORMALLY, CLOSED_REFUSED, CLOSED_WEBSOCKET
from airyd.runtime import garbage_collection as garbage
from airyd.stomp.message import Framing
from airyd.websocket.frames import PING, websocket_framing
from airyd.websocket.handshake import HandshakeFactory
from airyd.websocket.inflate import InflatingWebSocket
from airyd.websocket.lean import LeanServerProtocol
from airyd.websocket.origin import OriginPolicy
from airyd.websocket.transport import DirectServer, DirectUnixServer, direct_of

#: Ping intervals after which an output buffer that makes no progress ends its client.
_STUCK_INTERVALS: Final = 2


class _Backlog:
    """Watches a client's output buffer: if it makes no progress for two ping intervals, the client is too slow.

    It exists while there is something in the buffer, and for at most as long again: under TLS each send is in the
    buffer for a turn, which must not cost an entry of the wheel each time.
    """

    __slots__ = ("_channel", "_entry", "_gateway", "_progressed_at")

    def __init__(self, channel: StompWebSocket, gateway: ClientContext) -> None:
        self._channel = channel
        self._gateway = gateway
        self.progressed()
        self._look_in(_STUCK_INTERVALS * gateway.ping_interval)

    def progressed(self) -> None:
        """Learn that a part of the buffer, or all of it, was sent."""
        self._progressed_at = self._gateway.wheel.seconds()

    def forget(self) -> None:
        """End: the connection is lost."""
        self._entry.cancel()

    def _look_in(self, seconds: float) -> None:
        self._entry = self._gateway.wheel.call_later(seconds, self._look)

    def _look(self) -> None:
        wheel = self._gateway.wheel
        patience = _STUCK_INTERVALS * self._gateway.ping_interval
        left = max(self._progressed_at, wheel.woke) + patience - wheel.seconds()
        if self._channel.check_backlog(left <= 0):
            self._look_in(left)


@implementer(IChannel)
class StompWebSocket(InflatingWebSocket):
    """One client's WebSocket, over Autobahn's protocol as it comes."""

    __slots__ = ()

    #: What each connection has beside Autobahn's own: the slots of whoever has slots.
    ATTRIBUTES: ClassVar = (
        "_backlog",
        "_below",
        "_client",
        "_deadline",
        "_kind",
        "_opening",
        "_stalled",
        "direct",
        "is_paused",
    )

    factory: StompWebSocketFactory

    # The connection's life, as Twisted and Autobahn tell it.

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        gateway = self.factory.gateway
        self.direct: Callable[[bytes], int] | None = None
        self._deadline: Timer | None = None
        self._backlog: _Backlog | None = None
        self._kind: str | None = None
        self._opening = NO_OPENING
        self._stalled = False
        self.is_paused = False
        self._below = below = direct_of(self.transport)
        if below is not None:
            below.owner = self
            self._open_direct(below)
        self._client = Client(gateway, self, websocket_framing)
        gateway.metrics.connections += 1
        gateway.metrics.connections_opened += 1
        self.factory.channels.add(self)
        if gateway.metrics.connections_opened % garbage.CONNECTIONS == 0:
            garbage.spare()
        super().connectionMade()

    def _open_direct(self, below: DirectServer | DirectUnixServer) -> None:
        # Under TLS, or a proxy's header, bytes must go through the upper transport.
        if below is self.transport and not getattr(below, "TLS", False):
            self.direct = below.socket.send

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self._client.heard()
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        # Before anything else: the socket is gone, and a bound send of it must not be called again.
        self.direct = None
        self._client.ended()
        self.factory.remove(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._backlog is not None:
            self._backlog.forget()
            self._backlog = None
        if self._below is not None:
            self._below.owner = None
        metrics = self.factory.gateway.metrics
        metrics.connections -= 1
        metrics.connections_closed[self._end_kind()] += 1
        if self._stalled:
            metrics.buffered_clients -= 1
        super().connectionLost(reason)
        # Client and channel know each other: without this they would be left to the garbage collector, which is not to
        # look at connections at all (airyd.runtime.garbage_collection).
        del self._client

    def _end_kind(self) -> str:
        if self._kind is not None:
            return self._kind
        if self.failedByMe:
            return CLOSED_WEBSOCKET
        return CLOSED_BY_CLIENT if self.wasClean else CLOSED_LOST

    def opening_shown(self, opening: Opening) -> None:
        """See ``OpeningHandshake``."""
        self._opening = opening

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        opening, self._opening = self._opening, NO_OPENING
        return opening

    def handshake_refused(self) -> None:
        """See ``OpeningHandshake``."""
        self._kind = CLOSED_REFUSED
        self._client.ended()

    def compression_agreed(self, framing: Framing) -> None:
        """See ``OpeningHandshake``."""
        super().compression_agreed(framing)
        self._client.framing = framing

    # What comes in: the client's session takes the bytes as they arrive; Autobahn need not collect messages.

    def onMessageBegin(self, isBinary: bool) -> None:
        """See ``IWebSocketChannelFrameApi``."""
        self.message_data_total_length = 0

    def onMessageFrameData(self, payload: bytes) -> None:
        """See ``IWebSocketChannelStreamingApi``."""
        if self.state == self.STATE_OPEN:
            self._client.received(payload)

    def onMessageFrameEnd(self) -> None:
        """See ``IWebSocketChannelStreamingApi``."""

    def onMessageEnd(self) -> None:
        """See ``IWebSocketChannelApi``."""

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """See ``IWebSocketChannel``."""

    # What goes out: all of it on one way, so that nothing overtakes what is queued.

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        return 0 if self._below is None else self._below.buffered

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        if self.state == self.STATE_OPEN:
            self.sendData(wire)

    def ping(self) -> None:
        """See ``IChannel``."""
        self.send(PING)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send bytes of airyd's or Autobahn's own; the two parameters of its API are not in use here."""
        direct = self.direct
        if direct is not None:
            try:
                count = direct(data)
            except OSError:  # full, or gone: the transport finds out which
                count = 0
            if count != len(data):
                self.sent(data, count)
        elif self._client.is_over or self.buffered + len(data) <= self.factory.gateway.limits.buffered:
            self.transport.write(data)
            self._watch_backlog()
        else:
            self._client.fail(
                StompError(
                    Fault.SLOW_CONSUMER,
                    f"More than {self.factory.gateway.limits.buffered} bytes wait for you; read faster, or resume.",
                )
            )

    def sent(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""
        self.direct = None
        metrics = self.factory.gateway.metrics
        metrics.stalls += 1
        metrics.buffered_clients += 1
        self._stalled = True
        self.transport.write(wire[count:])
        self._watch_backlog()
        self._client.direct_changed()

    def emptied(self) -> None:
        """See ``airyd.websocket.transport.Owner``."""
        if self._stalled:
            self._stalled = False
            self.factory.gateway.metrics.buffered_clients -= 1
        self.progressed()
        if self._client.is_over:
            return
        if self._below is not None and self.direct is None:
            self._open_direct(self._below)
            self._client.direct_changed()
        self._client.drained()

    def progressed(self) -> None:
        """See ``airyd.websocket.transport.Owner``."""
        if self._backlog is not None:
            self._backlog.progressed()

    def _watch_backlog(self) -> None:
        if self._backlog is None and self.factory.gateway.ping_interval:
            self._backlog = _Backlog(self, self.factory.gateway)

    def check_backlog(self, is_stuck: bool) -> bool:
        """End the client if it is too slow; return whether to look again."""
        if not self.buffered or self._client.is_over:
            self._backlog = None
            return False
        if is_stuck:
            seconds = _STUCK_INTERVALS * self.factory.gateway.ping_interval
            text = f"You have read nothing for {seconds:g} seconds of what waits for you."
            self._client.fail(StompError(Fault.SLOW_CONSUMER, text))
        return not is_stuck

    # The end.

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        is_open = self.state == self.STATE_OPEN
        if is_open:
            self._kind = CLOSED_NORMALLY if fault is None else fault.kind
            code, reason = (CloseCode.NORMAL, "") if fault is None else (fault.close_code, fault.message)
            self.sendCloseFrame(int(code), reason.encode())
        elif self.state == self.STATE_CONNECTING and fault is not None:
            late = fault is Fault.CONNECT_TIMEOUT
            status = HTTPStatus.REQUEST_TIMEOUT if late else HTTPStatus.SERVICE_UNAVAILABLE
            self.refuse(RequestRefused(fault.message, status))
        return is_open

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Send a close frame, whoever wants it: airyd, the client (a reply), Autobahn for a violation of RFC 6455."""
        self._client.ended()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self.direct = None
        self._linger()

    def _closeConnection(self, abort: bool = False) -> None:
        # After a clean closing handshake Autobahn would abort; but an RST can make the client miss the close frame.
        if abort and not self.wasClean:
            self.transport.abortConnection()
        elif self._kind == CLOSED_REFUSED and self._below is self.transport:
            # A close with unread bytes of the request is an RST, and would cost the client the answer: read on.
            self.transport.loseWriteConnection()
            self._linger()
        else:
            self.transport.loseConnection()
            self._linger()

    def _linger(self) -> None:
        """Let the client read its last frames and answer, but not for ever."""
        if self._deadline is None:
            self._deadline = self.factory.gateway.wheel.call_later(CLOSE_PATIENCE, self.abort)

    def fail(self, error: StompError) -> None:
        """Let the client go, with an ERROR frame if it has come that far; nothing to do if it has gone."""
        if self.state != self.STATE_CLOSED:
            self._client.fail(error)

    @property
    def principal(self) -> IPrincipal | None:
        """Who the client is; None before its login, and when it is to go."""
        return None if self._client.is_over else self._client.principal

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()


class LeanStompWebSocket(StompWebSocket, LeanServerProtocol):  # type: ignore[misc]  # Autobahn's own bases disagree
    """One client's WebSocket, over the trimmed protocol."""

    __slots__ = StompWebSocket.ATTRIBUTES


#: What ``--websocket`` says to the protocol of each connection.
PROTOCOLS: Final[Mapping[str, type[StompWebSocket]]] = MappingProxyType(
    {"lean": LeanStompWebSocket, "stock": StompWebSocket}
)


class _Surplus(Protocol):
    """A connection above the most that there may be."""

    transport: Connection  # or what behaves like one

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        self.transport.abortConnection()


class StompWebSocketFactory(HandshakeFactory):
    """Makes a ``StompWebSocket`` for each connection.

    :param protocol: one of :data:`PROTOCOLS`
    :ivar channels: the connections that are open
    :ivar most: how many there may be; more are dropped when they come
    """

    noisy = False
    most = sys.maxsize
    _log = Logger()

    def __init__(
        self,
        gateway: ClientContext,
        paths: Sequence[str],
        origins: OriginPolicy,
        reactor: IReactorCore,
        protocol: type[StompWebSocket],
        compression: bool = True,
    ) -> None:
        super().__init__(gateway, paths, origins, reactor, compression)
        self.protocol = protocol
        self.channels: set[StompWebSocket] = set()
        self._emptied: Deferred[None] | None = None
        self._is_full = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See ``IProtocolFactory``."""
        if len(self.channels) < self.most:
            self._is_full = False
            return super().buildProtocol(addr)
        if not self._is_full:
            self._is_full = True
            self._log.warn(
                "there are {count} connections, the most that there may be: more are dropped",
                count=self.most,
                once_a_minute="connections full",
            )
        return _Surplus()

    def remove(self, channel: StompWebSocket) -> None:
        """Forget a connection that is gone."""
        self.channels.discard(channel)
        if not self.channels and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Fires when the last connection is gone; call it once, while there are some."""
        self._emptied = Deferred()
        return self._emptied
