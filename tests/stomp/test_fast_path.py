"""The fast path returns the same frames as the parser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import StompError
from airyd.limits import Limits
from airyd.stomp import parser as parser_module
from airyd.stomp.fast_path import plain_frame
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, FROM_SERVER, Version
from tests.stomp.wire import SMALL, VERSIONS, connect, cut, cuts, frames

V1_0, V1_1, V1_2 = Version


class Watched(bytes):
    """Counts the bytes that are searched or copied."""

    looked = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        """See ``bytes``."""
        found = super().find(sub, start, end)
        self.looked += (min(len(self), end or len(self)) if found < 0 else found) - start
        return found

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.looked += len(found) if isinstance(index, slice) else 1
        return found


def joined(command: str, lines: list[str], body: bytes) -> bytes:
    """Return the bytes of a frame."""
    return "\n".join([command, *lines, "", ""]).encode() + body + b"\0"


_commands = st.sampled_from([*FROM_CLIENT, "SEND", "SEND", "SEND", "MESSAGE", "", "SEND "])
_lines = st.sampled_from(
    [
        *("destination:/a", "receipt:r", "receipt:s", "id:1", "a:b:c", "a:", "x:" + "y" * 56, "x:" + "y" * 60),
        *("content-length:3", "content-length:0", "content-length:100", "content-length:03", "content-length: 3"),
        *("content-length:-1", "content-length:1000000000000000", "content-length:+3", "content-length:²"),
        *("accept-version:1.2", "accept-version:1.0", "accept-version:9", "accept-version:1.1,1.2", "passcode: x "),
        *(" a : b ", "a:b\r", "\r", "a:\\c", "a:\\x", "ä:ö", "a:b\0", "no colon", ":no name", "content-length:3\r"),
        *("a:b\rc", "a\rb:c", "receipt:r\r\r", "passcode:a\rb"),
    ]
)
_bodies = st.sampled_from(
    [b"", b"", b"abc", b"a\0c", b"abcd", "äö".encode(), b"\xff", b"x" * 100, b"x" * 101, b"\n\n\0"]
)
_frames = st.builds(joined, _commands, st.lists(_lines, max_size=6), _bodies)
_streams = st.lists(st.one_of(_frames, st.sampled_from([b"\n", b"\r\n", b"\0"])), max_size=5).map(b"".join)
_changes = st.lists(st.tuples(st.integers(0, 9999), st.binary(max_size=2)), max_size=2)


def read(version: Version | None, chunks: list[bytes], limits: Limits = SMALL) -> list[Frame | tuple[object, ...]]:
    """Return what a parser makes of the chunks.

    :param version: None: the session has not begun yet
    """
    reader = Parser(limits, FROM_CLIENT)
    if version is not None:
        reader.connected(version)
    return [
        (found.fault, found.detail, found.receipt) if isinstance(found, StompError) else found
        for found in frames(reader, *chunks)
    ]


class SameFramesTests(SynchronousTestCase):
    """The fast path and the parser agree."""

    @given(st.sampled_from([None, *VERSIONS]), _streams, _changes, cuts)
    @example(V1_1, b"SEND\ncontent-length:3\n\na\0c\0", [], [])
    def test_any_bytes(
        self, version: Version | None, stream: bytes, changes: list[tuple[int, bytes]], at: list[int]
    ) -> None:
        for place, piece in changes:
            place %= len(stream) + 1
            stream = stream[:place] + piece + stream[place + 1 :]
        chunks = cut(stream, at)
        found = read(version, chunks)
        with patch.object(parser_module, "plain_frame", lambda *_: None):
            self.assertEqual(read(version, chunks), found)
        self.assertEqual(read(version, [stream]), found)

    def test_each_bound(self) -> None:
        """At each limit: one less, as many, and one more."""
        streams = [joined("SEND", [f"x:{'y' * size}"], b"") for size in range(50, 66)]
        for line in ("x:", "content-length:"):
            streams += [joined("SEND", [f"{line}{size}"], b"x" * size) for size in (*range(50, 90), 99, 100, 101)]
        streams += [joined("SEND", ["a:b"] * number, b"") for number in (4, 5, 6)]
        streams += [connect(V1_2, f"x:{'y' * size}") for size in range(60)]
        for stream in streams:
            for limits in (SMALL, replace(SMALL, frame=90, connect_frame=50)):
                for version in (None, *VERSIONS):
                    found = read(version, [stream], limits)
                    with patch.object(parser_module, "plain_frame", lambda *_: None):
                        self.assertEqual(read(version, [stream], limits), found)


class PlainTests(SynchronousTestCase):
    """Which frames the fast path reads."""

    def plain(self, data: bytes, version: Version = V1_2, start: int = 0) -> tuple[Frame, int] | None:
        """Return what is there under the default limits."""
        return plain_frame(data, start, version, FROM_CLIENT, Limits(), Limits().frame)

    def test_those_of_real_clients(self) -> None:
        body = b'{"text":"Gr\xc3\xbc\xc3\x9fe\\n"}'
        for version in (V1_1, V1_2):
            for wire, frame in (
                (b"CONNECT\naccept-version:1.1,1.2\npasscode: x \n\n\0", Frame("CONNECT", {"passcode": " x "})),
                (b"SUBSCRIBE\nid:0\ndestination:/a\n\n\0", Frame("SUBSCRIBE", {"id": "0"})),
                (b"SEND\nid:0\n\n" + body + b"\0", Frame("SEND", {"id": "0"}, body)),
                (b"SEND\nid:0\nid:1\ncontent-length:3\n\na\0c\0", Frame("SEND", {"id": "0"}, b"a\0c")),
                (b"SEND\ncontent-length:0\n\n\0", Frame("SEND", {}, b"")),
            ):
                found = self.plain(b"\n" + wire + wire, version, 1)
                assert found is not None, wire
                self.assertEqual((found[0].command, found[0].body, found[1]), (frame.command, frame.body, len(wire)))
                self.assertLessEqual(frame.headers.items(), found[0].headers.items())

    def test_those_of_a_server(self) -> None:
        """CONNECTED is never trimmed, MESSAGE is in STOMP 1.0."""
        for version, plain in ((V1_0, False), (V1_2, True)):
            for wire, wanted in ((b"CONNECTED\nserver: a \n\n\0", True), (b"MESSAGE\nid:0\n\nabc\0", plain)):
                found = plain_frame(wire, 0, version, FROM_SERVER, Limits(), Limits().frame)
                self.assertEqual(found is not None, wanted, wire)

    def test_others(self) -> None:
        """The fast path leaves frames that are incomplete, or must be refused, unescaped or trimmed."""
        for wire in (
            *(b"SEND\nid:0\n\nab", b"SEND\nid:0\n", b"SEND\nid:0\n\n"),
            *(b"SEND\ncontent-length:3\n\nabc", b"SEND\ncontent-length:3\n\nab\0", b"SEND\ncontent-length:2\n\nabc\0"),
            *(b"SEND\r\n\r\n\0", b"SEND\nid:\\c\n\n\0", b"SEND\nid:\xc3\xa4\n\n\0", b"SEND\nid:0\0\n\n\0"),
            *(b"SEND\nid\n\n\0", b"SEND\n:0\n\n\0", b"ACK\n\nabc\0", b"ACK\ncontent-length:1\n\n\0\0"),
            *(b"CONNECT\n\n\0", b"CONNECT\naccept-version:1.0\n\n\0", b"CONNECT\naccept-version:9\n\n\0"),
            *(b"HELLO\n\n\0", b"MESSAGE\n\n\0"),
        ):
            self.assertIsNone(self.plain(wire), wire)

    def test_none_looks_through_what_follows(self) -> None:
        """A frame with CR LF is left to the parser after a search of its own length."""
        wire = b"BEGIN\r\ntransaction:t\r\n\r\n\0"
        for data in (Watched(wire * 1000), Watched(wire * 100 + joined("SEND", [], b""))):
            self.assertIsNone(self.plain(data))
            self.assertLess(data.looked, 2 * len(wire))
