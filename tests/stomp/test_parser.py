"""Tests of airyd.stomp.parser."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, FROM_SERVER, Version
from tests.stomp.wire import VERSIONS, frames, one_by_one, parser

V1_0, V1_1, V1_2 = Version

MALFORMED = Fault.MALFORMED_FRAME
TOO_BIG = Fault.FRAME_TOO_BIG


class ReadingTests(SynchronousTestCase):
    """Valid frames, and frames as real clients send them."""

    def read(self, data: bytes, version: Version = V1_2) -> list[Frame]:
        """Return the frames, which must be the same however the bytes are cut."""
        whole = frames(parser(version), data)
        self.assertEqual(frames(parser(version), *one_by_one(data)), whole)
        for item in whole:
            self.assertIsInstance(item, Frame)
        return [item for item in whole if isinstance(item, Frame)]

    def test_a_frame(self) -> None:
        self.assertEqual(
            self.read(b"SEND\ndestination:/queue/message\n\nhello\0"),
            [Frame("SEND", {"destination": "/queue/message"}, b"hello")],
        )

    def test_several_frames_and_heart_beats(self) -> None:
        self.assertEqual(
            [
                f.command
                for f in self.read(b"\nBEGIN\ntransaction:1\n\n\0\n\r\n\n\nABORT\ntransaction:1\n\n\0SEND\n\n\0\n")
            ],
            ["BEGIN", "ABORT", "SEND"],
        )

    def test_nothing_is_nothing(self) -> None:
        for data in (b"", b"\n", b"\r\n", b"\n\n\n", b"\r", b"\r\r\n\r"):
            self.assertEqual(self.read(data), [])

    def test_carriage_returns_at_line_ends(self) -> None:
        for version in VERSIONS:
            self.assertEqual(
                self.read(b"SEND\r\ndestination:/a\r\n\r\nbody\r\n\0", version),
                [Frame("SEND", {"destination": "/a"}, b"body\r\n")],
            )

    def test_a_carriage_return_that_may_be_data(self) -> None:
        for version, value in ((V1_0, "1"), (V1_1, "1\r"), (V1_2, "1")):
            self.assertEqual(self.read(b"SEND\nx:1\r\n\n\0", version), [Frame("SEND", {"x": value})])

    def test_a_carriage_return_within_a_line(self) -> None:
        """It is data in 1.0 and 1.1, and no part of the grammar of 1.2; there it is escaped."""
        for command in (b"SEND", b"SEND\r"):
            for line, header in ((b"x:1\r2", ("x", "1\r2")), (b"\rx\ry:1", ("\rx\ry", "1")), (b"x:\r1", ("x", "\r1"))):
                data = b"%b\nreceipt:r\n%b\n\n\0" % (command, line)
                name, value = (text.strip("\r") for text in header)
                self.assertEqual(self.read(data, V1_0), [Frame("SEND", {"receipt": "r", name: value})])
                self.assertEqual(self.read(data, V1_1), [Frame("SEND", dict([("receipt", "r"), header]))])
                for chunks in ([data], one_by_one(data)):
                    (error,) = frames(parser(V1_2), *chunks)
                    assert isinstance(error, StompError)
                    self.assertEqual((error.fault, error.receipt), (MALFORMED, "r"))
        self.assertEqual(self.read(b"SEND\nx:1\\r2\n\na\rb\0", V1_2), [Frame("SEND", {"x": "1\r2"}, b"a\rb")])

    def test_a_carriage_return_before_a_line_end(self) -> None:
        """One belongs to the line end, another one doesn't."""
        (error,) = frames(parser(V1_2), b"SEND\nx:1\r\r\n\n\0")
        assert isinstance(error, StompError)
        self.assertIs(error.fault, MALFORMED)

    def test_a_carriage_return_in_connect(self) -> None:
        """The version that it asks for decides."""
        for versions, is_right in (("1.0", True), ("1.1", True), ("1.0,1.1,1.2", False)):
            for line in ("passcode:a\rb", "login:\rc", "pass\rcode:a"):
                data = f"CONNECT\n{line}\naccept-version:{versions}\n\n\0".encode()
                (found,) = frames(Parser(Limits(), FROM_CLIENT), data)
                self.assertEqual(isinstance(found, Frame), is_right, (versions, line))
                if isinstance(found, StompError):
                    self.assertIs(found.fault, MALFORMED)

    def test_escapes(self) -> None:
        for version, escaped, text in (
            (V1_2, rb"\n\r\c\\", "\n\r:\\"),
            (V1_1, rb"\n\c\\", "\n:\\"),
            (V1_0, rb"\n\r\c\\\x", "\\n\\r\\c\\\\\\x"),
        ):
            self.assertEqual(self.read(b"SEND\nx:" + escaped + b"\n\n\0", version), [Frame("SEND", {"x": text})])

    def test_escapes_in_names(self) -> None:
        self.assertEqual(self.read(b"SEND\na\\cb:1\n\n\0"), [Frame("SEND", {"a:b": "1"})])

    def test_a_login_is_not_unescaped(self) -> None:
        for command in ("CONNECT", "STOMP"):
            data = f"{command}\naccept-version:1.2\npasscode: a\\c\\x:b \n\n\0".encode()
            self.assertEqual(self.read(data)[0].headers["passcode"], " a\\c\\x:b ")

    def test_carriage_returns_in_a_login_are_no_data(self) -> None:
        (frame,) = self.read(b"CONNECT\naccept-version:1.2\r\npasscode:a \r\n\r\n\0", V1_0)
        self.assertEqual(frame.headers, {"accept-version": "1.2", "passcode": "a "})

    def test_a_login_of_a_1_0_client_may_be_padded(self) -> None:
        (frame,) = self.read(b"CONNECT\nlogin : me\npasscode:  secret \n\n\0")
        self.assertEqual(frame.headers, {"login": "me", "passcode": "secret"})

    def test_spaces_are_kept_but_in_1_0(self) -> None:
        for version, headers in ((V1_0, {"x": "1"}), (V1_1, {" x ": " 1 "}), (V1_2, {" x ": " 1 "})):
            self.assertEqual(self.read(b"SEND\n x : 1 \n\n\0", version), [Frame("SEND", headers)])

    def test_the_first_of_a_repeated_header_counts(self) -> None:
        (frame,) = self.read(b"SEND\nx:1\nx:2\ncontent-length:2\ncontent-length:nonsense\n\nab\0")
        self.assertEqual(frame.headers, {"x": "1", "content-length": "2"})

    def test_colons_in_values(self) -> None:
        self.assertEqual(self.read(b"SEND\nx:a:b:\n\n\0"), [Frame("SEND", {"x": "a:b:"})])

    def test_empty_values(self) -> None:
        self.assertEqual(self.read(b"SEND\nx:\n\n\0"), [Frame("SEND", {"x": ""})])

    def test_header_text_is_utf_8(self) -> None:
        self.assertEqual(self.read("SEND\nñ:→😀\n\n\0".encode()), [Frame("SEND", {"ñ": "→😀"})])

    def test_content_length_counts_bytes_and_nuls(self) -> None:
        (frame,) = self.read(b"SEND\ncontent-length:5\n\na\0\xff\n\0\0")
        self.assertEqual(frame.body, b"a\0\xff\n\0")

    def test_without_content_length_the_body_ends_at_the_first_nul(self) -> None:
        self.assertEqual([f.body for f in self.read(b"SEND\n\na\n\n\xff\0\nSEND\n\n\0")], [b"a\n\n\xff", b""])

    def test_a_body_that_does_not_belong_is_ignored_in_1_0(self) -> None:
        for head in (b"BEGIN\n\n", b"BEGIN\ncontent-length:4\n\n", b"CONNECT\n\n"):
            (frame, follower) = self.read(head + b"body\0ABORT\n\n\0", V1_0)
            self.assertEqual(frame.body, b"")
            self.assertEqual(follower.command, "ABORT")

    def test_content_length_zero_is_no_body(self) -> None:
        for version in VERSIONS:
            (frame,) = self.read(b"SUBSCRIBE\ncontent-length:0\n\n\0", version)
            self.assertEqual(frame.command, "SUBSCRIBE")

    def test_the_server_side(self) -> None:
        reader = Parser(Limits(), FROM_SERVER)
        (frame,) = frames(reader, b"CONNECTED\nversion:1.2\nsession:a\\cb\n\n\0")
        self.assertEqual(frame, Frame("CONNECTED", {"version": "1.2", "session": "a\\cb"}))
        reader.connected(V1_2)
        (frame, error) = frames(reader, b"MESSAGE\nsubscription:a\\cb\ncontent-length:2\n\n{}\0SEND\n\n\0")
        self.assertEqual(frame, Frame("MESSAGE", {"subscription": "a:b", "content-length": "2"}, b"{}"))
        assert isinstance(error, StompError)
        self.assertIs(error.fault, Fault.UNKNOWN_COMMAND)


class FaultTests(SynchronousTestCase):
    """Which bytes are refused, and when."""

    def test_receipt_of_an_unknown_command(self) -> None:
        """The receipt is read up to the end of the head, or to another fault in it."""
        for data, receipt in (
            (b"FOO\nreceipt:7\n\n", "7"),
            (b"FOO\nbar:1\nreceipt:7\nno colon\n", "7"),
            (b"FOO\nno colon\nreceipt:7\n\n\0", None),
        ):
            (error,) = frames(Parser(Limits(), FROM_CLIENT), data)
            assert isinstance(error, StompError)
            self.assertEqual((error.fault, error.receipt), (Fault.UNKNOWN_COMMAND, receipt), data)
        self.assertEqual(frames(Parser(Limits(), FROM_CLIENT), b"FOO\nreceipt:7\n"), [])

    def refuse(self, expected: Fault, data: bytes, version: Version = V1_2, limits: Limits | None = None) -> StompError:
        """See to it that these bytes are refused with their last byte, not before, however they are cut."""
        errors = [
            frames(parser(version, limits), data),
            frames(parser(version, limits), *one_by_one(data)),
            frames(parser(version, limits), data + b"\n" * 1000),
        ]
        self.assertEqual(frames(parser(version, limits), data[:-1]), [], data)
        for items in errors:
            self.assertEqual(len(items), 1, (data, items))
            (error,) = items
            assert isinstance(error, StompError), (data, error)
            self.assertEqual((error.fault, str(error)), (expected, str(errors[0][0])), data)
            self.assertRegex(error.detail, r"^[A-Z\"].*[^ ]\.$")
        (error,) = errors[0]
        assert isinstance(error, StompError)
        return error

    def test_commands(self) -> None:
        for data in (
            b"HELLO\n\n",
            b"send\n\n",
            b"SEND \n\n",
            b" SEND\n\n",
            b"MESSAGE\n\n",
            b"UNSUBSCRIBER\n\n",
            b"GET / HTTP/1.1"[:13],
            b"HELLO\nno colon\n",
        ):
            self.refuse(Fault.UNKNOWN_COMMAND, data)

    def test_heads(self) -> None:
        for data in (
            b"SEND\nno colon\n",
            b"SEND\n:no name\n",
            b"SEND\nx:\xff\n",
            b"\xffEND\n",
            b"\0",
            b"\n\0",
            b"SEND\0",
            b"SEND\nx:1\n\0",
            b"SEND\nx:1\0",
        ):
            for version in VERSIONS:
                self.refuse(MALFORMED, data, version)
        self.refuse(MALFORMED, b"SEND\n : no name\n", V1_0)

    def test_escapes(self) -> None:
        for version, escaped in ((V1_2, b"\\t"), (V1_2, b"\\"), (V1_1, b"\\r"), (V1_1, b"\\x")):
            self.refuse(MALFORMED, b"SEND\nx:" + escaped + b"\n", version)
            self.refuse(MALFORMED, b"SEND\n" + escaped + b":x\n", version)

    def test_content_length(self) -> None:
        for value in (b"-1", b"x", b"", b"1.0", b"+1", b"1e3", b"0x10", "\u0661".encode()):
            self.refuse(Fault.INVALID_HEADER, b"SEND\ncontent-length:" + value + b"\n")

    def test_too_large_a_content_length_is_refused_when_it_is_read(self) -> None:
        for value in (b"262145", b"9" * 15, b"9" * 16, b"9" * 8000):
            self.refuse(TOO_BIG, b"SEND\ncontent-length:" + value + b"\n")

    def test_no_nul_after_the_body(self) -> None:
        self.refuse(MALFORMED, b"SEND\ncontent-length:2\n\nabc")
        self.refuse(MALFORMED, b"BEGIN\ncontent-length:2\n\nabc", V1_0)

    def test_a_body_that_does_not_belong(self) -> None:
        for version in (V1_1, V1_2):
            for command in set(FROM_CLIENT) - {"SEND", "CONNECT", "STOMP"}:
                error = self.refuse(MALFORMED, command.encode() + b"\n\nb", version)
                self.assertEqual(error.detail, f"{command} must not have a body.")
                self.refuse(MALFORMED, command.encode() + b"\ncontent-length:1\n\n", version)
            self.refuse(MALFORMED, b"CONNECT\naccept-version:1.0,1.1\n\nb", version)

    def test_the_receipt_comes_along_if_it_was_read(self) -> None:
        for data, receipt in (
            (b"SEND\nreceipt:r-1\nno colon\n", "r-1"),
            (b"SEND\nreceipt:r\\c1\ncontent-length:x\n", "r:1"),
            (b"BEGIN\nreceipt:r-1\n\nb", "r-1"),
            (b"SEND\nno colon\n", None),
            (b"HELLO\n\n", None),
        ):
            for items in (frames(parser(), data), frames(parser(), *one_by_one(data))):
                (error,) = items
                assert isinstance(error, StompError)
                self.assertEqual(error.receipt, receipt)

    def test_the_receipt_of_an_earlier_frame_does_not(self) -> None:
        (_, error) = frames(parser(), b"SEND\nreceipt:r-1\n\n\0HELLO\n\n")
        assert isinstance(error, StompError)
        self.assertIsNone(error.receipt)

    def test_frames_before_the_fault_come_out_and_none_after(self) -> None:
        items = frames(parser(), b"BEGIN\n\n\0ABORT\n\n\0HELLO\n\n\0SEND\n\n\0", b"SEND\n\n\0")
        self.assertEqual([type(item) for item in items], [Frame, Frame, StompError])

    def test_details_do_not_show_header_values(self) -> None:
        for data in (
            b"CONNECT\nBearer hunter2\n",
            b"CONNECT\n:hunter2\n",
            b"SEND\nx:hunter2\\t\n",
            b"SEND\nx:hunter2\xff\n",
        ):
            self.assertNotIn("hunter2", self.refuse(MALFORMED, data).detail)
