"""The header of the PROXY protocol, in pieces, malformed, and from peers that are not trusted."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from airyd.listening.proxy_protocol import trusting_endpoint
from airyd.trusted_proxies import TrustedProxies
from tests.doubles import record_log

PROXY = IPv4Address("TCP", "192.0.2.1", 40000)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, rest: bytes = b"") -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + bytes((0x20 | command, family)) + struct.pack("!H", len(rest)) + rest


TCP4 = bytes((198, 51, 100, 7, 192, 0, 2, 1)) + struct.pack("!HH", 4000, 443)
TCP6 = bytes.fromhex("20010db8" + "0" * 23 + "1") * 2 + struct.pack("!HH", 4000, 443)
#: Valid headers, and whom they name; the proxy itself if they name nobody.
VALID = (
    (b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 443\r\n", "198.51.100.7"),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n", "2001:db8::1"),
    (b"PROXY UNKNOWN\r\n", "192.0.2.1"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "192.0.2.1"),
    (v2(1, 0x11, TCP4), "198.51.100.7"),
    (v2(1, 0x11, TCP4 + b"\x03\x00\x04\x01\x02\x03\x04"), "198.51.100.7"),
    (v2(1, 0x21, TCP6), "2001:db8:0:0:0:0:0:1"),
    (v2(1, 0x31, bytes(216)), "192.0.2.1"),
    (v2(0, 0x11, TCP4), "192.0.2.1"),
    (v2(0, 0), "192.0.2.1"),
    (v2(1, 0), "192.0.2.1"),
)
INVALID = (
    b"GET /ws.communication HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
    b"PROXY\r\n" + bytes(20),
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 198.51.100.7 192.0.2.1 4000 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 4000\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 x 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 65536\r\n",
    b"PROXY TCP4 evil 192.0.2.1 4000 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 4000 443\r\n",
    b"PROXY TCP4 198.51.100.7\n192.0.2.1 4000 443\r\n",
    b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    b"PROXY TCP4 " + b"1" * 100,
    v2(2, 0x11, TCP4),
    v2(1, 0x11, TCP4[:-1]),
    v2(1, 0x41, TCP4),
    v2(1, 0x11, TCP4 + bytes(5000)),
    SIGNATURE + b"\x11\x11\0\x0c" + TCP4,
)


class Wire(StringTransport):
    """A transport that can be aborted."""

    def getPeer(self) -> IAddress:
        """See ``ITransport``."""
        return PROXY


class Served(Protocol):
    """What is behind the header."""

    def __init__(self) -> None:
        self.received = b""
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        """See ``IProtocol``."""
        self.is_lost = True


class Place:
    """An endpoint that keeps its factory."""

    def listen(self, factory: Factory) -> Deferred[object]:
        """See ``IStreamServerEndpoint``."""
        self.factory = factory
        return succeed(object())


class HeaderTests(SynchronousTestCase):
    """Connections of a trusted proxy, unless the test says otherwise."""

    def setUp(self) -> None:
        place = Place()
        self.served: list[Served] = []

        def build(addr: object) -> Served:
            self.served.append(Served())
            return self.served[-1]

        factory = Factory()
        cast(Any, factory).buildProtocol = build
        trusting_endpoint(cast(Any, place), TrustedProxies(["192.0.2.0/24"])).listen(factory)
        self.factory: Any = place.factory

    def feed(self, *pieces: bytes) -> tuple[Served, Wire]:
        """Open a connection on which these bytes arrive."""
        protocol, wire = self.factory.buildProtocol(PROXY), Wire()
        protocol.makeConnection(wire)
        for piece in pieces:
            if not wire.disconnected:
                protocol.dataReceived(piece)
        return self.served[-1], wire

    def test_valid(self) -> None:
        """The address is the client's, and the bytes after the header arrive; cut anywhere."""
        for header, host in VALID:
            data = header + b"GET / HTTP/1.1\r\n"
            for cuts in ([], [1], [5], [8], [12], [16], [len(header) - 1], [len(header)], list(range(len(data)))):
                places = [0, *cuts, len(data)]
                served, _ = self.feed(*(data[start:end] for start, end in pairwise(places)))
                assert served.transport is not None
                self.assertEqual(cast(Any, served.transport.getPeer()).host, host, header)
                self.assertEqual(served.received, b"GET / HTTP/1.1\r\n", header)

    def test_invalid(self) -> None:
        """The connection is dropped; nothing reaches what is behind it, and the log does not repeat it."""
        log = record_log(self)
        for header in INVALID:
            for pieces in ([header], [header[:9], header[9:]]):
                served, wire = self.feed(*pieces)
                self.assertTrue(wire.disconnected, header)
                self.assertEqual(served.received, b"")
        self.assertEqual({event["reason"] for event in log}, {"its header is not valid"})
        self.assertNotIn("198.51.100.7", str(log))

    @given(st.binary(max_size=40), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]))
    def test_any_bytes(self, data: bytes, start: bytes) -> None:
        """No bytes raise an exception."""
        self.feed(start + data)
        self.feed(start, data)

    def test_lost(self) -> None:
        protocol, wire = self.factory.buildProtocol(PROXY), Wire()
        protocol.makeConnection(wire)
        protocol.connectionLost()
        self.assertTrue(self.served[-1].is_lost)

    def test_not_trusted(self) -> None:
        log = record_log(self)
        for address in (IPv4Address("TCP", "198.51.100.7", 1), UNIXAddress(None)):
            self.assertIsNone(self.factory.buildProtocol(address))
        self.assertEqual(self.served, [])
        self.assertEqual([event["host"] for event in log], ["198.51.100.7", "a unix socket"])
