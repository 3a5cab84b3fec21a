"""STOMP sessions with a raw client: versions, framing, receipts, DISCONNECT."""

from __future__ import annotations

import json

from airyd import __version__
from tests.integration.case import DaemonTestCase
from tests.integration.payloads import (
    CHANNEL_CONNECTED,
    DIFFICULT_TEXT,
    MESSAGE,
    body,
    number_of,
)
from tests.integration.raw import Closed
from tests.integration.wire import BINARY, TEXT, VERSIONS, decode, encode


class ConnectTests(DaemonTestCase):
    """CONNECT and CONNECTED in every version, whatever the subprotocol."""

    def test_versions(self) -> None:
        for version in VERSIONS:
            connected = self.open().connect(version)
            self.assertEqual(connected.headers["version"], version)
            self.assertEqual(connected.headers["server"], f"airyd/{__version__}")
            self.assertTrue(connected.headers["session"])
            self.assertEqual(connected.body, b"")

    def test_negotiation(self) -> None:
        for accept, version in [
            (None, "1.0"),
            ("1.0", "1.0"),
            ("1.0,1.1,1.2", "1.2"),
            ("1.2,1.1,1.0", "1.2"),
            ("1.1,2.0", "1.1"),
            ("1.0,1.1", "1.1"),
        ]:
            client = self.open(protocols=[])
            client.version = version
            client.send("CONNECT", {} if accept is None else {"accept-version": accept})
            self.assertEqual(client.expect("CONNECTED").headers["version"], version, accept)

    def test_header_decides_not_the_subprotocol(self) -> None:
        self.open(protocols=["v12.stomp"]).connect("1.0")
        self.open(protocols=["v10.stomp"]).connect("1.2")

    def test_no_common_version(self) -> None:
        client = self.open()
        client.send("CONNECT", {"accept-version": "1.3,2.0"})
        error, code = client.error()
        self.assertEqual(error.headers["version"].replace(" ", ""), "1.0,1.1,1.2")
        self.assertEqual((error.headers["message"], code), ("no common protocol version", 1002))

    def test_stomp_command(self) -> None:
        client = self.open()
        client.send("STOMP", {"accept-version": "1.2", "host": "whatever.example"})
        client.expect("CONNECTED")

    def test_airy_headers(self) -> None:
        """Airy's client sends a token and no ``host``; the anonymous server accepts that."""
        for token in ["Bearer a.b.c", "a.b.c"]:
            client = self.open()
            connected = client.connect("1.2", Authorization=token, heart_beat="30000,30000")
            self.assertEqual(connected.headers["heart-beat"], "30000,30000")
            self.assertNotIn("a.b.c", self.daemon.log)


class FramingTests(DaemonTestCase):
    """The server sends one STOMP frame per text message; a client may cut and join frames anywhere."""

    def test_one_frame_per_message(self) -> None:
        """Events that arrive together leave as separate text messages (``decode`` checks that)."""
        client = self.connect()
        client.subscribe(MESSAGE, "sub-0")
        bodies = [body(MESSAGE, n, DIFFICULT_TEXT * (n % 5)) for n in range(60)]
        client.send_frame(TEXT, b"".join(encode("SEND", {"destination": MESSAGE}, data) for data in bodies))
        for data in bodies:
            message = client.message("sub-0")
            self.assertEqual((message.body, message.opcode), (data, TEXT))

    def test_joined(self) -> None:
        """A whole session in one WebSocket message."""
        data = body(MESSAGE, 1)
        client = self.open()
        client.send_frame(
            TEXT,
            encode("CONNECT", {"accept-version": "1.2"})
            + b"\n\r\n\n"
            + encode("SUBSCRIBE", {"id": "0", "destination": MESSAGE, "receipt": "r"})
            + encode("SEND", {"destination": MESSAGE, "content-length": str(len(data)), "receipt": "s"}, data)
            + b"\n"
            + encode("DISCONNECT", {"receipt": "d"}),
        )
        client.expect("CONNECTED")
        client.receipt("r")
        rest = [client.receive() for _ in range(3)]
        self.assertEqual(rest[-1].headers.get("receipt-id"), "d")
        self.assertEqual(sorted(f.command for f in rest), ["MESSAGE", "RECEIPT", "RECEIPT"])
        self.assertEqual(client.close_code(), 1000)

    def test_split(self) -> None:
        """One frame comes in many binary messages, also cut within characters."""
        data = body(MESSAGE, 1, DIFFICULT_TEXT)
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        wire = b"\n" + encode("SEND", {"destination": MESSAGE}, data) + b"\n"
        for start in range(0, len(wire), 7):
            client.send_frame(BINARY, wire[start : start + 7])
        self.assertEqual(client.message("0").body, data)

    def test_every_cut(self) -> None:
        """One frame is cut in two, at every place."""
        data = b'{"id":"x"}'
        wire = encode("SEND", {"destination": CHANNEL_CONNECTED, "content-length": str(len(data))}, data)
        client = self.connect()
        client.subscribe(CHANNEL_CONNECTED, "0")
        for cut in range(1, len(wire)):
            client.send_frame(TEXT, wire[:cut])
            client.send_frame(TEXT, wire[cut:])
            self.assertEqual(client.message("0").body, data, cut)

    def test_line_ends(self) -> None:
        """In 1.2 CR LF ends a line; EOLs between frames are ignored."""
        client = self.open()
        client.send_frame(TEXT, b"\r\n\n")
        client.send_frame(TEXT, b"CONNECT\r\naccept-version:1.2\r\n\r\n\0\r\n\n")
        client.expect("CONNECTED")
        client.send_frame(TEXT, b"SUBSCRIBE\r\nid:0\r\ndestination:/queue/message\r\nreceipt:r\r\n\r\n\0")
        client.receipt("r")

    def test_escapes(self) -> None:
        """A receipt id with all special characters comes back escaped as the version requires."""
        for version, name, wire in [
            ("1.0", "a\\nb:c", "a\\nb:c"),
            ("1.1", "a\nb:c\\d ", "a\\nb\\cc\\\\d "),
            ("1.2", "a\nb:c\\d\re ", "a\\nb\\cc\\\\d\\re "),
        ]:
            client = self.connect(version)
            client.send("SUBSCRIBE", {"id": "0", "destination": MESSAGE, "receipt": wire})
            self.assertEqual(client.expect("RECEIPT").headers["receipt-id"], name, version)

    def test_first_of_repeated_headers(self) -> None:
        client = self.connect()
        client.send("SUBSCRIBE", [("id", "0"), ("destination", MESSAGE), ("destination", "/nowhere"), ("receipt", "r")])
        client.receipt("r")

    def test_nul_in_a_body(self) -> None:
        """With ``content-length`` a NUL is part of the body; here the payload is refused because of it."""
        client = self.connect()
        data = b'{"id":"x","y":"\0"}'
        client.send("SEND", {"destination": CHANNEL_CONNECTED, "content-length": str(len(data))}, data)
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("invalid payload", 1008))


class EndTests(DaemonTestCase):
    """DISCONNECT and frames after it."""

    def test_receipt_then_1000(self) -> None:
        for version in VERSIONS:
            self.connect(version).disconnect()

    def test_without_receipt(self) -> None:
        client = self.connect()
        client.send("DISCONNECT")
        self.assertEqual(client.close_code(), 1000)

    def test_all_before_it_is_done(self) -> None:
        other = self.connect()
        other.subscribe(MESSAGE, "0")
        client = self.connect()
        sends = [encode("SEND", {"destination": MESSAGE}, body(MESSAGE, n)) for n in range(50)]
        client.send_frame(TEXT, b"".join([*sends, encode("DISCONNECT", {"receipt": "bye"})]))
        client.receipt("bye")
        self.assertEqual([number_of(other.message().body) for _ in range(50)], list(range(50)))
        self.assertEqual(client.close_code(), 1000)

    def test_frames_after_it_are_ignored(self) -> None:
        """Airy's client sends UNSUBSCRIBE after DISCONNECT; it gets no ERROR, and close 1000."""
        client = self.connect()
        client.subscribe(MESSAGE, "sub-0")
        client.send_frame(
            TEXT,
            encode("DISCONNECT", {"receipt": "bye"})
            + encode("UNSUBSCRIBE", {"id": "sub-0"})
            + encode("UNSUBSCRIBE", {"id": "unknown"})
            + encode("NONSENSE"),
        )
        client.receipt("bye")
        self.assertEqual(client.close_code(), 1000)

    def test_client_closes_at_once(self) -> None:
        """Like webstomp-client, a client sends DISCONNECT and a close frame together."""
        client = self.connect()
        client.subscribe(MESSAGE, "sub-0")
        client.send("DISCONNECT")
        client.send_frame(0x8, b"\x03\xe8")
        with self.assertRaises(Closed):
            client.receive()


class DecodeTests(DaemonTestCase):
    """The strict reader of these tests can fail."""

    def setUp(self) -> None:
        """Start no daemon."""

    def test_joined_or_cut_frames_are_noticed(self) -> None:
        one = encode("MESSAGE", {"content-length": "2"}, b"{}")
        self.assertEqual(decode(one, TEXT, "1.2").body, b"{}")
        for wrong in [one + one, one[:-1], one + b"\n", b"\n" + one, json.dumps({}).encode()]:
            with self.assertRaises(AssertionError):
                decode(wrong, TEXT, "1.2")
