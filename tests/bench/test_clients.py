"""Tests for bench.clients: what they send, read and count."""

from __future__ import annotations

import socket
import threading
import zlib

import pytest
from twisted.trial.unittest import SynchronousTestCase

from bench.clients import ClientFailed, Reader, Subscriber, connected, drain, frame, sent, subscribed
from tests.integration.daemon import Daemon


def pair(case: SynchronousTestCase) -> tuple[socket.socket, socket.socket]:
    """Return a server's and a client's end of a connection."""
    ends = socket.socketpair()
    for end in ends:
        case.addCleanup(end.close)
    return ends


class DrainTests(SynchronousTestCase):
    """A client has all events when as many frames have ended."""

    def test_frames_are_counted_by_their_ends(self) -> None:
        server, client = pair(self)
        server.sendall(b"first\0second\0")
        drain({client: 2}, b"\0")

    def test_bytes_are_counted(self) -> None:
        server, client = pair(self)
        server.sendall(b"first")
        drain({client: 5}, None)

    def test_more_than_there_were(self) -> None:
        server, client = pair(self)
        server.sendall(b"first\0second\0third\0")
        error = self.assertRaises(ClientFailed, drain, {client: 2}, b"\0")
        self.assertEqual(str(error), "more came than was sent")

    def test_more_may_come_if_that_is_said(self) -> None:
        server, client = pair(self)
        server.sendall(b"first\0second\0third\0")
        drain({client: 2}, b"\0", exactly=False)

    def test_a_lost_connection(self) -> None:
        server, client = pair(self)
        server.sendall(b"first\0")
        server.close()
        error = self.assertRaises(ClientFailed, drain, {client: 2}, b"\0")
        self.assertEqual(str(error), "a connection was closed by the server")

    def test_each_must_have_its_own(self) -> None:
        server, client = pair(self)
        slow_server, slow = pair(self)
        server.sendall(b"first\0")
        late = threading.Timer(0.05, slow_server.sendall, [b"first\0"])
        late.start()
        self.addCleanup(late.join)
        drain({client: 1, slow: 1}, b"\0")
        self.assertRaises(BlockingIOError, slow.recv, 1, socket.MSG_DONTWAIT)


class ReaderTests(SynchronousTestCase):
    """WebSocket messages, cut anywhere."""

    def test_short_and_long_ones(self) -> None:
        server, client = pair(self)
        reader = Reader(Subscriber(client, b"", b"\x81\x03one\x81\x7e"))
        server.sendall(b"\x00\xc8" + b"x" * 200)
        self.assertEqual(reader.read(2), ([b"one", b"x" * 200], 5 + 204))

    def test_compressed_ones_share_a_history(self) -> None:
        server, client = pair(self)
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        size = 0
        for _ in range(2):
            wire = deflate.compress(b"the same text again") + deflate.flush(zlib.Z_SYNC_FLUSH)
            wire = wire.removesuffix(b"\0\0\xff\xff")
            server.sendall(bytes((0xC1, len(wire))) + wire)
            size += 2 + len(wire)
        self.assertEqual(Reader(Subscriber(client, b"", b"")).read(2), ([b"the same text again"] * 2, size))


@pytest.mark.integration
class DaemonTests(SynchronousTestCase):
    """Against airyd itself."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon("--auth=anonymous:send")
        self.addCleanup(self.daemon.kill)

    def test_a_subscriber_gets_what_is_published_and_can_resume(self) -> None:
        path = "/ws.communication"
        body = b'{"conversation_id":"c","message":{"id":"m","content":"hello"}}'
        subscriber = subscribed(self.daemon.port, path)
        publisher = connected(self.daemon.port, path)
        publisher.sendall(sent(body))
        ((message,), _) = Reader(subscriber).read(1)
        self.assertTrue(message.endswith(b"\n\n" + body + b"\0"), message)
        returned = subscribed(self.daemon.port, path, name="again", after=subscriber.position)
        ((message,), _) = Reader(returned).read(1)
        self.assertTrue(message.endswith(b"\n\n" + body + b"\0"), message)
        for each in (subscriber.socket, publisher, returned.socket):
            each.close()

    def test_what_is_no_websocket_is_said(self) -> None:
        error = self.assertRaises(ClientFailed, connected, self.daemon.port, "/elsewhere")
        self.assertIn("no WebSocket: HTTP/1.1 404", str(error))


class FrameTests(SynchronousTestCase):
    """What clients send."""

    def test_short_and_long(self) -> None:
        self.assertEqual(frame("CONNECT", {"a": "b"}), b"\x81\x8e\0\0\0\0CONNECT\na:b\n\n\0")
        long = frame("SEND", {}, b"x" * 300)
        self.assertEqual(long[:8], b"\x81\xfe\x01\x33\0\0\0\0")
        self.assertEqual(len(long), 8 + 0x133)
