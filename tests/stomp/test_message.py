"""The bytes of a MESSAGE."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import MESSAGE, Event
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.message import HEARTBEAT, message_frames, message_head, message_tail
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_SERVER, Version, parse_ack_id
from airyd.websocket.frames import websocket_framing
from tests.model.channel import messages

_EVENT = Event(MESSAGE, "1610462945250-7", b'{"text":"Gr\xc3\xbc\xc3\x9fe"}')
_BEFORE_BODY = (
    b"MESSAGE\nsubscription:sub-0\ndestination:/queue/message\ncontent-type:application/json\n"
    b"message-id:c102d7ca-1610462945250-7\ncontent-length:18\n\n"
)


def client_reads(version: Version, wire: bytes) -> Frame:
    """Return the one frame that a client of this version reads."""
    parser = Parser(Limits(), FROM_SERVER)
    parser.connected(version)
    parser.feed(wire)
    frame = parser.next_frame()
    assert frame is not None
    assert parser.next_frame() is None
    return frame


class MessageTests(SynchronousTestCase):
    """Head and tail together are one frame."""

    def test_bytes(self) -> None:
        for version in (Version.V1_1, Version.V1_2):
            head = message_head(version, MESSAGE, "sub-0")
            self.assertEqual(head + message_tail(_EVENT), _BEFORE_BODY + _EVENT.body + b"\0")

    def test_no_subscription_header_for_who_named_none(self) -> None:
        """STOMP 1.0: the header is there only if SUBSCRIBE had an ``id``."""
        head = message_head(Version.V1_0, MESSAGE, None)
        self.assertEqual(
            head + message_tail(_EVENT), _BEFORE_BODY.replace(b"subscription:sub-0\n", b"") + _EVENT.body + b"\0"
        )
        named = message_head(Version.V1_0, MESSAGE, "sub-0")
        self.assertEqual(named + message_tail(_EVENT), _BEFORE_BODY + _EVENT.body + b"\0")

    def test_escapes_are_the_versions(self) -> None:
        """Heads that versions encode differently are not shared."""
        self.assertIn(b"subscription:a\\cb\n", message_head(Version.V1_2, MESSAGE, "a:b"))
        user = message_head(Version.V1_2, MESSAGE, "sub-0", f"/user{MESSAGE}")
        plain = message_head(Version.V1_2, MESSAGE, "sub-0")
        self.assertEqual(user, plain.replace(b"destination:/queue", b"destination:/user/queue"))
        self.assertIn(b"subscription:a\\cb\n", message_head(Version.V1_1, MESSAGE, "a:b"))
        self.assertIn(b"subscription:a:b\n", message_head(Version.V1_0, MESSAGE, "a:b"))
        self.assertIn(b"subscription:a\\rb\n", message_head(Version.V1_2, MESSAGE, "a\rb"))
        self.assertIn(b"subscription:a\rb\n", message_head(Version.V1_1, MESSAGE, "a\rb"))

    def test_the_length_counts_bytes(self) -> None:
        event = Event("/x", "1-1", "{}é\0\n".encode())
        self.assertIn(b"content-length:6\n\n{}\xc3\xa9\0\n\0", message_tail(event))

    @given(
        name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20), body=st.binary()
    )
    def test_a_client_reads_what_was_meant(self, name: str, body: bytes) -> None:
        event = Event(MESSAGE, "5-1", body)
        wire = message_head(Version.V1_2, MESSAGE, name) + message_tail(event)
        frame = client_reads(Version.V1_2, wire)
        self.assertEqual(
            frame.headers,
            {
                "subscription": name,
                "destination": MESSAGE,
                "content-type": "application/json",
                "message-id": "c102d7ca-5-1",
                "content-length": f"{len(body)}",
            },
        )
        self.assertEqual((frame.command, frame.body), ("MESSAGE", body))

    def test_ack_header(self) -> None:
        """STOMP 1.2: it names subscription and message, and the rest of the frame is as without it."""
        head = message_head(Version.V1_2, MESSAGE, "sub-0")
        (wire,) = message_frames(head, [_EVENT], 12)
        frame = client_reads(Version.V1_2, wire)
        ack = frame.headers["ack"]
        self.assertEqual(parse_ack_id(ack), (12, frame.headers["message-id"]))
        self.assertEqual(wire.replace(f"ack:{ack}\n".encode(), b"", 1), _BEFORE_BODY + _EVENT.body + b"\0")


class FramingTests(SynchronousTestCase):
    """A STOMP frame in a WebSocket message."""

    def test_one_message(self) -> None:
        self.assertEqual(websocket_framing([b"abc", b"d"], 1), b"\x81\x03abc\x81\x01d")
        self.assertEqual(websocket_framing([HEARTBEAT], 1), b"\x81\x01\n")

    def test_one_message_each(self) -> None:
        head = message_head(Version.V1_2, MESSAGE, "sub-0")
        bodies = [b"{}", b"x" * 200, b"y" * 70_000]
        frames = [head + message_tail(Event(MESSAGE, f"1-{number}", body)) for number, body in enumerate(bodies)]
        wire = websocket_framing(frames, 1)
        self.assertEqual([message.body for message in messages(wire)], bodies)
