"""The time limit for connecting, and heart-beats in both directions (STOMP 1.2, "Heart-beating")."""

from __future__ import annotations

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import MESSAGE
from tests.integration.raw import RawClient
from tests.integration.wire import BINARY, TEXT


class BeginningTests(DaemonTestCase):
    """``--connect-timeout`` covers the opening handshake and CONNECT together."""

    options = ("--connect-timeout=3", "--heart-beat=200,200")

    def test_no_connect(self) -> None:
        error, code = self.open().error()
        self.assertEqual((error.headers["message"], code), ("no CONNECT in time", 1008))

    def test_no_connect_but_beats(self) -> None:
        """Bytes before CONNECT do not extend the time limit."""
        client = self.open()
        while not client.has_data(0.1):
            client.send_frame(TEXT, b"\n")
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("no CONNECT in time", 1008))

    def test_half_a_handshake(self) -> None:
        clients = [RawClient(self.daemon.port) for _ in range(2)]
        for client, sent in zip(clients, [0, 40], strict=True):
            self.addCleanup(client.abort)
            client.send_bytes(client.request[:sent])
        for client in clients:
            client.expect_end()


class SessionTests(DaemonTestCase):
    """``--connect-timeout`` does not end a session."""

    options = ("--connect-timeout=5", "--heart-beat=1000,1000")

    def test_connected_in_time(self) -> None:
        """Six heart-beats of the server take longer than the limit."""
        client = self.open()
        client.connect(heart_beat="0,1000")
        for _ in range(6):
            self.assertEqual(client.frame().payload, b"\n")
        client.disconnect()


class BeatTests(DaemonTestCase):
    """The negotiated heart-beats."""

    options = ("--heart-beat=200,200", "--heart-beat-grace=5")

    def test_server_beats(self) -> None:
        """A heart-beat is a text message with one EOL; the negotiated interval is kept."""
        for version in ["1.1", "1.2"]:
            client = self.open()
            connected = client.connect(version, heart_beat="0,300")
            self.assertEqual(connected.headers["heart-beat"], "200,200")
            client.subscribe(MESSAGE, "0")
            for _ in range(3):
                frame = client.frame()
                self.assertEqual((frame.opcode, frame.fin, frame.payload), (TEXT, True, b"\n"))

    def test_none_without_agreement(self) -> None:
        """A client of 1.0, and one with ``heart-beat:0,0``, gets none while another client gets five."""
        old, off = self.open(), self.open()
        old.connect("1.0", heart_beat="100,100")
        off.connect("1.2", heart_beat="0,0")
        measure = self.open()
        measure.connect("1.2", heart_beat="0,200")
        for _ in range(5):
            self.assertEqual(measure.frame().payload, b"\n")
        self.assertFalse(old.has_data(0.001))
        self.assertFalse(off.has_data(0.001))
        old.disconnect()
        off.disconnect()

    def test_silent_client(self) -> None:
        """A client that promised heart-beats and sends none is closed after the grace."""
        client = self.open()
        client.connect("1.2", heart_beat="200,0")
        self.assertFalse(client.has_data(0.5))
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("no heart-beat in time", 1008))

    def test_beating_client(self) -> None:
        """A client with heart-beats, in text or binary messages, stays connected while a silent one is closed."""
        beating, silent = self.open(), self.open()
        beating.connect("1.2", heart_beat="200,0")
        silent.connect("1.2", heart_beat="200,0")
        opcode = TEXT
        while not silent.has_data(0.1):
            opcode = BINARY if opcode == TEXT else TEXT
            beating.send_frame(opcode, b"\n")
        silent.error()
        beating.disconnect()
