"""Autobahn's server protocol with a fraction of its memory per connection.

Autobahn keeps some seventy attributes on each connection. Here those that never change are the
class's, those that every connection needs are in slots, and what the opening handshake leaves
behind is dropped when it is over.

All of this touches names that are not Autobahn's API: setup.cfg pins its version,
tests/websocket/test_autobahn.py fails when one of them changes, and ``--websocket stock`` does without.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections import deque
from typing import Any, Final

from autobahn.twisted.util import peer2str
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats, WebSocketProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from airyd.websocket.frames import unmask, whole_messages
from airyd.websocket.transport import DirectServer


class _Nobody:
    """Stands for the Deferreds of Autobahn that nobody waits for."""

    __slots__ = ()

    def callback(self, result: object) -> None:
        """Fire: nobody hears it."""


class Utf8Validator:
    """Checks the text of a message in pieces, by Python's decoder.

    Made and used for the one piece of most messages it takes 0.7 µs, Autobahn's own 3.7.
    """

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


_NOBODY: Final = _Nobody()
_NOT_COUNTED: Final = TrafficStats()


class LeanServerProtocol(WebSocketServerProtocol):
    """Autobahn's protocol, but for what it keeps; see the module."""

    __slots__ = (
        "_isMessageCompressed",
        "_perMessageCompress",
        "_validator",
        "connected",
        "control_frame_data",
        "current_frame",
        "current_frame_masker",
        "data",
        "factory",
        "frame_data",
        "frame_length",
        "inside_message",
        "message_data_total_length",
        "state",
        "transport",
        "utf8validateIncomingCurrentMessage",
        "utf8validateLast",
    )

    # The names of options that Autobahn copies from the factory onto each connection: all are the class's.
    CONFIG_ATTRS: list[str] = []  # noqa: RUF012  # Autobahn's type

    # See onFrameData().
    applyMask = False

    # What Autobahn sets on each connection to begin with. Where it changes later, the instance gets it.
    is_open = _NOBODY
    is_closed = _NOBODY
    trafficStats = _NOT_COUNTED
    trackedTimings = None  # type: ignore[assignment]  # Autobahn's type leaves None out
    websocket_version = 13
    send_state = WebSocketProtocol.SEND_STATE_GROUND
    send_queue: deque[object] = deque()  # noqa: RUF012  # for chopped sends, which airyd never asks for
    wasMaxFramePayloadSizeExceeded = False
    wasMaxMessagePayloadSizeExceeded = False
    closedByMe = False
    failedByMe = False
    droppedByMe = False
    wasClean = False
    wasNotCleanReason = None  # type: ignore[assignment]  # Autobahn's type leaves None out
    wasServingFlashSocketPolicyFile = False
    localCloseCode = None
    localCloseReason = None
    remoteCloseCode = None
    remoteCloseReason = None
    openHandshakeTimeoutCall = None
    closeHandshakeTimeoutCall = None
    autoPingTimeoutCall = None
    autoPingPending = None
    autoPingPendingCall = None

    def __init__(self) -> None:
        """Make a connection. Autobahn's own would make two Deferreds and a list of signals."""
        self._validator: Utf8Validator | None = None

    @property
    def peer(self) -> str:  # type: ignore[override]  # Autobahn sets it where this class doesn't let it
        """Who is at the other end, such as ``tcp4:127.0.0.1:5000``; made when it is asked for."""
        transport = self.transport
        if isinstance(transport, DirectServer):  # twice for each connection: 0.4 µs, where Autobahn's way takes 3
            host, port = transport.client[:2]
            return f"tcp{4 if len(transport.client) == 2 else 6}:{host}:{port}"
        return str(peer2str(transport)) if transport is not None else "nobody"

    @property
    def utf8validator(self) -> Utf8Validator:  # type: ignore[override]  # Autobahn sets it where this class doesn't let it
        """What checks the text of the message that is being received; made with the first byte of one."""
        if self._validator is None:
            self._validator = Utf8Validator()
        return self._validator

    def connectionMade(self) -> None:
        """Begin. Autobahn's own would look up details of the transport, and set TCP_NODELAY (``make_direct`` has)."""
        self.data = b""
        self._perMessageCompress = None
        self.state = self.STATE_CONNECTING

    def dataReceived(self, data: bytes) -> None:
        """Take what came. Autobahn's own would format a debug line first."""
        self._dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End. Autobahn's own would cancel timers that there are none of, and say why the connection ended."""
        self.state = self.STATE_CLOSED

    def _onOpen(self) -> None:
        del self.__dict__  # all of it is the handshake's; an empty one would take 64 bytes
        self.onOpen()

    def processData(self) -> bool:
        """Read on in what has arrived; return whether there may be more to read.

        Messages that are here as a whole go on together, 2 µs each, where Autobahn takes 11 for a frame. All else is
        left to it, so that it alone judges what breaks a rule.
        """
        if self.current_frame is None and not self.inside_message:
            messages, end = whole_messages(self.data)
            if messages:
                self.data = self.data[end:]
                self.onMessageFrameData(b"".join(messages))
                return bool(self.data)
        return super().processData()

    def onFrameData(self, payload: bytes) -> bool | None:
        """Take a piece of a frame's payload, which is still masked."""
        mask: Any = self.current_frame.mask  # Autobahn's type is wrong: it is bytes, or None
        if mask and payload:
            payload = unmask(payload, mask, self.current_frame_masker.pointer() - len(payload))
        return super().onFrameData(payload)

    def _onMessageEnd(self) -> None:
        # The message is forgotten: its bytes were handed on as they came.
        self.onMessageEnd()
        self._validator = None
        self.current_frame_masker = None
        self.frame_data = None  # type: ignore[assignment]  # as Autobahn does itself
        self.utf8validateLast = None  # type: ignore[assignment]  # set anew with each message
