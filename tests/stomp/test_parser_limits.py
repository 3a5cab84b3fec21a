"""Tests of airyd.stomp.parser: its limits, bytes cut anywhere, and how much work they make."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, Version
from tests.stomp.wire import SMALL, VERSIONS, cut, cuts, frames, one_by_one, parser

V1_2 = Version.V1_2

TOO_BIG = Fault.FRAME_TOO_BIG

#: What streams are made of to find places where a cut matters.
PIECES = (
    *(b"SEND\n", b"BEGIN\r\n", b"CONNECT\n", b"SEND\n\nabc\0", b"SEND\ncontent-length:3\n\na\0c\0"),
    *(b"ABORT\ntransaction:1\n\n\0", b"x:1\n", b"x:1\r\n", b"content-length:3\n", b"receipt:r\n"),
    *(
        b"a:\\c\\n\n",
        b"a:\\r\n",
        b"a:\\t\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"abc",
        b"\xff",
        b"\xc3\xbc",
        b":",
        b"y" * 70,
    ),
)


def _key(item: Frame | StompError) -> object:
    """Return what makes two items equal."""
    return item if isinstance(item, Frame) else (item.fault, item.detail, item.receipt)


class LimitCase(SynchronousTestCase):
    """A test of frames at a limit."""

    def accept(self, data: bytes, reader: Parser) -> None:
        """See to it that the bytes are one frame."""
        (frame,) = frames(reader, data)
        self.assertIsInstance(frame, Frame)

    def refuse(self, expected: Fault, data: bytes, limits: Limits = SMALL) -> None:
        """See to it that the bytes are refused, whole and one by one, with the same words."""
        details = []
        for chunks in ([data], one_by_one(data)):
            (error,) = frames(parser(V1_2, limits), *chunks)
            assert isinstance(error, StompError), error
            self.assertIs(error.fault, expected)
            details.append(error.detail)
        self.assertEqual(details[0], details[1])


class LimitTests(LimitCase):
    """A frame at a limit is allowed; one above it is refused as soon as that is certain."""

    def test_header_line(self) -> None:
        line = b"x:" + b"y" * (SMALL.header_line - 2)
        self.accept(b"SEND\n" + line + b"\n\n\0", parser(V1_2, SMALL))
        self.accept(b"SEND\n" + line + b"\r\n\n\0", parser(V1_2, SMALL))
        self.refuse(TOO_BIG, b"SEND\n" + line + b"y\n")
        self.refuse(TOO_BIG, b"SEND\n" + line + b"yy")  # without an end

    def test_header_line_counts_bytes(self) -> None:
        letters = (SMALL.header_line - 2) // 2
        self.accept("SEND\nx:{}\n\n\0".format("ü" * letters).encode(), parser(V1_2, SMALL))
        self.refuse(TOO_BIG, "SEND\nx:{}\n".format("ü" * letters + "y").encode())

    def test_headers(self) -> None:
        head = b"SEND\n" + b"x:1\n" * SMALL.headers
        self.accept(head + b"\n\0", parser(V1_2, SMALL))
        self.refuse(Fault.TOO_MANY_HEADERS, head + b"x:1\n")

    def test_body(self) -> None:
        body = b"b" * SMALL.body
        self.accept(b"SEND\n\n" + body + b"\0", parser(V1_2, SMALL))
        self.accept(b"SEND\ncontent-length:100\n\n" + body + b"\0", parser(V1_2, SMALL))
        self.refuse(TOO_BIG, b"SEND\n\n" + body + b"b")
        self.refuse(TOO_BIG, b"SEND\n\n" + body + b"b\0")
        self.refuse(TOO_BIG, b"SEND\ncontent-length:101\n")

    def test_frame(self) -> None:
        head = b"".join(b"%d:%b\n" % (n, b"y" * 57) for n in range(5))
        body = SMALL.frame - len(b"SEND\n" + head + b"\n\0")
        self.assertLess(body, SMALL.body)
        self.accept(b"SEND\n" + head + b"\n" + b"b" * body + b"\0", parser(V1_2, SMALL))
        self.refuse(TOO_BIG, b"SEND\n" + head + b"\n" + b"b" * body + b"b")

    def test_frame_with_content_length(self) -> None:
        limits = replace(SMALL, frame=100)
        fits = b"SEND\ncontent-length:75\n\n" + b"b" * 75 + b"\0"
        self.assertEqual(len(fits), limits.frame)
        self.accept(fits, parser(V1_2, limits))
        for head in (b"SEND\ncontent-length:76\n\n", b"SEND\ncontent-length:77\n"):
            self.refuse(TOO_BIG, head, limits)

    def test_a_login_has_a_smaller_limit(self) -> None:
        def login(size: int) -> bytes:
            head = b"CONNECT\n" + b"".join(b"%d:%b\n" % (n, b"y" * 50) for n in range(3))
            return head + b"z:" + b"z" * (size - len(head) - 5) + b"\n\n\0"

        self.assertEqual(len(login(200)), SMALL.connect_frame)
        self.accept(login(200), Parser(SMALL, FROM_CLIENT))
        for data in (login(201), login(201)[:199] + b"z"):
            (error,) = frames(Parser(SMALL, FROM_CLIENT), data)
            assert isinstance(error, StompError)
            self.assertIs(error.fault, TOO_BIG)
        self.accept(login(201), parser(V1_2, SMALL))

    def test_a_frame_is_refused_while_it_arrives(self) -> None:
        reader = Parser(SMALL, FROM_CLIENT)
        head = b"CONNECT\n" + b"0:%b\n" % (b"y" * 50)
        self.assertEqual(frames(reader, head), [])
        items = [frames(reader, b"b:%b\n" % (b"y" * 50)) for _ in range(3)]
        self.assertEqual([len(item) for item in items[:2]], [0, 0])
        self.assertIsInstance(items[2][0], StompError)

    def test_it_holds_nothing_between_frames(self) -> None:
        reader = parser()
        frames(reader, b"SEND\n\n" + b"x" * 1000, b"\0\nBEG")
        self.assertEqual(reader.buffered, 3)
        frames(reader, b"IN\n\n\0\n")
        self.assertEqual(reader.buffered, 0)

    def test_it_holds_nothing_after_a_fault(self) -> None:
        reader = parser()
        frames(reader, b"HELLO\n\n" + b"x" * 1000, b"y" * 1000)
        self.assertEqual(reader.buffered, 0)


class TokenTests(LimitCase):
    """A token counts for none of the limits where one may be."""

    def login(self, size: int, *token_lines: bytes, command: bytes = b"CONNECT") -> bytes:
        """Return a CONNECT of this size that has these lines behind others."""
        missing = size - len(b"\n".join([command, *token_lines, b"", b"\0"]))
        others: list[bytes] = []
        while missing:
            length = missing if missing <= 61 else min(61, missing - 10)
            others.append(b"%d:%b" % (len(others), b"y" * (length - 3)))
            missing -= length
        return b"\n".join([command, *others, *token_lines, b"", b"\0"])

    def refuse_login(self, data: bytes) -> str:
        """See to it that a login is too big, whole and one by one, with the same words; return these."""
        details = []
        for chunks in ([data], one_by_one(data)):
            (error,) = frames(Parser(SMALL, FROM_CLIENT), *chunks)
            assert isinstance(error, StompError), error
            self.assertIs(error.fault, TOO_BIG)
            details.append(error.detail)
        self.assertEqual(details[0], details[1])
        return details[0]

    def test_beside_everything_else(self) -> None:
        """The frame may have as much more as a token has, in all."""
        most = SMALL.connect_frame + SMALL.token_size
        for lines in (
            [b"Authorization:Bearer " + b"t" * 40],
            [b"authorization: Bearer " + b"t" * 40],
            [b"passcode:" + b"t" * 40],
            [b"passcode:guest", b"Authorization:" + b"t" * 40],
            [b"passcode:" + b"t" * 40, b"passcode:" + b"t" * 35],
        ):
            for command in (b"CONNECT", b"STOMP"):
                good = self.login(most, *lines, command=command)
                self.assertEqual(len(good), most)
                for chunks in ([good], one_by_one(good)):
                    (frame,) = frames(Parser(SMALL, FROM_CLIENT), *chunks)
                    assert isinstance(frame, Frame), frame
                    name, _, value = lines[0].decode().partition(":")
                    self.assertEqual(frame.headers[name], value.strip())
                self.refuse_login(self.login(most + 1, *lines, command=command))

    def test_less_than_a_token(self) -> None:
        """A shorter one makes room for itself only."""
        line = b"passcode:" + b"t" * 10
        most = SMALL.connect_frame + len(line + b"\n")
        self.accept(self.login(most, line), Parser(SMALL, FROM_CLIENT))
        self.refuse_login(self.login(most + 1, line))

    def test_line(self) -> None:
        """A token fits behind the longest beginning of its line; other lines may have no more than before."""
        line = b"Authorization: Bearer " + b"t" * 40
        self.assertGreater(len(line), SMALL.header_line)
        self.accept(b"CONNECT\n" + line + b"\r\n\n\0", Parser(SMALL, FROM_CLIENT))
        self.assertIn("62", self.refuse_login(b"CONNECT\n" + line + b"t\n\n\0"))
        self.assertIn("60", self.refuse_login(b"CONNECT\nAuthorizations:" + line[15:] + b"t\n\n\0"))
        self.assertIn("60", self.refuse_login(b"CONNECT\nx" + line + b"\n\n\0"))
        self.refuse(TOO_BIG, b"SEND\n" + line + b"\n\n\0")
        self.refuse(TOO_BIG, b"CONNECT\n" + line + b"\n\n\0")

    def test_cut_anywhere(self) -> None:
        """A login is the same however it is cut."""
        pieces = (b"SEND\n", b"Authorization:", b"Auth", b"passcode:", b"pass", b"t" * 30, b"\n", b"a:b\n")

        @given(st.lists(st.sampled_from(pieces), max_size=20).map(lambda given: b"".join([b"STOMP\n", *given])), cuts)
        def check(data: bytes, at: list[int]) -> None:
            whole = [_key(item) for item in frames(Parser(SMALL, FROM_CLIENT), data)]
            for chunks in (cut(data, at), one_by_one(data)):
                self.assertEqual([_key(item) for item in frames(Parser(SMALL, FROM_CLIENT), *chunks)], whole)

        check()

    def test_refresh(self) -> None:
        """A token that is sent to ``/airyd/token`` may be longer than other bodies, and than frames."""
        for limits in (replace(SMALL, token_size=150), replace(SMALL, token_size=150, frame=60, body=20)):
            body = b"Bearer " + b"t" * 150
            for head in (
                b"SEND\ndestination:/airyd/token\n",
                b"SEND\ndestination:/airyd/token\ncontent-length:157\n",
                b"SEND\ncontent-length:157\ndestination:/airyd/token\n",
            ):
                for chunks in ([head + b"\n" + body + b"\0"], one_by_one(head + b"\n" + body + b"\0")):
                    (frame,) = frames(parser(V1_2, limits), *chunks)
                    assert isinstance(frame, Frame), frame
                    self.assertEqual(frame.body, body)
                longer = head.replace(b"157", b"158") + b"\n" + body + b"t\0"
                elsewhere = head.replace(b"/airyd/token", b"/airyd/tokens") + b"\n" + body + b"\0"
                for wrong in (longer, elsewhere, elsewhere.replace(b"tokens", b"toke")):
                    self.refuse(TOO_BIG, wrong, limits)
        self.refuse(TOO_BIG, b"SEND\ncontent-length:158\n", limits)
        self.refuse(TOO_BIG, b"SEND\ndestination:/x\ncontent-length:21\n", limits)

    def test_no_refresh_before_the_login(self) -> None:
        limits = replace(SMALL, token_size=300)
        data = b"SEND\ndestination:/airyd/token\n\n" + b"t" * 200
        (error,) = frames(Parser(limits, FROM_CLIENT), data)
        assert isinstance(error, StompError)
        self.assertIs(error.fault, TOO_BIG)


class CutTests(SynchronousTestCase):
    """The frames are the same however the bytes are cut."""

    pieces = st.lists(
        st.one_of(
            st.sampled_from(PIECES),
            st.binary(max_size=5),
        ),
        max_size=30,
    ).map(b"".join)

    @given(pieces, cuts, st.sampled_from(VERSIONS))
    def test_cut_anywhere(self, data: bytes, at: list[int], version: Version) -> None:
        whole = [_key(item) for item in frames(parser(version, SMALL), data)]
        for chunks in (cut(data, at), one_by_one(data)):
            self.assertEqual([_key(item) for item in frames(parser(version, SMALL), *chunks)], whole)

    @given(st.binary(max_size=300), st.sampled_from(VERSIONS))
    def test_any_bytes_are_read_or_refused(self, data: bytes, version: Version) -> None:
        for item in frames(parser(version, SMALL), data, b"\n\0\n\0"):
            self.assertIsInstance(item, Frame | StompError)

    def test_chunks_fed_at_once(self) -> None:
        reader = parser()
        for chunk in (b"SEND\n", b"x:1\n\n", b"bo", b"dy\0BE", b"GIN\n\n\0"):
            reader.feed(chunk)
        self.assertEqual(frames(reader), [])
        self.assertEqual(reader.next_frame(), Frame("SEND", {"x": "1"}, b"body"))
        self.assertEqual(reader.next_frame(), Frame("BEGIN"))
        self.assertIsNone(reader.next_frame())


class WorkTests(SynchronousTestCase):
    """Big bodies and many frames in pieces of all sizes take linear time; quadratic work would take minutes."""

    def test_a_big_body_in_pieces(self) -> None:
        body = b"x" * (256 * 1024)
        for head in (b"SEND\n\n", b"SEND\ncontent-length:262144\n\n"):
            for size in (1, 1000, 65536):
                data = head + body + b"\0"
                reader = parser()
                (frame,) = frames(reader, *(data[i : i + size] for i in range(0, len(data), size)))
                assert isinstance(frame, Frame)
                self.assertEqual(frame.body, body)

    def test_many_frames_in_one_chunk(self) -> None:
        count = 20_000
        items = frames(parser(), (b"BEGIN\n\n\0" + b"\n" * 50) * count)
        self.assertEqual(len(items), count)

    def test_many_line_ends(self) -> None:
        reader = parser()
        self.assertEqual(frames(reader, b"\n" * (1 << 22), b"\r\n" * 10), [])
        self.assertEqual(reader.buffered, 0)

    def test_a_frame_behind_much_that_is_held(self) -> None:
        reader = parser()
        for _ in range(20_000):
            reader.feed(b"BEGIN\n\n\0")
        self.assertEqual(len(frames(reader, b"\n")), 20_000)
