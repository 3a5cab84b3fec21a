"""A server's end of one WebSocket (RFC 6455): reads what comes, opens and closes.

Autobahn is the WebSocket implementation: it reads frames, judges what breaks a rule, answers pings, and shakes hands on
the close. This is the one module that knows it from inside. Messages that are here as a whole are read without it
(2 µs each, where Autobahn takes 11 for a frame), and so is the opening handshake (``airyd.websocket.handshake``).

Autobahn keeps some seventy attributes on each connection. Here those that never change are the class's, those that an
idle connection needs are in slots, and the others are in the instance's ``__dict__``, which is deleted with the end of
each frame that Autobahn reads.

These names are no API of Autobahn's. setup.cfg pins its version, and tests/websocket/test_autobahn.py says what each
of them must do.

=============================== ========================================================================================
``processData``                 called: reads one step on in ``data``, whatever it begins with
``data``, ``state``             set: the bytes that have not been read, and the state that the opening handshake ends in
``current_frame``, its          read: whether a frame has begun, which opcode it has and how it is masked
``current_frame_masker``
``inside_message``              read: whether the next frame continues a message
``onFrameBegin``                extended: each message gets its own UTF-8 validator and inflater
``onFrameData``                 extended: unmasks, and stops where the inflater's budget ends
``onFrameEnd``                  extended: forgets what belonged to the frame
``utf8validator``               set: checks text in 0.7 µs, where Autobahn's own takes 3.7
``_perMessageCompress``         set: inflates what comes compressed; None: RSV1 breaks a rule
``_isMessageCompressed``        read: whether the inflater is in use
``message_data_total_length``   set to 0 where a message begins: what bounds the message over its frames
``sendData``                    replaced: what Autobahn sends goes out the same way as all else
``sendCloseFrame``              extended: nothing may be sent behind a close frame
``_closeConnection``            replaced: gives the client time to read the last frames
``failedByMe``, ``wasClean``    read: how the connection ended
``is_closed``, ``trafficStats`` constant: nobody waits for the one or reads the other
``autoPingPending``,            constant, as Autobahn begins with them; so are its options
``autoPingTimeoutCall``,
``closeHandshakeTimeoutCall``,
``trackedTimings``,
``wasNotCleanReason``,
``websocket_version``
``isServer``                    set on the factory, which Autobahn asks with each frame
``decompress_message_data``,    the inflater's methods that Autobahn calls
``start_decompress_message``,
``end_decompress_message``
=============================== ========================================================================================

``connectionMade``, ``connectionLost`` and ``dataReceived`` of Autobahn's are never called, so that it sets no
attributes and has no deadlines: all deadlines are on one timer wheel.
"""

from __future__ import annotations

import zlib
from codecs import utf_8_decode
from typing import Any, Final

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
from airyd.websocket.transport import READ_BYTES, DirectServer

_FIRST_CONTROL: Final = 8  # the lowest opcode of a control frame (RFC 6455, section 5.2)


class Utf8Validator:
    """Checks the text of a message in pieces, by Python's decoder; the methods are those that Autobahn calls."""

    __slots__ = ("_begun", "_count")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a message."""
        self._begun = b""  # the bytes of a character that isn't whole yet
        self._count = 0

    def validate(self, piece: bytes) -> tuple[bool, bool, int, int]:
        """Take a piece; return whether it is valid, whether it ends with a character, and twice the bytes up to here.

        For a piece that isn't valid they are those before the character that is at fault.
        """
        data = self._begun + piece
        try:
            _, read = utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            return False, False, self._count + error.start, self._count + error.start
        self._begun = data[read:]
        self._count += read
        if b"\xed\xa0" <= self._begun < b"\xee":  # half a surrogate pair, of which Python awaits the third byte
            return False, False, self._count, self._count
        return True, not self._begun, self._count, self._count


class _MessageInflater(Inflater):
    """An inflater as Autobahn calls it.

    :ivar is_scheduled: whether it will be asked for more in the next turn
    """

    __slots__ = ("is_scheduled",)

    #: For the text of Autobahn's complaints.
    EXTENSION_NAME: Final = EXTENSION

    def __init__(self, budget: int) -> None:
        super().__init__(budget)
        self.is_scheduled = False

    def start_decompress_message(self) -> None:
        """Begin."""
        self.reset()

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """Take a part of the message; return what may be given of it and of what came before.

        :param max_output_len: Autobahn's bound on the message, which it checks afterwards too: that is enough here
        :raises PayloadCorruptError: this is not deflated
        """
        try:
            return self.inflate(data)
        except zlib.error as error:
            raise PayloadCorruptError(str(error)) from error

    def end_decompress_message(self) -> None:
        """End.

        :raises PayloadCorruptError: the message was cut off
        """
        try:
            self.finish()
        except zlib.error as error:
            raise PayloadCorruptError(str(error)) from error


#: Stands on every connection that has agreed to compression, between its messages.
_NO_MESSAGE: Final = _MessageInflater(READ_BYTES)


class _UnusedDeferred:
    """Stands for a Deferred of Autobahn's that nobody waits for."""

    __slots__ = ()

    def callback(self, result: object) -> None:
        """Fire, for nobody."""


class WebSocketConnection(WebSocketServerProtocol):
    """One WebSocket.

    A subclass sends (:meth:`write`), ends the connection (:meth:`disconnect`), answers a refused opening handshake
    (:meth:`refuse`), and is told of a close frame (:meth:`close_frame_sent`).

    :ivar is_paused: whether nothing is to be handed on for now
    """

    __slots__ = (
        "_client",
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
    transport: Connection  # or what behaves like one, on TLS
    _client: Client
    _perMessageCompress: _MessageInflater | None  # type: ignore[assignment]  # Autobahn's type knows only None
    _isMessageCompressed: bool

    # Autobahn's options, and what it would set on each connection. Where one changes, the instance gets it.
    logFrames = False
    utf8validateIncoming = True
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = False  # see onFrameData()
    # 0, Autobahn's default, would wait for a frame of 2^62 bytes. STOMP's own bounds are far below
    # and hold while a message arrives; this one is only for what isn't STOMP at all.
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
        """Make a connection. Autobahn's own would make two Deferreds and a list of signals."""

    # What a subclass does.

    def write(self, data: bytes) -> None:
        """Send bytes, now or after what waits."""
        raise NotImplementedError

    def refuse(self, refused: RequestRefused) -> None:
        """Answer the opening handshake with an HTTP error, and close."""
        raise NotImplementedError

    def close_frame_sent(self) -> None:
        """Learn that a close frame was sent: by airyd, as a reply, or by Autobahn for a violation of RFC 6455."""
        raise NotImplementedError

    def disconnect(self, abort: bool) -> None:
        """End the transport's connection.

        :param abort: at once, even if something waits to be sent
        """
        raise NotImplementedError

    # The connection's life, as Twisted calls it.

    def connectionMade(self) -> None:
        """Begin (``IProtocol``)."""
        self.data = b""
        self.state = self.STATE_CONNECTING
        self.current_frame = None  # type: ignore[assignment]  # as Autobahn does itself
        self.inside_message = False
        self.is_paused = False
        self._perMessageCompress = None
        self._handshake: OpeningHandshake | None = OpeningHandshake(self.factory.policy)
        del self.__dict__  # an empty one would take 64 bytes

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End (``IProtocol``)."""
        self.state = self.STATE_CLOSED

    @property
    def peer(self) -> str:  # type: ignore[override]  # Autobahn sets it where this class doesn't let it
        """Who is at the other end, such as ``tcp4:127.0.0.1:5000``; made when it is asked for."""
        transport = self.transport
        if isinstance(transport, DirectServer):  # twice for each connection: 0.4 µs, where Autobahn's way takes 3
            host, port = transport.client[:2]
            return f"tcp{4 if len(transport.client) == 2 else 6}:{host}:{port}"
        return str(peer2str(transport)) if transport is not None else "nobody"

    @property
    def how_it_closed(self) -> str:
        """How the connection was closed, if not by airyd's STOMP: one of the kinds of ``airyd.metrics``."""
        if self.failedByMe:
            return CLOSED_WEBSOCKET
        return CLOSED_BY_CLIENT if self.wasClean else CLOSED_LOST

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        handshake, self._handshake = self._handshake, None
        return NO_OPENING if handshake is None else handshake.opening

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        """Read what came: the request head, then frames (``IProtocol``)."""
        self._client.heard()
        if self.state == self.STATE_CONNECTING:
            data = self._shake_hands(data)
        if data and self.state != self.STATE_CLOSED:
            self.data += data
            if not self._has_more:  # TLS may have had some more when reading was paused
                self._read_frames()

    def _shake_hands(self, data: bytes) -> bytes:
        """Read a piece of the request, and answer it when it is whole; return what follows it."""
        assert self._handshake is not None  # noqa: S101  # nobody asks for the opening before it is done
        try:
            accepted = self._handshake.read(data)
        except RequestRefused as refused:
            self.refuse(refused)
            return b""
        if accepted is None:
            return b""
        if accepted.framing is not None:
            self._perMessageCompress = _NO_MESSAGE
            self._client.framing = accepted.framing
        self.write(accepted.answer)
        self.state = self.STATE_OPEN
        return accepted.rest

    def _read_frames(self) -> None:
        """Read the frames that are here: whole messages at once, all else by Autobahn."""
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
        """Begin a frame, and a message unless it continues one; with RSV1 the message is compressed."""
        if not self.inside_message and self.current_frame.opcode < _FIRST_CONTROL:
            self.utf8validator = Utf8Validator()  # type: ignore[assignment]  # the methods are the same
            if self.current_frame.rsv and self._perMessageCompress is not None:
                self._perMessageCompress = _MessageInflater(self._perMessageCompress.budget)
        super().onFrameBegin()

    def onFrameData(self, payload: bytes) -> bool | None:
        """Take a piece of a frame's payload, which is still masked; False: read nothing more for now."""
        mask: Any = self.current_frame.mask  # Autobahn's type is wrong: it is bytes, or None
        if mask and payload:
            payload = unmask(payload, mask, self.current_frame_masker.pointer() - len(payload))
        if self.current_frame.opcode >= _FIRST_CONTROL or not self._isMessageCompressed:
            return super().onFrameData(payload)
        if self.state == self.STATE_OPEN and super().onFrameData(payload) is False:
            return False
        assert self._perMessageCompress is not None  # noqa: S101  # the message began with RSV1
        if self.state != self.STATE_OPEN:  # all that still matters is the client's close frame
            self._perMessageCompress.reset()
            return None
        return False if self._perMessageCompress.has_more else None

    def onFrameEnd(self) -> bool | None:
        """End a frame, and perhaps its message."""
        result = super().onFrameEnd()
        if self.state == self.STATE_OPEN and not self.inside_message:
            del self.__dict__  # all of it was the frame's: its payload was handed on as it came
        return result

    # What Autobahn gives out. Payload goes to the client as it arrives: no message is collected.

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

    # A compressed message that is longer than a turn may make it: nothing more is read until all of it was handed on.

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
        """See ``IChannel``. What has been read comes first."""
        self.is_paused = False
        if self._perMessageCompress is not None and self._has_more:
            self._read_in_next_turn(self._perMessageCompress)
        else:
            self.transport.resumeProducing()

    # What Autobahn sends and closes.

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send bytes of Autobahn's; it leaves the two last parameters as they are."""
        self.write(data)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Send a close frame, after which nothing may be sent."""
        self._client.ended()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self.close_frame_sent()

    def close_websocket(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        self.sendCloseFrame(code, reason.encode())

    def _closeConnection(self, abort: bool = False) -> None:
        # After a clean closing handshake Autobahn would abort; but an RST can make the client miss the close frame.
        self.disconnect(abort and not self.wasClean)


@implementer(IProtocolNegotiationFactory)
class WebSocketConnectionFactory(ServerFactory):
    """What all connections share.

    :ivar policy: which opening handshakes are accepted
    """

    noisy = False
    #: Autobahn asks for it with each frame.
    isServer = True

    def __init__(self, policy: HandshakePolicy, reactor: IReactorTime) -> None:
        self.policy = policy
        self.reactor = reactor

    def acceptableProtocols(self) -> list[bytes]:
        """See ``IProtocolNegotiationFactory``."""
        return list(ALPN_PROTOCOLS)
