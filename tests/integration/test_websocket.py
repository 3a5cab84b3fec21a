"""RFC 6455 on real sockets: violations, long messages, closes. ``tests.websocket.test_rfc6455`` has valid messages."""

from __future__ import annotations

from tests.integration.case import DaemonTestCase
from tests.integration.raw import RawClient
from tests.integration.wire import CONTINUATION, TEXT, encode, websocket_frame
from tests.websocket.case import close_frame
from tests.websocket.test_rfc6455 import VIOLATIONS

HELLO = encode("CONNECT", {"accept-version": "1.2"})


class ViolationTests(DaemonTestCase):
    """Each violation ends the connection with its close code, before and after CONNECT."""

    def check(self, connected: bool) -> None:
        """Commit every violation, on one connection each."""
        clients = []
        for _, wire, _ in VIOLATIONS:
            client = self.connect() if connected else self.open()
            client.send_bytes(wire)
            clients.append(client)
        for client, (name, _, code) in zip(clients, VIOLATIONS, strict=True):
            self.assertEqual(client.close_code(), code, name)

    def test_before_connect(self) -> None:
        self.check(connected=False)

    def test_after_connect(self) -> None:
        """Other sessions are not affected."""
        witness = self.connect()
        self.check(connected=True)
        witness.disconnect()


class LongMessageTests(DaemonTestCase):
    """A message may have many STOMP frames, up to a limit."""

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


class BeginningAndEndTests(DaemonTestCase):
    """The first and the last WebSocket frame."""

    def test_first_frame_behind_the_request(self) -> None:
        """A client that does not wait for the answer to its opening handshake loses nothing."""
        client = RawClient(self.daemon.port)
        self.addCleanup(client.abort)
        client.send_bytes(client.request + websocket_frame(TEXT, HELLO))
        self.assertEqual(client.response().status, 101)
        client.expect("CONNECTED")

    def test_close_is_answered(self) -> None:
        for code in [1000, 1001, 3000, 4999]:
            client = self.connect()
            client.send_bytes(close_frame(code, b"bye"))
            self.assertIn(client.close_code(), (code, 1000))

    def test_end_without_close(self) -> None:
        """A client that vanishes causes no complaint in the log (checked at the end of each test)."""
        for leave in ["reset", "abort"]:
            for client in [self.open(), self.connect()]:
                client.send_bytes(b"\x81")
                getattr(client, leave)()
        self.connect().disconnect()
