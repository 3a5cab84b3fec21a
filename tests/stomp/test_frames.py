"""Tests of airyd.stomp.frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, FROM_SERVER, Version
from tests.stomp.wire import VERSIONS, any_text, cut, cuts, frames, plain_text

V1_0, V1_1, V1_2 = Version

_ESCAPED_COMMANDS = st.sampled_from(["SEND", "MESSAGE", "ERROR"])


def headers_of(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Return a strategy of headers as an application may set them."""
    return st.dictionaries(names.filter(lambda name: name not in ("", "content-length")), values, max_size=8)


def read(data: bytes, version: Version, at: list[int]) -> list[object]:
    """Return the frames, of clients or servers, in the bytes; these are cut at the given places."""
    reader = Parser(Limits(), {**FROM_CLIENT, **FROM_SERVER})
    reader.connected(version)
    return list(frames(reader, *cut(data, at)))


class EncodeTests(SynchronousTestCase):
    """What a frame looks like as bytes."""

    def test_layout(self) -> None:
        frame = Frame("MESSAGE", {"destination": "/queue/message", "message-id": "1"}, b"{}")
        self.assertEqual(
            frame.encode(V1_2), b"MESSAGE\ndestination:/queue/message\nmessage-id:1\ncontent-length:2\n\n{}\0"
        )

    def test_content_length_only_where_a_body_may_be(self) -> None:
        self.assertEqual(Frame("RECEIPT", {"receipt-id": "1"}).encode(V1_2), b"RECEIPT\nreceipt-id:1\n\n\0")
        self.assertEqual(Frame("SEND").encode(V1_2), b"SEND\ncontent-length:0\n\n\0")

    def test_content_length_is_the_true_one(self) -> None:
        frame = Frame("SEND", {"content-length": "99"}, "ü\0".encode())
        self.assertEqual(frame.encode(V1_2), b"SEND\ncontent-length:3\n\n\xc3\xbc\0\0")

    def test_escapes_by_version(self) -> None:
        frame = Frame("RECEIPT", {"receipt-id": "a:b\\c\nd"})
        for version, expected in ((V1_2, rb"a\cb\\c\nd"), (V1_1, rb"a\cb\\c\nd"), (V1_0, rb"a:b\c d")):
            self.assertEqual(frame.encode(version), b"RECEIPT\nreceipt-id:" + expected + b"\n\n\0")

    def test_connect_and_connected_are_never_escaped(self) -> None:
        for command in ("CONNECT", "STOMP", "CONNECTED"):
            for version in VERSIONS:
                frame = Frame(command, {"session": "a:b\\c"})
                self.assertEqual(frame.encode(version), command.encode() + b"\nsession:a:b\\c\n\n\0")

    def test_receipt(self) -> None:
        self.assertEqual(Frame("SEND", {"receipt": "1"}).receipt, "1")
        self.assertIsNone(Frame("SEND").receipt)


class RoundTripTests(SynchronousTestCase):
    """An encoded frame is parsed as the same frame."""

    @given(_ESCAPED_COMMANDS, headers_of(any_text, any_text), st.binary(max_size=200), cuts)
    def test_1_2(self, command: str, headers: dict[str, str], body: bytes, at: list[int]) -> None:
        self.round_trip(V1_2, Frame(command, headers, body), at)

    @given(_ESCAPED_COMMANDS, headers_of(any_text, any_text), st.binary(max_size=200), cuts)
    def test_1_1(self, command: str, headers: dict[str, str], body: bytes, at: list[int]) -> None:
        self.round_trip(V1_1, Frame(command, headers, body), at)

    @given(
        _ESCAPED_COMMANDS,
        headers_of(plain_text.filter(lambda name: ":" not in name), plain_text),
        st.binary(max_size=200),
        cuts,
    )
    def test_1_0(self, command: str, headers: dict[str, str], body: bytes, at: list[int]) -> None:
        self.round_trip(V1_0, Frame(command, headers, body), at)

    @given(st.sampled_from(VERSIONS), headers_of(plain_text.filter(lambda name: ":" not in name), plain_text), cuts)
    def test_connected(self, version: Version, headers: dict[str, str], at: list[int]) -> None:
        frame = Frame("CONNECTED", headers)
        self.assertEqual(read(frame.encode(version), version, at), [frame])

    @given(st.sampled_from(VERSIONS), headers_of(st.text(max_size=9), st.text(max_size=9)), st.binary(max_size=20))
    def test_no_header_breaks_the_stream(self, version: Version, headers: dict[str, str], body: bytes) -> None:
        follower = Frame("RECEIPT", {"receipt-id": "next"})
        data = Frame("MESSAGE", {f"x{n}": v for n, v in headers.items()}, body).encode(version)
        first, second = read(data + follower.encode(version), version, [])
        self.assertIsInstance(first, Frame)
        self.assertEqual(second, follower)

    def round_trip(self, version: Version, frame: Frame, at: list[int]) -> None:
        """See to it that the frame and one behind it survive."""
        follower = Frame("RECEIPT", {"receipt-id": "next"})
        expected = Frame(frame.command, {**frame.headers, "content-length": str(len(frame.body))}, frame.body)
        data = frame.encode(version) + b"\n\n" + follower.encode(version)
        self.assertEqual(read(data, version, at), [expected, follower])
