"""RFC 6455 from the first frame on: what breaks it, and the close code that follows."""

from __future__ import annotations

import struct

from tests.integration.case import DaemonTestCase
from tests.integration.raw import RawClient
from tests.integration.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode, websocket_frame

HELLO = encode("CONNECT", {"accept-version": "1.2"})


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return websocket_frame(CLOSE, struct.pack("!H", code) + reason)


class ViolationTests(DaemonTestCase):
    """Each violation ends the connection with its close code, before and after CONNECT."""

    VIOLATIONS: tuple[tuple[str, bytes, int], ...] = (
        ("unmasked", websocket_frame(TEXT, b"\n", masked=False), 1002),
        ("unmasked ping", websocket_frame(PING, b"", masked=False), 1002),
        ("RSV1", websocket_frame(TEXT, b"\n", rsv=4), 1002),
        ("RSV3", websocket_frame(BINARY, b"\n", rsv=1), 1002),
        ("opcode 3", websocket_frame(3, b"\n"), 1002),
        ("opcode 11", websocket_frame(11, b""), 1002),
        ("fragmented ping", websocket_frame(PING, b"", fin=False), 1002),
        ("long ping", websocket_frame(PING, b"x" * 126), 1002),
        ("continuation of nothing", websocket_frame(CONTINUATION, b"\n"), 1002),
        ("text within fragments", websocket_frame(TEXT, b"\n", fin=False) + websocket_frame(TEXT, b"\n"), 1002),
        ("broken UTF-8", websocket_frame(TEXT, b"\n\xff\n"), 1007),
        ("a surrogate", websocket_frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("UTF-8 cut off", websocket_frame(TEXT, b"\n\xc3"), 1007),
        (
            "UTF-8 broken over fragments",
            websocket_frame(TEXT, b"\n\xc3", fin=False) + websocket_frame(CONTINUATION, b"\x28"),
            1007,
        ),
        ("17 MiB announced", websocket_frame(BINARY, b"x" * 100, length=17 << 20), 1009),
        ("2^62 bytes announced", websocket_frame(TEXT, b"x" * 100, length=1 << 62), 1009),
        ("close with one byte", websocket_frame(CLOSE, b"x"), 1002),
        ("close with 1005", close(1005), 1002),
        ("close with 999", close(999), 1002),
        ("close with a broken reason", close(1000, b"\xff"), 1007),
    )

    def check(self, connected: bool) -> None:
        """Try every violation, all at once."""
        clients = []
        for _, wire, _ in self.VIOLATIONS:
            client = self.connect() if connected else self.open()
            client.send_bytes(wire)
            clients.append(client)
        for client, (name, _, code) in zip(clients, self.VIOLATIONS, strict=True):
            self.assertEqual(client.close_code(), code, name)

    def test_before_connect(self) -> None:
        self.check(connected=False)

    def test_after_connect(self) -> None:
        """A session beside all these notices nothing."""
        witness = self.connect()
        self.check(connected=True)
        witness.disconnect()


class LongMessageTests(DaemonTestCase):
    """A message may hold many STOMP frames, but not without end."""

    def test_endless_fragments(self) -> None:
        client = self.connect()
        client.send_frame(TEXT, b"\n", fin=False)
        for _ in range(17):
            client.send_frame(CONTINUATION, b"\n" * (1 << 20), fin=False)
        self.assertEqual(client.close_code(), 1009)

    def test_many_frames_in_fragments(self) -> None:
        client = self.connect()
        frame = encode("BEGIN", {"transaction": "t"}) + encode("ABORT", {"transaction": "t"})
        client.send_frame(TEXT, b"", fin=False)
        for _ in range(50):
            client.send_frame(CONTINUATION, frame * 500, fin=False)
        client.send_frame(CONTINUATION, b"")
        client.disconnect()


class FrameTests(DaemonTestCase):
    """What is legal is taken."""

    def test_ping(self) -> None:
        client = self.open()
        for payload in [b"", b"hello", bytes(range(125))]:
            client.send_frame(PING, payload)
            self.assertEqual(client.frame()[2:], (PONG, payload))

    def test_ping_between_fragments(self) -> None:
        client = self.open()
        client.send_frame(TEXT, HELLO[:5], fin=False)
        client.send_frame(PING, b"between")
        self.assertEqual(client.frame()[2:], (PONG, b"between"))
        client.send_frame(CONTINUATION, HELLO[5:])
        client.expect("CONNECTED")

    def test_first_frame_behind_the_request(self) -> None:
        """A client that does not wait for the answer to its opening handshake loses nothing."""
        client = RawClient(self.daemon.port)
        self.addCleanup(client.abort)
        client.send_bytes(client.request + websocket_frame(TEXT, HELLO))
        self.assertEqual(client.response().status, 101)
        client.expect("CONNECTED")

    def test_pong_unasked(self) -> None:
        client = self.open()
        client.send_frame(PONG, b"for nothing")
        client.connect()

    def test_fragments_of_one_byte(self) -> None:
        client = self.open()
        client.send_frame(TEXT, b"", fin=False)
        for byte in HELLO:
            client.send_frame(CONTINUATION, bytes([byte]), fin=False)
        client.send_frame(CONTINUATION, b"")
        client.expect("CONNECTED")

    def test_wire_in_single_bytes(self) -> None:
        client = self.open()
        for byte in websocket_frame(TEXT, HELLO):
            client.send_bytes(bytes([byte]))
        client.expect("CONNECTED")

    def test_binary_and_empty_messages(self) -> None:
        client = self.open()
        client.send_frame(TEXT, b"")
        client.send_frame(BINARY, b"")
        client.send_frame(BINARY, HELLO)
        client.expect("CONNECTED")

    def test_close_is_answered(self) -> None:
        for code in [1000, 1001, 3000, 4999]:
            client = self.connect()
            client.send_bytes(close(code, b"bye"))
            self.assertIn(client.close_code(), (code, 1000))

    def test_end_without_close(self) -> None:
        """A client that just goes leaves nothing behind in the log (checked at each test's end)."""
        for leave in ["reset", "abort"]:
            for client in [self.open(), self.connect()]:
                client.send_bytes(b"\x81")
                getattr(client, leave)()
        self.connect().disconnect()
