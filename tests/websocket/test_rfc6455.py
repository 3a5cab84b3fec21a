"""RFC 6455 after the opening handshake: what is legal is taken, what breaks it gets its close code."""

from __future__ import annotations

from airyd.limits import WEBSOCKET_MESSAGE
from tests.doubles import frame, websocket_frames
from tests.integration.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, websocket_frame
from tests.websocket.case import CONNECT, WebSocketTestCase, close_frame, text

HELLO = frame("CONNECT", accept_version="1.2")
BYE = frame("DISCONNECT", receipt="bye")

VIOLATIONS: tuple[tuple[str, bytes, int], ...] = (
    ("unmasked", websocket_frame(TEXT, b"\n", masked=False), 1002),
    ("unmasked ping", websocket_frame(PING, b"", masked=False), 1002),
    ("RSV1", websocket_frame(TEXT, b"\n", rsv=4), 1002),
    ("RSV2", websocket_frame(TEXT, b"\n", rsv=2), 1002),
    ("opcode 3", websocket_frame(3, b"\n"), 1002),
    ("opcode 15", websocket_frame(15, b""), 1002),
    ("fragmented ping", websocket_frame(PING, b"", fin=False), 1002),
    ("long ping", websocket_frame(PING, b"x" * 126), 1002),
    ("continuation of nothing", websocket_frame(CONTINUATION, b"\n"), 1002),
    ("text within fragments", websocket_frame(TEXT, b"\n", fin=False) + text(b"\n"), 1002),
    ("length not minimal", b"\x81\xfe\x00\x01\0\0\0\0\n", 1002),
    ("length of 2^63", websocket_frame(TEXT, b"x", length=1 << 63), 1002),
    ("broken UTF-8", text(b"\n\xff\n"), 1007),
    ("a surrogate", text(b"\xed\xa0\x80"), 1007),
    ("UTF-8 cut off", text(b"\n\xc3"), 1007),
    (
        "UTF-8 broken over fragments",
        websocket_frame(TEXT, b"\n\xc3", fin=False) + websocket_frame(CONTINUATION, b"\x28"),
        1007,
    ),
    ("too big", websocket_frame(BINARY, b"", length=WEBSOCKET_MESSAGE + 1), 1009),
    ("2^62 bytes", websocket_frame(TEXT, b"", length=1 << 62), 1009),
    (
        "too big in pieces",
        websocket_frame(BINARY, b"\n", fin=False)
        + websocket_frame(CONTINUATION, b"", length=WEBSOCKET_MESSAGE, fin=False),
        1009,
    ),
    ("close with one byte", websocket_frame(CLOSE, b"x"), 1002),
    ("close with 1005", close_frame(1005), 1002),
    ("close with 999", close_frame(999), 1002),
    ("close with 5000", close_frame(5000), 1002),
    ("close with a broken reason", close_frame(1000, b"\xff"), 1007),
)


class ViolationTests(WebSocketTestCase):
    """Each ends the connection with its close code, and is counted as such."""

    def test_each(self) -> None:
        for name, wire, wanted in VIOLATIONS:
            for session in (False, True):
                peer = self.connected_peer() if session else self.opened()
                peer.say(wire)
                self.assertEqual(self.closed(peer), ([], wanted), name)
                if wanted == 1009:
                    peer.lose()  # whatever it says now is a part of the frame that is too big
                    continue
                peer.say(close_frame(wanted))
                self.loop.turn()
                self.assertTrue(peer.socket.closed, name)
        self.assertEqual(self.kinds(), {"websocket": 2 * len(VIOLATIONS)})

    def test_nothing_of_it_is_done(self) -> None:
        """What comes after a violation is ignored, also in the same chunk."""
        for name, wire, wanted in VIOLATIONS:
            if wanted == 1009:
                continue  # what follows is their payload
            peer = self.opened()
            peer.say(wire + CONNECT + websocket_frame(PING, b"ping"))
            peer.say(CONNECT)
            self.assertEqual(self.closed(peer), ([], wanted), name)
            peer.lose()
        self.assertEqual(self.door.seen, [])

    def test_second_violation(self) -> None:
        """While the closing handshake is under way: no second close frame."""
        peer = self.opened()
        peer.say(text(b"\xff") + text(b"\xff"))
        peer.say(websocket_frame(3))
        self.loop.turn()
        self.assertEqual(self.closed(peer), ([], 1007))
        self.assertTrue(peer.socket.closed)


class LegalTests(WebSocketTestCase):
    """A byte stream over messages of any kind and size."""

    def test_any_message(self) -> None:
        wires = {
            "binary": websocket_frame(BINARY, HELLO + BYE),
            "two in one": text(HELLO + b"\n" + BYE),
            "empty ones between": text(b"") + text(HELLO) + websocket_frame(BINARY) + text(BYE),
            "one over several": text(HELLO[:5]) + websocket_frame(BINARY, HELLO[5:]) + text(BYE),
            "fragments": websocket_frame(TEXT, HELLO[:5], fin=False)
            + websocket_frame(PING)
            + websocket_frame(CONTINUATION, b"", fin=False)
            + websocket_frame(CONTINUATION, HELLO[5:] + BYE),
        }
        for name, wire in wires.items():
            for step in (1, 7, len(wire)):
                peer = self.opened()
                for start in range(0, len(wire), step):
                    peer.say(wire[start : start + step])
                got = peer.got().replace(b"\x8a\x00", b"")  # the pong
                self.assertEqual([opcode for opcode, _ in websocket_frames(got)], [TEXT, TEXT, CLOSE], (name, step))
                peer.lose()

    def test_utf8_over_fragments(self) -> None:
        peer = self.connected_peer()
        wire = frame("BEGIN", transaction="ä", receipt="€").decode().encode()
        for byte in range(len(wire)):
            opcode = CONTINUATION if byte else TEXT
            peer.say(websocket_frame(opcode, wire[byte : byte + 1], fin=byte == len(wire) - 1))
        (receipt,) = self.stomp(peer)
        self.assertEqual(receipt.headers["receipt-id"], "€")

    def test_ping(self) -> None:
        peer = self.opened()
        for payload in (b"", b"hello", bytes(range(125))):
            peer.say(websocket_frame(PING, payload))
            self.assertEqual(websocket_frames(peer.got()), [(PONG, payload)])

    def test_pong_for_nothing(self) -> None:
        peer = self.opened()
        peer.say(websocket_frame(PONG, b"x"))
        self.assertEqual(peer.got(), b"")

    def test_stomp_bounds_hold_within_a_message(self) -> None:
        """A frame that is too big is refused before the message has ended."""
        peer = self.opened()
        peer.say(websocket_frame(TEXT, b"CONNECT\nx:" + b"x" * 20_000, length=30_000))
        self.assertEqual(self.closed(peer), (["ERROR"], 1009))
