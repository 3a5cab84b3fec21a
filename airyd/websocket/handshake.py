"""The WebSocket opening handshake (RFC 6455, section 4.2): its limits, which requests are accepted, and the response.

airyd reads and answers the request itself. Autobahn splits lines with ``str.splitlines``, also at bytes that are
content for a proxy, so that a header could be hidden in another.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from airyd import __version__
from airyd.errors import RequestRefused
from airyd.interfaces import NO_OPENING, Opening
from airyd.request_head import RequestHead, RequestHeadReader, elements, is_token, parse_request_head
from airyd.stomp.message import Framing
from airyd.stomp.spec import Version
from airyd.tls import TLS_HANDSHAKE
from airyd.trusted_proxies import NO_PROXIES, TrustedProxies
from airyd.websocket.deflate import agree, parse_extensions
from airyd.websocket.origin import OriginPolicy, describe_refusal

#: The subprotocols of STOMP, best first.
SUBPROTOCOLS: Final = tuple(version.rules.subprotocol for version in reversed(Version))

_VERSION: Final = "13"
#: 16 bytes in base64 (RFC 6455, section 4.1).
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
#: What a server appends to the key before it hashes it (RFC 6455, section 4.2.2).
_KEY_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SERVER: Final = f"airyd/{__version__}"
#: What follows the value of ``Sec-WebSocket-Accept`` in the response that accepts.
ACCEPT_END: Final = b"\r\n\r\n"


class HandshakePolicy(NamedTuple):
    """The settings that decide which opening handshakes are accepted.

    :ivar paths: the paths of the WebSocket
    :ivar origins: the web pages that may connect
    :ivar compression: whether to agree to compress messages
    :ivar head_bytes: the most bytes of a request head, without a token
    :ivar head_fields: the most headers in it
    :ivar token_bytes: the most bytes of a token in it
    :ivar token_fields: the names of the headers that may hold the token, in lower case
    :ivar proxies: the proxies that may pass on a client's address
    """

    paths: Sequence[str]
    origins: OriginPolicy
    compression: bool
    head_bytes: int
    head_fields: int
    token_bytes: int = 0
    token_fields: Sequence[str] = ()
    proxies: TrustedProxies = NO_PROXIES


class HandshakeRequest(NamedTuple):
    """What a valid opening handshake requests.

    :ivar key: the ``Sec-WebSocket-Key``
    :ivar subprotocol: the best of those offered; None if none is offered
    :ivar extensions: the ``Sec-WebSocket-Extensions``, ASCII; empty for none
    """

    key: str
    subprotocol: str | None
    extensions: str


class HandshakeAccepted(NamedTuple):
    """The result of an accepted opening handshake.

    :ivar answer: the HTTP response
    :ivar framing: the framing with compression, if that was negotiated; else None
    :ivar rest: the bytes that followed the request
    :ivar token_bytes: the bytes of the request head that did not count for its limit, because they are a token's
    :ivar agent: the ``User-Agent``, if there is one
    """

    answer: bytes
    framing: Framing | None
    rest: bytes
    token_bytes: int
    agent: str | None


class OpeningHandshake:
    """One client's opening handshake, which is kept until the client's CONNECT takes the opening.

    :ivar opening: the request's headers that may hold credentials, if its origin may connect
    :ivar forwarded: the header in which a proxy passes on the client's address, if any proxy is trusted
    """

    __slots__ = ("_policy", "_reader", "forwarded", "opening")

    def __init__(self, policy: HandshakePolicy) -> None:
        self._policy = policy
        self._reader: RequestHeadReader | None = None
        self.opening = NO_OPENING
        self.forwarded: str | None = None

    def read(self, data: bytes) -> HandshakeAccepted | None:
        """Read a piece of the request; return None while its head is incomplete.

        Errors: ``RequestRefused``.
        """
        policy = self._policy
        if self._reader is None:
            if data.startswith(TLS_HANDSHAKE):
                raise RequestRefused("This port does not speak TLS: use ws:// in place of wss://.")
            self._reader = RequestHeadReader(
                policy.head_bytes, policy.head_fields, policy.token_bytes, policy.token_fields
            )
        whole = self._reader.feed(data)
        if whole is None:
            return None
        head = parse_request_head(whole[0])
        if policy.proxies:
            self.forwarded = head.fields.get(policy.proxies.header)
        request = read_opening_handshake(head, policy.paths)
        origin = head.fields.get("origin")
        if origin is not None and not policy.origins.allows(origin, head.host):
            raise RequestRefused(describe_refusal(origin), HTTPStatus.FORBIDDEN)
        if "authorization" in head.fields or "cookie" in head.fields:
            self.opening = Opening(head.fields.get("authorization"), head.fields.get("cookie"))
        self._reader = None
        agreement = None
        if request.extensions and policy.compression:
            agreement = agree(parse_extensions(request.extensions))
        token_bytes = max(len(whole[0]) - policy.head_bytes, 0)
        agent = head.fields.get("user-agent")
        if agreement is None:
            return HandshakeAccepted(_switching_protocols(request, None), None, whole[1], token_bytes, agent)
        answer = _switching_protocols(request, agreement.answer)
        return HandshakeAccepted(answer, agreement.framing, whole[1], token_bytes, agent)

    def refusal(self, refused: RequestRefused) -> bytes:
        """Return the HTTP response that refuses the request, which may be incomplete."""
        body = f"{refused.reason}\n".encode()
        headers = {
            "Server": _SERVER,
            "Content-Type": "text/plain; charset=utf-8",
            "Connection": "close",
            **refused.headers,
            "Content-Length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = refused.status
        has_body = self._reader is None or self._reader.wants_body
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode()
        return head + body if has_body else head


def _switching_protocols(request: HandshakeRequest, extensions: str | None) -> bytes:
    """Return the HTTP response that accepts an opening handshake (RFC 6455, section 4.2.2)."""
    extension_line = "" if extensions is None else f"Sec-WebSocket-Extensions: {extensions}\r\n"
    subprotocol_line = "" if request.subprotocol is None else f"Sec-WebSocket-Protocol: {request.subprotocol}\r\n"
    head = (
        f"HTTP/1.1 101 Switching Protocols\r\nServer: {_SERVER}\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        f"{extension_line}{subprotocol_line}Sec-WebSocket-Accept: "
    )
    return head.encode() + accept_key(request.key.encode()) + ACCEPT_END


def accept_key(key: bytes) -> bytes:
    """Return the value of ``Sec-WebSocket-Accept`` for a client's key (RFC 6455, section 4.2.2)."""
    # The key is the client's nonce, and the hash protects no secret.
    digest = hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False)


def read_opening_handshake(head: RequestHead, paths: Sequence[str]) -> HandshakeRequest:
    """Validate a request to open the WebSocket on one of these paths (RFC 6455, section 4.2.1).

    Errors: ``RequestRefused``.
    """
    fields = head.fields
    if head.method != "GET":
        raise RequestRefused("The method must be GET.", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
    # A proxy that expects a body could forward WebSocket frames in a way that they are read as the next request.
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
    return HandshakeRequest(key, _subprotocol(fields.get("sec-websocket-protocol")), extensions)


def _subprotocol(header: str | None) -> str | None:
    """Return the best subprotocol of those offered; None if there is no ``Sec-WebSocket-Protocol``."""
    if header is None:
        return None
    offered = elements(header)
    if len(set(offered)) < len(offered) or not all(map(is_token, offered)):
        raise RequestRefused("Sec-WebSocket-Protocol must be a list of names without duplicates.")
    for each in SUBPROTOCOLS:
        if each in offered:
            return each
    raise RequestRefused(f"The supported subprotocols are {', '.join(SUBPROTOCOLS)}.")


def _upgrade_required(reason: str, more: Mapping[str, str] | None = None) -> RequestRefused:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade, close", **(more or {})}
    return RequestRefused(reason, HTTPStatus.UPGRADE_REQUIRED, headers)
