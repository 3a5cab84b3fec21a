"""The server's side of one WebSocket connection (RFC 6455): opening handshake, messages from the client, closing.

Autobahn is the WebSocket implementation: it reads frames, detects violations, answers pings, and performs the closing
handshake. This is the only module that uses its internals. airyd itself reads the opening handshake
(``airyd.websocket.handshake``), and messages that have arrived complete: that takes 2 µs each, with Autobahn 11.

Autobahn keeps some seventy attributes on each connection. Here, those that never change are class attributes, those
that an idle connection needs are in slots, and the others are in the instance's ``__dict__``, which is deleted after
each message that Autobahn reads.

These names are not part of Autobahn's API. setup.cfg pins its version, and tests/websocket/test_autobahn.py tests what
each of them must do.

=============================== ========================================================================================
``processData``                 called: parses the next part of ``data``
``data``, ``state``             set: the unparsed bytes, and the state after the opening handshake
``current_frame``, its          read: whether a frame has begun, which opcode it has and how it is masked
``current_frame_masker``
``inside_message``              read: whether the next frame continues a message
``onFrameBegin``                extended: each message gets its own UTF-8 validator and inflater
``onFrameData``                 extended: unmasks, and stops when the inflater's budget is used up
``onFrameEnd``                  extended: deletes the attributes after the last frame of a message
``utf8validator``               set: checks text in 0.7 µs, where Autobahn's own takes 3.7
``_perMessageCompress``         set: inflates compressed messages; None makes RSV1 a violation
``_isMessageCompressed``        read: whether the inflater is in use
``message_data_total_length``   set to 0 at the start of a message: limits its size over all frames
``sendData``                    replaced: Autobahn's bytes are sent in the same way as all others
``sendCloseFrame``              extended: nothing may be sent after a close frame
``_closeConnection``            replaced: gives the client time to read the last frames
``failedByMe``, ``wasClean``    read: how the connection ended
``is_closed``, ``trafficStats`` constant: airyd uses neither
``autoPingPending``,            constant, with Autobahn's initial values; so are its options
``autoPingTimeoutCall``,
``closeHandshakeTimeoutCall``,
``trackedTimings``,
``wasNotCleanReason``,
``websocket_version``
``isServer``                    set on the factory, where Autobahn reads it for each frame
``decompress_message_data``,    the inflater's methods that Autobahn calls
``start_decompress_message``,
``end_decompress_message``
=============================== ========================================================================================

Autobahn's own ``connectionMade``, ``connectionLost`` and ``dataReceived`` are never called, so it sets no attributes
and starts no timers. All deadlines are on one timer wheel (``airyd.client.timer_wheel``).
"""

from __future__ import annotations

import zlib
from typing import Any, Final, cast

from autobahn.exception import PayloadCorruptError
from autobahn.twisted.util import peer2str
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.client.client import Client
from airyd.errors import RequestRefused
from airyd.interfaces import NO_OPENING, Opening
from airyd.limits import WEBSOCKET_MESSAGE
from airyd.metrics import CLOSED_BY_CLIENT, CLOSED_LOST, CLOSED_WEBSOCKET
from airyd.tls import ALPN_PROTOCOLS
from airyd.websocket.deflate import EXTENSION, Inflater
from airyd.websocket.frames import unmask, whole_messages
from airyd.websocket.handshake import HandshakePolicy, OpeningHandshake
from airyd.websocket.transport import READ_BYTES, DirectServer, hides_client
from airyd.websocket.usual_heads import UsualHeads
from airyd.websocket.utf8_validator import Utf8Validator

_FIRST_CONTROL: Final = 8  # the lowest opcode of a control frame (RFC 6455, section 5.2)


class _MessageInflater(Inflater):
    """An inflater with the methods that Autobahn calls.

    :ivar is_scheduled: whether inflating continues in the next turn of the reactor
    """

    __slots__ = ("is_scheduled",)

    #: Quoted in Autobahn's error texts.
    EXTENSION_NAME: Final = EXTENSION

    def __init__(self, budget: int) -> None:
        super().__init__(budget)
        self.is_scheduled = False

    def start_decompress_message(self) -> None:
        """Start a message."""
        self.reset()

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Inflate a part of the message; return as many bytes as the budget allows.

        :param max_output_len: Autobahn's limit on the message; ignored, since Autobahn checks it afterwards, too
        :raises PayloadCorruptError: the data is not valid
        """
        try:
            return self.inflate(data)
        except zlib.error as error:
            raise PayloadCorruptError(str(error)) from error

    def end_decompress_message(self) -> None:
        """End the message.

        :raises PayloadCorruptError: the message was cut off
        """
        try:
            self.finish()
        except zlib.error as error:
            raise PayloadCorruptError(str(error)) from error


#: Marks a connection with compression between messages, which needs no inflater; all connections share it.
_NO_MESSAGE: Final = _MessageInflater(READ_BYTES)


class _UnusedDeferred:
    """Replaces a Deferred of Autobahn that airyd does not use."""

    __slots__ = ()

    def callback(self, result: object) -> None:
        """Ignore the result."""


class WebSocketConnection(WebSocketServerProtocol):
    """One WebSocket connection.

    A subclass implements :meth:`write`, :meth:`disconnect`, :meth:`opened`, :meth:`refuse` and
    :meth:`close_frame_sent`.

    :ivar is_paused: whether the client has called :meth:`pause`; then it gets no payload
    """

    __slots__ = (
        "_client",
        "_forwarded",
        "_handshake",
        "_perMessageCompress",
        "connected",
        "current_frame",
        "data",
        "factory",
        "inside_message",
        "is_paused",
        "state",
        "transport",
    )

    factory: WebSocketConnectionFactory
    transport: Connection  # or, behind the PROXY protocol, an object with the same methods
    _client: Client
    _perMessageCompress: _MessageInflater | None  # type: ignore[assignment]  # Autobahn's type knows only None
    _isMessageCompressed: bool

    # Autobahn's options, and attributes that it sets on each connection; those that change are set on the instance.
    logFrames = False
    utf8validateIncoming = True
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = False  # see onFrameData()
    # Autobahn's default, 0, would accept a frame of 2^62 bytes. STOMP's own limits are far lower and
    # apply while a message arrives; this limit is for data that isn't STOMP.
    maxFramePayloadSize = WEBSOCKET_MESSAGE
    maxMessagePayloadSize = WEBSOCKET_MESSAGE
    failByDrop = False
    echoCloseCodeReason = False
    closeHandshakeTimeout = 0
    closeHandshakeTimeoutCall = None
    autoPingPending = None
    autoPingTimeoutCall = None
    is_closed = _UnusedDeferred()
    trafficStats = TrafficStats()
    trackedTimings = None  # type: ignore[assignment]  # Autobahn's type leaves None out
    websocket_version = 13
    failedByMe = False
    wasClean = False
    wasNotCleanReason = None  # type: ignore[assignment]  # Autobahn's type leaves None out

    def __init__(self) -> None:
        """Do nothing; Autobahn's own method would create two Deferreds and a list of signals."""

    # What a subclass implements.

    def write(self, data: bytes) -> None:
        """Send bytes, now or after those that are queued."""
        raise NotImplementedError

    def opened(self, seconds: float) -> None:
        """Take note of an accepted opening handshake, which took this long since the connection was made."""
        raise NotImplementedError

    def refuse(self, refused: RequestRefused) -> None:
        """Answer the opening handshake with an HTTP error, and close."""
        raise NotImplementedError

    def close_frame_sent(self) -> None:
        """React to a close frame that was sent: by airyd, as a reply, or by Autobahn for a violation of RFC 6455."""
        raise NotImplementedError

    def disconnect(self, abort: bool) -> None:
        """End the transport's connection.

        :param abort: end it at once, even if bytes are queued
        """
        raise NotImplementedError

    # The connection's life, as Twisted calls it.

    def connectionMade(self) -> None:
        """Set up the connection (``IProtocol``)."""
        self.data = b""
        self.state = self.STATE_CONNECTING
        self.current_frame = None  # type: ignore[assignment]  # as Autobahn does itself
        self.inside_message = False
        self.is_paused = False
        self._perMessageCompress = None
        self._forwarded: str | None = None
        self._handshake: OpeningHandshake | None = None
        del self.__dict__  # an empty one would take 64 bytes

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Mark the connection as closed (``IProtocol``)."""
        self.state = self.STATE_CLOSED

    @property
    def peer(self) -> str:  # type: ignore[override]  # Autobahn's is an attribute
        """The client's address, such as ``tcp4:127.0.0.1:5000``; built on demand.

        If a trusted proxy has passed it on, it has no port.
        """
        if self._forwarded is not None:
            return self._forwarded
        transport = self.transport
        if isinstance(transport, DirectServer):  # used twice per connection: 0.4 µs; Autobahn's way takes 3
            host, port = transport.client[:2]
            return f"tcp{4 if len(transport.client) == 2 else 6}:{host}:{port}"
        return str(peer2str(transport)) if transport is not None else "nobody"

    @property
    def address(self) -> tuple[str, int | None]:
        """The client's host and port; there is no port if a proxy has passed the address on, or on a unix socket."""
        if self._forwarded is not None:
            return self._forwarded.partition(":")[2], None
        if isinstance(self.transport, DirectServer):  # 5 µs faster than an address of Twisted's
            return cast("tuple[str, int]", self.transport.client[:2])
        peer = self.transport.getPeer()
        host = getattr(peer, "host", None)
        return ("unix", None) if host is None else (host, peer.port)

    @property
    def how_it_closed(self) -> str:
        """How the connection was closed, if neither by ``close()`` nor by ``refuse()``: a kind of ``airyd.metrics``."""
        if self.failedByMe:
            return CLOSED_WEBSOCKET
        return CLOSED_BY_CLIENT if self.wasClean else CLOSED_LOST

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        handshake, self._handshake = self._handshake, None
        return NO_OPENING if handshake is None else handshake.opening

    # Receiving.

    def dataReceived(self, data: bytes) -> None:
        """Handle received bytes: the request head, then frames (``IProtocol``)."""
        self._client.heard()
        if self.state == self.STATE_CONNECTING:
            data = self._shake_hands(data)
        elif not self.data and self._is_between_messages:
            messages, end = whole_messages(data)
            if messages:
                self.onMessageFrameData(messages[0] if len(messages) == 1 else b"".join(messages))
                data = data[end:]
        if data and self.state != self.STATE_CLOSED:
            self.data += data
            if not self._has_more:  # else a later turn reads it; TLS may deliver bytes after reading was paused
                self._read_frames()

    @property
    def _is_between_messages(self) -> bool:
        """Whether neither a frame nor a message has begun."""
        inflater = self._perMessageCompress
        is_inflating = inflater is not None and inflater is not _NO_MESSAGE
        return self.current_frame is None and not self.inside_message and not is_inflating

    def _shake_hands(self, data: bytes) -> bytes:
        """Read a piece of the opening request; when that is complete, answer it and return the bytes after it."""
        is_first = self._handshake is None
        accepted = self.factory.usual_heads.accept(data) if is_first else None
        if accepted is None:
            handshake = self._need_handshake()
            try:
                accepted = handshake.read(data)
            except RequestRefused as refused:
                self._learn_address(handshake)
                self.refuse(refused)
                return b""
            if accepted is None:
                return b""
            if is_first:  # else a reload may have replaced the policy meanwhile
                self.factory.usual_heads.remember(data, accepted)
            self._learn_address(handshake)
        if self.factory.refusal is not None:
            self.refuse(self.factory.refusal)
            return b""
        if accepted.framing is not None:
            self._perMessageCompress = _NO_MESSAGE
            self._client.framing = accepted.framing
        if accepted.token_bytes:
            self._client.reduce_token_room(accepted.token_bytes)
        self.write(accepted.answer)
        self.state = self.STATE_OPEN
        self._client.opened(accepted.agent)
        self.opened(self.factory.reactor.seconds() - self._client.opened_at)
        return accepted.rest

    def _need_handshake(self) -> OpeningHandshake:
        if self._handshake is None:
            self._handshake = OpeningHandshake(self.factory.policy)
        return self._handshake

    def _learn_address(self, handshake: OpeningHandshake) -> None:
        """Take the client's address from the request, if the peer is a trusted proxy."""
        if handshake.forwarded is None:
            return
        proxies = self.factory.policy.proxies
        peer = getattr(self.transport.getPeer(), "host", None)
        if proxies.trusts(peer) and not hides_client(self.transport):
            address = proxies.client_of(handshake.forwarded)
            if address is not None:
                self._forwarded = f"tcp{address.version}:{address}"
        handshake.forwarded = None  # it may be long, and the handshake is kept until CONNECT

    def _read_frames(self) -> None:
        """Read the frames that have arrived: complete messages directly, all others with Autobahn."""
        is_more = True
        while is_more and self.state != self.STATE_CLOSED:
            if self.current_frame is None and not self.inside_message:
                messages, end = whole_messages(self.data)
                if messages:
                    self.data = self.data[end:]
                    self.onMessageFrameData(b"".join(messages))
                    is_more = bool(self.data)
                    continue
            is_more = self.processData()
        if self._perMessageCompress is not None:
            self._end_turn(self._perMessageCompress)

    def onFrameBegin(self) -> None:
        """Start a frame, and a message unless it continues one; RSV1 marks a compressed message."""
        if not self.inside_message and self.current_frame.opcode < _FIRST_CONTROL:
            self.utf8validator = Utf8Validator()  # type: ignore[assignment]  # the methods are the same
            if self.current_frame.rsv and self._perMessageCompress is not None:
                self._perMessageCompress = _MessageInflater(self._perMessageCompress.budget)
        super().onFrameBegin()

    def onFrameData(self, payload: bytes) -> bool | None:
        """Unmask and handle a piece of a frame's payload; return False to stop reading for now."""
        mask: Any = self.current_frame.mask  # Autobahn's type is wrong: it is bytes, or None
        if mask and payload:
            payload = unmask(payload, mask, self.current_frame_masker.pointer() - len(payload))
        if self.current_frame.opcode >= _FIRST_CONTROL or not self._isMessageCompressed:
            return super().onFrameData(payload)
        if self.state == self.STATE_OPEN and super().onFrameData(payload) is False:
            return False
        assert self._perMessageCompress is not None  # noqa: S101  # the message began with RSV1
        if self.state != self.STATE_OPEN:  # only the client's close frame still matters
            self._perMessageCompress.reset()
            return None
        return False if self._perMessageCompress.has_more else None

    def onFrameEnd(self) -> bool | None:
        """End a frame, and perhaps its message."""
        result = super().onFrameEnd()
        if self.state == self.STATE_OPEN and not self.inside_message:
            del self.__dict__  # it held only the frame's attributes: the payload was passed on as it arrived
        return result

    # Autobahn's callbacks. Payload is passed to the client as it arrives: no message is collected.

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

    # The rest of a compressed message that is longer than the budget of one turn: nothing more is read from the socket
    # until all of it was passed on.

    @property
    def _has_more(self) -> bool:
        inflater = self._perMessageCompress
        return inflater is not None and inflater.has_more and self.state != self.STATE_CLOSED

    def _end_turn(self, inflater: _MessageInflater) -> None:
        if self._has_more:
            self.transport.pauseProducing()
            self._read_in_next_turn(inflater)
        elif not self.inside_message:
            self._perMessageCompress = inflater = _NO_MESSAGE
        inflater.budget = READ_BYTES

    def _read_in_next_turn(self, inflater: _MessageInflater) -> None:
        if not inflater.is_scheduled:
            inflater.is_scheduled = True
            self.factory.reactor.callLater(0, self._inflate_more, inflater)

    def _inflate_more(self, inflater: _MessageInflater) -> None:
        inflater.is_scheduled = False
        if self._has_more and not self.is_paused:
            self._read_frames()
            if not self._has_more and not self.is_paused:
                self.transport.resumeProducing()

    def pause(self) -> None:
        """See ``IChannel``."""
        self.is_paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """See ``IChannel``; the rest of a compressed message is passed on first."""
        self.is_paused = False
        if self._perMessageCompress is not None and self._has_more:
            self._read_in_next_turn(self._perMessageCompress)
        else:
            self.transport.resumeProducing()

    # Sending and closing by Autobahn.

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send Autobahn's bytes; Autobahn never sets the last two parameters here."""
        self.write(data)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Send a close frame, after which nothing may be sent."""
        self._client.ended()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self.close_frame_sent()

    def close_websocket(self, code: int, reason: str) -> None:
        """Start the closing handshake."""
        self.sendCloseFrame(code, reason.encode())

    def _closeConnection(self, abort: bool = False) -> None:
        # Autobahn aborts even after a clean closing handshake, but an RST can make the client miss the close frame.
        self.disconnect(abort and not self.wasClean)


@implementer(IProtocolNegotiationFactory)
class WebSocketConnectionFactory(ServerFactory):
    """The factory of connections, with what they share.

    :ivar usual_heads: the heads of accepted opening handshakes
    :ivar refusal: refuses all of them, if it is not None
    """

    noisy = False
    #: Whether ``buildProtocol`` needs its argument.
    uses_address = False
    #: Autobahn reads it for each frame.
    isServer = True

    def __init__(self, policy: HandshakePolicy, reactor: IReactorTime) -> None:
        self.usual_heads = UsualHeads(policy)
        self.refusal: RequestRefused | None = None
        self.reactor = reactor

    @property
    def policy(self) -> HandshakePolicy:
        """What decides which opening handshakes are accepted; a reload replaces it."""
        return self.usual_heads.policy

    @policy.setter
    def policy(self, policy: HandshakePolicy) -> None:
        self.usual_heads = UsualHeads(policy)

    def acceptableProtocols(self) -> list[bytes]:
        """See ``IProtocolNegotiationFactory``."""
        return list(ALPN_PROTOCOLS)
