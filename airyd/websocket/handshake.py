"""The opening handshake: its bounds, who is let in (RFC 6455, section 4.2), and Autobahn's options.

airyd reads the request itself, and Autobahn answers it. Autobahn's own reading ends lines at bytes that are content to
a proxy (``str.splitlines``), so that a header could be hidden in another. The answer is ``succeedHandshake``, which
needs ``_wskey``, ``websocket_version``, ``websocket_protocols`` and ``websocket_extensions``; a list of extensions is
split by ``_parseExtensionsHeader``. None of these is Autobahn's API: tests/websocket/test_autobahn.py says what they
must do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorCore
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from zope.interface import implementer

from airyd import __version__
from airyd.client.context import ClientContext
from airyd.errors import RequestRefused
from airyd.interfaces import Opening
from airyd.limits import WEBSOCKET_MESSAGE
from airyd.request_head import RequestHead, RequestHeadReader, elements, is_token, parse_request_head
from airyd.stomp.message import Framing
from airyd.stomp.spec import Version
from airyd.tls import ALPN_PROTOCOLS, TLS_HANDSHAKE
from airyd.websocket.deflate import agree
from airyd.websocket.origin import OriginPolicy, describe_refusal

#: The subprotocols of STOMP, best first.
SUBPROTOCOLS: Final = tuple(version.rules.subprotocol for version in reversed(Version))

_VERSION: Final = "13"
#: 16 bytes in base64 (RFC 6455, section 4.1).
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")


class OpeningHandshakeRequest(NamedTuple):
    """What a proper opening handshake asks for.

    :ivar key: the ``Sec-WebSocket-Key``
    :ivar subprotocol: the best of those offered; None if none is offered
    :ivar extensions: the ``Sec-WebSocket-Extensions``, ASCII; empty for none
    """

    key: str
    subprotocol: str | None
    extensions: str


class OpeningHandshake(WebSocketServerProtocol):
    """A connection up to the 101, or to the refusal.

    What Autobahn is to do is set as class attributes: it would copy options onto each connection otherwise. No slots
    of its own, so that it can be mixed with a protocol that has some.
    """

    __slots__ = ()

    #: What has arrived of the request head.
    _reader: RequestHeadReader | None = None

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

    def _dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CONNECTING:
            try:
                self._read_request(data)
            except RequestRefused as refused:
                self.refuse(refused)
        elif self.state != self.STATE_CLOSED:  # where Autobahn would collect it
            super()._dataReceived(data)

    def _read_request(self, data: bytes) -> None:
        """Take bytes of the opening handshake; answer it with 101 when all of it is here.

        Errors: ``RequestRefused``.
        """
        if self._reader is None:
            if data.startswith(TLS_HANDSHAKE):
                raise RequestRefused("This port does not speak TLS: use ws:// in place of wss://.")
            limits = self.factory.gateway.limits
            self._reader = RequestHeadReader(limits.request_head, limits.headers)
        whole = self._reader.feed(data)
        if whole is None:
            return
        head = parse_request_head(whole[0])
        asked = read_opening_handshake(head, self.factory.paths)
        origin = head.fields.get("origin")
        if origin is not None and not self.factory.origins.allows(origin, head.host):
            raise RequestRefused(describe_refusal(origin), HTTPStatus.FORBIDDEN)
        if "authorization" in head.fields or "cookie" in head.fields:
            self.opening_shown(Opening(head.fields.get("authorization"), head.fields.get("cookie")))
        self._accept(asked, whole[1])

    def _accept(self, asked: OpeningHandshakeRequest, rest: bytes) -> None:
        """Let Autobahn answer with 101, and read what follows the request."""
        self._reader = None
        self.data = rest
        # What Autobahn's own reading of the request would leave behind for its answer.
        self._wskey = asked.key
        self.websocket_version = int(_VERSION)
        self.websocket_protocols = [] if asked.subprotocol is None else [asked.subprotocol]
        self.websocket_extensions: list[object] = []
        headers: dict[str, str] = {}
        if asked.extensions and self.factory.compression:
            agreement = agree(self._parseExtensionsHeader(asked.extensions))
            if agreement is not None:
                self.compression_agreed(agreement.framing)
                headers["Sec-WebSocket-Extensions"] = agreement.answer
        self.succeedHandshake((asked.subprotocol, headers))

    def compression_agreed(self, framing: Framing) -> None:
        """Learn that messages may be compressed, and what frames those to this client."""

    def refuse(self, refused: RequestRefused) -> None:
        """Answer the opening handshake with an HTTP error, and close."""
        body = f"{refused.reason}\n".encode()
        headers = {
            "Server": self.factory.server,
            "Content-Type": "text/plain; charset=utf-8",
            "Connection": "close",
            **refused.headers,
            "Content-Length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = refused.status
        has_body = self._reader is None or self._reader.wants_body
        self._reader = None
        self.sendData(f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + (body if has_body else b""))
        self.factory.gateway.metrics.handshakes_refused[int(status)] += 1
        self._log.info(
            "{peer}: opening handshake refused with {code}: {reason}",
            peer=self.peer,
            code=int(status),
            reason=refused.reason,
            once_a_minute=f"handshake {int(status)}",
        )
        self.handshake_refused()
        self.wasClean = True  # for Autobahn: nothing to warn of
        self.dropConnection()

    def opening_shown(self, opening: Opening) -> None:
        """Learn what may be a login; its origin may connect."""

    def handshake_refused(self) -> None:
        """Learn that the answer to the opening handshake was an HTTP error; the connection closes."""


def read_opening_handshake(head: RequestHead, paths: Sequence[str]) -> OpeningHandshakeRequest:
    """Return what a request asks for, if it opens the WebSocket on one of these paths (RFC 6455, section 4.2.1).

    Errors: ``RequestRefused``.
    """
    fields = head.fields
    if head.method != "GET":
        raise RequestRefused("The method must be GET.", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
    # Behind a proxy that takes what follows for a body, WebSocket frames could be read as the next request.
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        raise RequestRefused(
            "A WebSocket's opening handshake has no body: leave out Content-Length and Transfer-Encoding."
        )
    if head.path not in paths:
        raise RequestRefused(f"There is nothing here; connect to {' or '.join(paths)}", HTTPStatus.NOT_FOUND)
    if "upgrade" not in fields:
        raise _upgrade_required("This is a WebSocket: the request must have the header Upgrade: websocket.")
    if "websocket" not in elements(fields["upgrade"].lower()):
        raise RequestRefused("The Upgrade header must name websocket.")
    if "upgrade" not in elements(fields.get("connection", "").lower()):
        raise RequestRefused("The Connection header must name Upgrade.")
    version = fields.get("sec-websocket-version", "")
    if version != _VERSION:
        if re.fullmatch("[0-9]{1,3}", version):
            raise _upgrade_required(f"Sec-WebSocket-Version must be {_VERSION}.", {"Sec-WebSocket-Version": _VERSION})
        raise RequestRefused(f"The request must have the header Sec-WebSocket-Version: {_VERSION}.")
    key = fields.get("sec-websocket-key", "")
    if not _KEY.fullmatch(key):
        raise RequestRefused("Sec-WebSocket-Key must be 16 bytes in base64.")
    extensions = fields.get("sec-websocket-extensions", "")
    if not extensions.isascii():
        raise RequestRefused("The Sec-WebSocket-Extensions header must be ASCII.")
    return OpeningHandshakeRequest(key, _subprotocol(fields.get("sec-websocket-protocol")), extensions)


def _subprotocol(header: str | None) -> str | None:
    """Return the best subprotocol of those offered; None if there is no ``Sec-WebSocket-Protocol``."""
    if header is None:
        return None
    offered = elements(header)
    if len(set(offered)) < len(offered) or not all(map(is_token, offered)):
        raise RequestRefused("Sec-WebSocket-Protocol must be a list of names, each of them once.")
    for each in SUBPROTOCOLS:
        if each in offered:
            return each
    raise RequestRefused(f"The subprotocols here are {', '.join(SUBPROTOCOLS)}.")


def _upgrade_required(reason: str, more: Mapping[str, str] | None = None) -> RequestRefused:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade, close", **(more or {})}
    return RequestRefused(reason, HTTPStatus.UPGRADE_REQUIRED, headers)


@implementer(IProtocolNegotiationFactory)
class HandshakeFactory(WebSocketServerFactory):
    """What all connections share.

    :param paths: those of the WebSocket
    :param origins: the web pages that may connect
    :param compression: whether to agree to compress messages
    """

    noisy = False

    def __init__(
        self,
        gateway: ClientContext,
        paths: Sequence[str],
        origins: OriginPolicy,
        reactor: IReactorCore,
        compression: bool = True,
    ) -> None:
        super().__init__(server=f"airyd/{__version__}", reactor=reactor)
        self.gateway = gateway
        self.paths = paths
        self.origins = origins
        self.compression = compression

    def acceptableProtocols(self) -> list[bytes]:
        """See ``IProtocolNegotiationFactory``."""
        return list(ALPN_PROTOCOLS)
