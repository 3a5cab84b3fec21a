"""The opening handshake on Autobahn: its options, its bounds, and who is let in (RFC 6455, section 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IReactorCore
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from airyd import __version__
from airyd.deflate import agree
from airyd.encoding import Framing
from airyd.gateway import Gateway
from airyd.interfaces import Opening
from airyd.limits import WEBSOCKET_MESSAGE
from airyd.origins import OriginPolicy, describe_refusal
from airyd.stomp.spec import Version

#: The subprotocols of STOMP, best first.
SUBPROTOCOLS: Final = tuple(version.rules.subprotocol for version in reversed(Version))

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_HEAD_END: Final = b"\r\n\r\n"
_EXTENSIONS: Final = re.compile(rb"\r\nsec-websocket-extensions:([^\r\n]*)", re.IGNORECASE)


class OpeningHandshake(WebSocketServerProtocol):
    """A connection up to the 101, or to the refusal.

    What Autobahn is to do is set as class attributes: it would copy options onto each connection otherwise. No slots
    of its own, so that it can be mixed with a protocol that has some.
    """

    __slots__ = ()

    factory: HandshakeFactory
    transport: Connection  # or what behaves like one, on TLS
    _log = Logger()

    logOctets = False
    logFrames = False
    trackTimings = False
    utf8validateIncoming = True
    requireMaskedClientFrames = True
    maskServerFrames = False
    # 0, Autobahn's default, would wait for a frame of 2^62 bytes. STOMP's own bounds are far below
    # and hold while a message arrives; this one is only for what isn't STOMP at all.
    maxFramePayloadSize = WEBSOCKET_MESSAGE
    maxMessagePayloadSize = WEBSOCKET_MESSAGE
    autoFragmentSize = 0
    failByDrop = False
    echoCloseCodeReason = False
    # The wheel has all deadlines.
    openHandshakeTimeout = 0
    closeHandshakeTimeout = 0
    tcpNoDelay = True
    autoPingInterval = 0
    autoPingTimeout = 0
    autoPingSize = 12
    autoPingRestartOnAnyTraffic = True
    versions = (13,)
    webStatus = False
    serveFlashSocketPolicy = False
    flashSocketPolicy = ""
    # Origins are checked in onConnect(), where a refusal can be a 403: here all pass.
    allowedOriginsPatterns = (re.compile(""),)
    allowNullOrigin = True
    maxConnections = 0
    trustXForwardedFor = 0

    def _dataReceived(self, data: bytes) -> None:
        # Autobahn has no bound on the request head; this holds while it arrives.
        if self.state == self.STATE_CONNECTING:
            limits = self.factory.gateway.limits
            head = self.data + data
            end = head.find(_HEAD_END)
            size = len(head) if end < 0 else end + len(_HEAD_END)
            if size > limits.request_head:
                self.failHandshake(f"The request head is longer than {limits.request_head} bytes.", _TOO_LARGE)
                return
            if head.count(b"\n", 0, size) > limits.headers + 2:  # the request line, and the empty one at the end
                self.failHandshake(f"The request has more than {limits.headers} headers.", _TOO_LARGE)
                return
            offers = _EXTENSIONS.findall(head, 0, end) if end >= 0 else ()
            if len(offers) > 1:  # a list may be split (RFC 6455, section 9.1); Autobahn would refuse that
                whole = b"\r\nSec-WebSocket-Extensions:" + b",".join(offers)
                self.data, data = b"", _EXTENSIONS.sub(b"", head[:end]) + whole + head[end:]
        if self.state != self.STATE_CLOSED:  # where Autobahn would collect it
            super()._dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> tuple[str | None, dict[str, str]]:
        """Decide on a valid opening handshake: the subprotocol and headers for the answer, or ``ConnectionDeny``."""
        # Autobahn would fail the handshake for a parameter that it doesn't know; here that only declines the extension.
        self.websocket_extensions: list[object] = []
        if request.path not in self.factory.paths:
            raise ConnectionDeny(int(HTTPStatus.NOT_FOUND), self.factory.nothing_here)
        origin = request.headers.get("origin")
        if origin is not None and not self.factory.origins.allows(origin, request.headers["host"]):
            self._log.info("{peer}: {refusal}", peer=self.peer, refusal=describe_refusal(origin))
            raise ConnectionDeny(int(HTTPStatus.FORBIDDEN), "This origin may not connect (option --origin).")
        authorization, cookie = request.headers.get("authorization"), request.headers.get("cookie")
        if authorization is not None or cookie is not None:
            self.opening_shown(Opening(authorization, cookie))
        subprotocol = next((each for each in SUBPROTOCOLS if each in request.protocols), None)
        if subprotocol is None and request.protocols:
            raise ConnectionDeny(int(HTTPStatus.BAD_REQUEST), f"The subprotocols here are {', '.join(SUBPROTOCOLS)}.")
        agreement = agree(request.extensions) if self.factory.compression else None
        if agreement is None:
            return subprotocol, {}
        self.compression_agreed(agreement.framing)
        return subprotocol, {"Sec-WebSocket-Extensions": agreement.answer}

    def compression_agreed(self, framing: Framing) -> None:
        """Learn that messages may be compressed, and what frames those to this client."""

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Answer an opening handshake with an HTTP error, and close."""
        headers = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
        if code == HTTPStatus.UPGRADE_REQUIRED and self.http_request_path not in self.factory.paths:
            code, reason = HTTPStatus.NOT_FOUND, self.factory.nothing_here
        elif code == HTTPStatus.UPGRADE_REQUIRED:
            headers |= {"Upgrade": "websocket", "Connection": "Upgrade, close"}
        elif responseHeaders is not None:  # Autobahn has some only for a version that isn't spoken
            code = HTTPStatus.UPGRADE_REQUIRED
            headers |= {"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Version": "13"}
        elif code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"
        elif reason.startswith("HTTP Origin header invalid"):
            code = HTTPStatus.FORBIDDEN
        body = f"{reason}\n".encode()
        headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = HTTPStatus(code)
        self.sendData(
            f"HTTP/1.1 {status} {status.phrase}\r\nServer: {self.factory.server}\r\n{lines}\r\n".encode() + body
        )
        self.factory.gateway.metrics.handshakes_refused[int(status)] += 1
        # The reason may quote the request, and that a token.
        self._log.info("{peer}: opening handshake refused with {code}", peer=self.peer, code=int(status))
        self.handshake_refused()
        self.wasClean = True  # for Autobahn: nothing to warn of
        self.dropConnection()

    def opening_shown(self, opening: Opening) -> None:
        """Learn what may be a login; its origin may connect."""

    def handshake_refused(self) -> None:
        """Learn that the answer to the opening handshake was an HTTP error; the connection closes."""


class HandshakeFactory(WebSocketServerFactory):
    """What all connections share.

    :param paths: those of the WebSocket
    :param origins: the web pages that may connect
    :param compression: whether to agree to compress messages
    """

    noisy = False

    def __init__(
        self,
        gateway: Gateway,
        paths: Sequence[str],
        origins: OriginPolicy,
        reactor: IReactorCore,
        compression: bool = True,
    ) -> None:
        super().__init__(server=f"airyd/{__version__}", reactor=reactor)
        self.gateway = gateway
        self.paths = frozenset(paths)
        self.nothing_here = f"There is nothing here; connect to {' or '.join(paths)}"
        self.origins = origins
        self.compression = compression
