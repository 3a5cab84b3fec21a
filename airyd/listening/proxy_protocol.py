"""The PROXY protocol of ``haproxy:`` endpoints: its header is accepted from trusted proxies only.

Twisted reads the header (``twisted.protocols.haproxy``). airyd first checks that the peer is trusted, and that the
header is complete, short and valid: Twisted refuses the short form of UNKNOWN and a header that arrives in pieces, and
raises an exception for an unexpected number.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.trusted_proxies import TrustedProxies
from airyd.websocket.transport import direct_of, hide_client

#: The longest header of version 1 (the specification's section 2.1), with its CR LF.
_LONGEST_V1: Final = 107
_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: Bytes of version 2 before the addresses: the signature, version and command, family, and the length of the rest.
_V2_START: Final = 16
#: The most bytes after these: addresses, and extensions such as the name of a TLS certificate.
_LONGEST_V2: Final = 4096
#: Bytes of the addresses, by family (section 2.2): two of them, and two ports.
_V2_SIZES: Final = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
#: The family of unix sockets, in the upper half of the byte: the client connected to a socket on the proxy's machine.
_V2_UNIX: Final = 0x30
#: What Twisted gets of a header that does not name the client.
_NO_CLIENT: Final = b"PROXY UNKNOWN \r\n"
_V1_LINE: Final = re.compile(
    rb"PROXY (?:(?P<unknown>UNKNOWN)(?: [\x20-\x7e]*)?|TCP(?P<family>[46]) (?P<source>[0-9A-Fa-f:.]+) "
    rb"(?P<target>[0-9A-Fa-f:.]+) (?P<ports>[0-9]{1,5} [0-9]{1,5}))\r\n"
)


def trusting_endpoint(endpoint: IStreamServerEndpoint, proxies: TrustedProxies) -> IStreamServerEndpoint:
    """Return an endpoint that accepts connections with a header of the PROXY protocol from these proxies."""
    return cast(IStreamServerEndpoint, proxyEndpoint(cast(IStreamServerEndpoint, _CheckedEndpoint(endpoint, proxies))))


class BadHeader(Exception):
    """A connection does not begin with a valid header of the PROXY protocol."""


def read_header(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the header as Twisted reads it, and the bytes after it; None while it is incomplete.

    Raises :class:`BadHeader`.
    """
    if data.startswith(_V2):
        return _read_v2(data)
    if not (_V2.startswith(data) or data[: len(_V1)] == _V1[: len(data)]):
        raise BadHeader
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0 or not data.startswith(_V1):
        if len(data) >= _LONGEST_V1:
            raise BadHeader
        return None
    return _read_v1(data[: end + 2]), data[end + 2 :]


def _read_v1(line: bytes) -> bytes:
    found = _V1_LINE.fullmatch(line)
    if found is None:
        raise BadHeader
    if found["unknown"]:
        return _NO_CLIENT
    make = IPv4Address if found["family"] == b"4" else IPv6Address
    try:
        for each in (found["source"], found["target"]):
            make(each.decode("ascii"))
    except ValueError:
        raise BadHeader from None
    if any(int(port) > 65535 for port in found["ports"].split()):
        raise BadHeader
    return line


def _read_v2(data: bytes) -> tuple[bytes, bytes] | None:
    if len(data) < _V2_START:
        return None
    command, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21) or size > _LONGEST_V2:
        raise BadHeader
    if command == 0x21 and family not in _V2_SIZES and family >> 4 and family & 0xF:
        raise BadHeader
    if command == 0x21 and size < _V2_SIZES.get(family, 0):
        raise BadHeader
    if len(data) < _V2_START + size:
        return None
    # LOCAL, UNSPEC and unix sockets have no addresses that count.
    if command == 0x20 or family not in _V2_SIZES or family & 0xF0 == _V2_UNIX:
        return _NO_CLIENT, data[_V2_START + size :]
    return data[: _V2_START + size], data[_V2_START + size :]


@implementer(IStreamServerEndpoint)
class _CheckedEndpoint:
    """An endpoint whose connections are checked before Twisted reads the header."""

    def __init__(self, endpoint: IStreamServerEndpoint, proxies: TrustedProxies) -> None:
        self._endpoint = endpoint
        self._proxies = proxies

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See ``IStreamServerEndpoint``."""
        return self._endpoint.listen(cast(IProtocolFactory, CheckingFactory(protocolFactory, self._proxies)))


class CheckingFactory(Factory):
    """Makes protocols that check the header; drops connections of peers that are not trusted.

    :param wrapped: makes the protocols that read the header
    """

    noisy = False
    _log = Logger()

    def __init__(self, wrapped: IProtocolFactory, proxies: TrustedProxies) -> None:
        if isinstance(wrapped, Factory):
            wrapped.noisy = False  # Twisted's class for the protocol would log that it starts, as an object
        self._wrapped = wrapped
        self._proxies = proxies

    def doStart(self) -> None:
        """See ``IProtocolFactory``."""
        self._wrapped.doStart()

    def doStop(self) -> None:
        """See ``IProtocolFactory``."""
        self._wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """See ``IProtocolFactory``."""
        host = getattr(addr, "host", None)
        if not self._proxies.trusts(host):
            self.refuse(host, "it is not in --trust-proxy")
            return None
        wrapped = self._wrapped.buildProtocol(cast(IAddress, addr))
        return None if wrapped is None else _HeaderCheck(self, wrapped, host)

    def refuse(self, host: str | None, reason: str) -> None:
        """Log that a connection is dropped."""
        self._log.warn(
            "connection of {host} with the PROXY protocol dropped: {reason}",
            host=host or "a unix socket",
            reason=reason,
            once_a_minute=f"PROXY protocol: {reason}",
        )


class _HeaderCheck(Protocol):
    """Collects the header, checks it, and hands the connection to the protocol that reads it."""

    def __init__(self, factory: CheckingFactory, wrapped: IProtocol, host: str | None) -> None:
        self.factory = factory
        self._wrapped = wrapped
        self._host = host
        self._arrived = b""
        self._is_checked = False

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        assert self.transport is not None  # noqa: S101  # Twisted sets it first
        self._wrapped.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        if self._is_checked:
            self._wrapped.dataReceived(data)
            return
        self._arrived += data
        try:
            found = read_header(self._arrived)
        except BadHeader:
            self._arrived = b""
            cast(CheckingFactory, self.factory).refuse(self._host, "its header is not valid")
            cast(ITCPTransport, self.transport).abortConnection()
            return
        if found is not None:
            self._is_checked = True
            self._arrived = b""
            if found[0] == _NO_CLIENT:
                hide_client(self._wrapped)
            below = direct_of(self.transport)
            if below is self.transport and below is not None:
                below.protocol = self._wrapped  # this object is no longer needed
            self._wrapped.dataReceived(found[0] + found[1])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        self._wrapped.connectionLost(reason)
