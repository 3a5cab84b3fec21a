"""STOMP over WebSocket: the channel of each client (``IChannel``: sending and closing), and the factory of channels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.client.client import Client
from airyd.client.context import ClientContext
from airyd.client.timer_wheel import Timer
from airyd.errors import CloseCode, Fault, RequestRefused, StompError
from airyd.interfaces import IChannel, IPrincipal
from airyd.limits import CLOSE_PATIENCE
from airyd.metrics import CLOSED_NORMALLY, CLOSED_REFUSED
from airyd.runtime import garbage_collection as garbage
from airyd.websocket.connection import WebSocketConnection, WebSocketConnectionFactory
from airyd.websocket.frames import PING, websocket_framing
from airyd.websocket.handshake import HandshakePolicy
from airyd.websocket.output_buffer import OutputBuffer
from airyd.websocket.transport import count_bytes, direct_of


@implementer(IChannel)
class StompWebSocket(WebSocketConnection):
    """The channel of one client.

    Bytes leave in one of two ways: by :attr:`direct`, or through the queue of Twisted's transport. While bytes are
    queued, ``direct`` is None, so that nothing overtakes them.

    :ivar direct: see ``IChannel``
    """

    __slots__ = ("_close_kind", "_deadline", "_output_buffer", "direct")

    factory: StompWebSocketFactory
    _log = Logger()

    # The connection's life, as Twisted calls it.

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        context = self.factory.context
        self.direct: Callable[[bytes], int] | None = None
        self._deadline: Timer | None = None
        self._output_buffer: OutputBuffer | None = None
        self._close_kind: str | None = None
        below = direct_of(self.transport)  # the TCP or unix connection, without wrappers
        if below is not None:
            below.observer = self
            self._open_direct()
        self._client = client = Client(context, self, websocket_framing)
        metrics = context.metrics
        metrics.connections += 1
        metrics.connections_opened += 1
        self.factory.channels[client.number] = self
        if metrics.connections_opened % garbage.CONNECTIONS_PER_FREEZE == 0:
            garbage.spare()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        # This comes first: the socket is gone, so its bound send must not be called again.
        self.direct = None
        self._client.ended()
        if self._deadline is not None:
            self._deadline.cancel()
        self._drop_output_buffer()
        below = direct_of(self.transport)
        if below is not None:
            below.observer = None
        metrics = self.factory.context.metrics
        metrics.connections -= 1
        kind = self._close_kind or self.how_it_closed
        metrics.connections_closed[kind] += 1
        self._client.closed(kind)
        super().connectionLost(reason)
        number = self._client.number
        # This breaks the reference cycle of client and channel: a cycle would never be freed
        # (airyd.runtime.garbage_collection).
        del self._client
        self.factory.remove(number)  # with the last one, the process may end

    # Sending.

    @property
    def buffered(self) -> int:
        """The number of bytes that wait to be sent (``IChannel``)."""
        below = direct_of(self.transport)
        return 0 if below is None else below.buffered

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        if self.state == self.STATE_OPEN:
            self.write(wire)

    def ping(self) -> None:
        """See ``IChannel``."""
        self.send(PING)

    def write(self, data: bytes) -> None:
        """See ``WebSocketConnection``."""
        direct = self.direct
        if direct is not None:
            try:
                count = direct(data)
            except OSError:  # full, or gone: the transport finds out which
                count = 0
            if count != len(data):
                self.send_rest(data, count)
        else:
            self._need_output_buffer().write(data)

    def send_rest(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""
        self.direct = None
        self._need_output_buffer().write_rest(wire[count:])
        self._client.direct_changed()

    def _open_direct(self) -> None:
        # Behind the PROXY protocol, bytes must go through the upper transport.
        below = direct_of(self.transport)
        if below is self.transport:
            self.direct = below.direct

    def direct_replaced(self) -> None:
        """Use another ``direct`` from now on, because the class of this connection has changed."""
        if self.direct is not None:
            self._open_direct()
            self._client.direct_changed()

    def emptied(self) -> None:
        """See ``BufferObserver``."""
        if self._output_buffer is not None:
            self._output_buffer.emptied()
        if self._client.is_over:
            return
        if self.direct is None:
            self._open_direct()
            self._client.direct_changed()
        self._client.drained()

    def progressed(self) -> None:
        """See ``BufferObserver``."""
        if self._output_buffer is not None:
            self._output_buffer.progressed()

    def closing(self, count: Callable[[], tuple[int, int] | None]) -> None:
        """See ``BufferObserver``."""
        self._client.closing(count)

    def _need_output_buffer(self) -> OutputBuffer:
        if self._output_buffer is None:
            # The client's own: after a reload, new connections have other limits.
            context = self._client.context
            self._output_buffer = OutputBuffer(context, self._client, self.transport, self._drop_output_buffer)
            self.factory.output_buffers.add(self._output_buffer)
        return self._output_buffer

    def _drop_output_buffer(self) -> None:
        if self._output_buffer is not None:
            self._output_buffer.close()
            self.factory.output_buffers.discard(self._output_buffer)
            self._output_buffer = None

    # Closing.

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        is_open = self.state == self.STATE_OPEN
        if is_open:
            self._close_kind = CLOSED_NORMALLY if fault is None else fault.kind
            code, reason = (CloseCode.NORMAL, "") if fault is None else (fault.close_code, fault.message)
            self.close_websocket(int(code), reason)
        elif self.state == self.STATE_CONNECTING and fault is not None:
            late = fault is Fault.CONNECT_TIMEOUT
            status = HTTPStatus.REQUEST_TIMEOUT if late else HTTPStatus.SERVICE_UNAVAILABLE
            self.refuse(RequestRefused(fault.message, status))
        return is_open

    def opened(self, seconds: float) -> None:
        """See ``WebSocketConnection``."""
        self.factory.context.metrics.handshake_time.observe(seconds)

    def refuse(self, refused: RequestRefused) -> None:
        """See ``WebSocketConnection``."""
        self.write(self._need_handshake().refusal(refused))
        status = int(refused.status)
        self.factory.context.metrics.handshakes_refused[status] += 1
        self._log.info(
            "{peer}: opening handshake refused with {code}: {reason}",
            peer=self.peer,
            code=status,
            reason=refused.reason,
            once_a_minute=f"handshake {status}",
        )
        self._close_kind = CLOSED_REFUSED
        self._client.ended()
        self.state = self.STATE_CLOSED
        self.disconnect(abort=False)

    def close_frame_sent(self) -> None:
        """See ``WebSocketConnection``."""
        self.direct = None
        self._linger()

    def disconnect(self, abort: bool) -> None:
        """See ``WebSocketConnection``."""
        if abort:
            self.transport.abortConnection()
            return
        if self._close_kind == CLOSED_REFUSED and direct_of(self.transport) is self.transport:
            # A close with unread bytes of the request would send an RST, and the client would lose the answer. So only
            # the write side is closed, and airyd reads on.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self._linger()

    def _linger(self) -> None:
        """Drop the connection in ``CLOSE_PATIENCE`` seconds, after the client could read its last frames and answer."""
        if self._deadline is None:
            self._deadline = self.factory.context.wheel.call_later(CLOSE_PATIENCE, self.abort)

    def fail(self, error: StompError) -> None:
        """End the client, if it is open: with an ERROR frame, or with an HTTP error during the opening handshake."""
        if self.state != self.STATE_CLOSED:
            self._client.fail(error)

    @property
    def principal(self) -> IPrincipal | None:
        """Who the client is; None before its login, and after the client has ended."""
        return None if self._client.is_over else self._client.principal

    @property
    def client(self) -> Client:
        """The client, while the connection is open."""
        return self._client

    @property
    def is_slow(self) -> bool:
        """Whether bytes have been queued for it for more than a second."""
        return self._output_buffer is not None and self._output_buffer.is_slow

    def count_bytes(self) -> tuple[int, int] | None:
        """Return how many bytes the client has received and sent, if the kernel counts them."""
        below = direct_of(self.transport)
        return None if below is None else count_bytes(below.socket)

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()


class _ConnectionOverLimit(Protocol):
    """A connection above ``max_connections``, which is dropped at once."""

    transport: Connection  # or an object with the same methods

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        self.transport.abortConnection()


class WireObserver(TypingProtocol):
    """Is called with what one connection sends, while it is traced; it must not raise, nor call any of airyd."""

    def sent(self, wire: bytes) -> None:
        """Take note of bytes that were handed to the socket or queued: whole WebSocket frames."""

    def closed(self, kind: str) -> None:
        """Take note that the connection is lost; ``kind`` is one of ``Metrics.connections_closed``."""


class StompWebSocketFactory(WebSocketConnectionFactory):
    """Creates a ``StompWebSocket`` for each connection.

    :ivar context: what all new clients share; a reload replaces it
    :ivar channels: the open connections by their numbers, in this order
    :ivar observers: those of each connection that is traced (``airyd.websocket.tracing``)
    :ivar output_buffers: those that exist: bytes wait in them, or did so recently
    :ivar max_connections: the most connections that may be open; further ones are dropped
    """

    protocol = StompWebSocket  # type: ignore[assignment]  # mypy-zope does not see that it is a Protocol
    max_connections = sys.maxsize
    _log = Logger()

    def __init__(self, context: ClientContext, policy: HandshakePolicy, reactor: IReactorTime) -> None:
        super().__init__(policy, reactor)
        self.context = context
        self.channels: dict[int, StompWebSocket] = {}
        self.observers: dict[StompWebSocket, list[WireObserver]] = {}
        self.output_buffers: set[OutputBuffer] = set()
        self._emptied: Deferred[None] | None = None
        self._is_full = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See ``IProtocolFactory``."""
        if len(self.channels) < self.max_connections:
            self._is_full = False
            return super().buildProtocol(addr)
        if not self._is_full:
            self._is_full = True
            self._log.warn(
                "there are {count} connections, the most allowed: more are dropped",
                count=self.max_connections,
                once_a_minute="connections full",
            )
        return _ConnectionOverLimit()

    def remove(self, number: int) -> None:
        """Forget a connection that was closed."""
        del self.channels[number]
        if not self.channels and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def buffered_bytes(self) -> int:
        """Return the bytes that wait to be sent, of all clients."""
        return sum(buffer.waiting for buffer in self.output_buffers)

    def slow_clients(self) -> int:
        """Return how many clients have not read all that waits for them for more than a second."""
        return sum(buffer.is_slow for buffer in self.output_buffers)

    def when_empty(self) -> Deferred[None]:
        """Return a Deferred that fires when the last connection is closed; call this once, while some are open."""
        self._emptied = Deferred()
        return self._emptied
