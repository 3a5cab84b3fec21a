"""Autobahn's server protocol with a fraction of its memory per connection.

Autobahn keeps some seventy attributes on each connection. Here those that never change are the
class's, those that every connection needs are in slots, and what the opening handshake leaves
behind is dropped when it is over.

All of this touches names that are not Autobahn's API: setup.cfg pins its version, and
tests/websocket/test_autobahn.py fails when one of them changes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from autobahn.twisted.util import peer2str
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats, WebSocketProtocol
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure


class _Nobody:
    """Stands for the Deferreds of Autobahn that nobody waits for."""

    __slots__ = ()

    def callback(self, result: object) -> None:
        """Fire: nobody hears it."""


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
        return str(peer2str(self.transport)) if self.transport is not None else "nobody"

    @property
    def utf8validator(self) -> Utf8Validator:  # type: ignore[override]  # Autobahn sets it where this class doesn't let it
        """What checks the text of the message that is being received; made with the first byte of one."""
        if self._validator is None:
            self._validator = Utf8Validator()
        return self._validator

    def connectionMade(self) -> None:
        """Begin. Autobahn's own would look up details of the transport."""
        self.data = b""
        self._perMessageCompress = None
        self.state = self.STATE_CONNECTING
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End. Autobahn's own would cancel timers that there are none of, and say why the connection ended."""
        self.state = self.STATE_CLOSED

    def _onOpen(self) -> None:
        self.__dict__.clear()  # all of it is the handshake's
        self.onOpen()

    def onMessageEnd(self) -> None:
        """Forget the message: its bytes were handed on as they came."""
        self._validator = None
        self.current_frame_masker = None
        self.frame_data = None  # type: ignore[assignment]  # as Autobahn does itself
        self.utf8validateLast = None  # type: ignore[assignment]  # set anew with each message
