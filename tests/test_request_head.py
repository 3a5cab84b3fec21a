"""Reading a request head (RFC 9112): good heads, refused heads, and none that another parser could read differently."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.addresses import read_authority
from airyd.errors import RequestRefused
from airyd.request_head import RequestHead, RequestHeadReader, elements, is_token, parse_request_head

LINE = b"GET /ws HTTP/1.1"
HOST = b"Host: airy.example"

#: Refused heads: the section (of RFC 9112 unless another is named) with the reason, and the lines.
REFUSED: Sequence[tuple[str, bytes]] = [
    ("2.2: a line that ends with LF", LINE + b"\n" + HOST + b"\r\n\r\n"),
    ("2.2: a header line that ends with LF", LINE + b"\r\n" + HOST + b"\nX: 1\r\n\r\n"),
    ("2.2: a header line that ends with CR", LINE + b"\r\n" + HOST + b"\rX: 1\r\n\r\n"),
    ("2.2: CR CR LF", LINE + b"\r\n" + HOST + b"\r\r\n\r\n"),
    ("2.2: an LF before the end", LINE + b"\r\n" + HOST + b"\r\n\n\r\n\r\n"),
    ("2.2: a second empty line in front", b"\r\n" + LINE + b"\r\n" + HOST + b"\r\n\r\n"),
    ("2.2: nothing but an end", b"\r\n\r\n"),
    ("2.2: a first header line that begins with a space", LINE + b"\r\n " + HOST + b"\r\n\r\n"),
    ("3: two spaces", b"GET  /ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3: two spaces", b"GET /ws  HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3: a tab", b"GET\t/ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3: a space in front", b" GET /ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3: a space at the end", b"GET /ws HTTP/1.1 \r\n" + HOST + b"\r\n\r\n"),
    ("3: no version", b"GET /ws\r\n" + HOST + b"\r\n\r\n"),
    ("3: a space in the target", b"GET /w s HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.1: a method that is not a token", b"G(T /ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.1: no method", b" /ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("2.3: a version in lower case", b"GET /ws http/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("2.3: a version of one number", b"GET /ws HTTP/1\r\n" + HOST + b"\r\n\r\n"),
    ("2.3: a version of two digits", b"GET /ws HTTP/1.10\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: a byte above 7F in the target", b"GET /ws\x85 HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: a control in the target", b"GET /ws\x0b HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: DEL in the target", b"GET /ws\x7f HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: a fragment", b"GET /ws#x HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: a fragment after the query", b"GET /ws?a#x HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: no slash in front", b"GET ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: only a query", b"GET ?a=/b HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2.2: no host", b"GET http:///ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2.2: a user", b"GET http://ann@airy.example/ws HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2.4: asterisk-form", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: no Host", LINE + b"\r\n\r\n"),
    ("3.2: two Hosts", LINE + b"\r\n" + HOST + b"\r\n" + HOST + b"\r\n\r\n"),
    ("3.2: an empty Host", LINE + b"\r\nHost:\r\n\r\n"),
    ("3.2: a user in Host", LINE + b"\r\nHost: ann@airy.example\r\n\r\n"),
    ("3.2: two hosts in one", LINE + b"\r\nHost: a.example, b.example\r\n\r\n"),
    ("3.2: a path in Host", LINE + b"\r\nHost: airy.example/ws\r\n\r\n"),
    ("3.2: a port that is not a number", LINE + b"\r\nHost: airy.example:x\r\n\r\n"),
    ("3.2: a byte above 7F in Host", LINE + b"\r\nHost: airy\x85.example\r\n\r\n"),
    ("3.2: such a byte around Host", LINE + b"\r\nHost: \xa0airy.example\r\n\r\n"),
    ("5.1: a space before the colon", LINE + b"\r\n" + HOST + b"\r\nX : 1\r\n\r\n"),
    ("5.1: a space before the colon of Host", LINE + b"\r\nHost : airy.example\r\n\r\n"),
    ("5: no colon", LINE + b"\r\n" + HOST + b"\r\nX\r\n\r\n"),
    ("5: no name", LINE + b"\r\n" + HOST + b"\r\n: 1\r\n\r\n"),
    ("5: a name that is not a token", LINE + b"\r\n" + HOST + b"\r\nX(): 1\r\n\r\n"),
    ("5: a byte above 7F in a name", LINE + b"\r\n" + HOST + b"\r\nX\xc3: 1\r\n\r\n"),
    ("5: NUL in a name", LINE + b"\r\n" + HOST + b"\r\nX\0: 1\r\n\r\n"),
    ("5.2: a folded line", LINE + b"\r\n" + HOST + b"\r\nX: 1\r\n 2\r\n\r\n"),
    ("5.2: a folded line, by a tab", LINE + b"\r\n" + HOST + b"\r\nX: 1\r\n\tY: 2\r\n\r\n"),
    *(
        (f"RFC 9110, 5.5: {byte:02X} in a value", LINE + b"\r\n" + HOST + b"\r\nX: 1" + bytes([byte]) + b"2\r\n\r\n")
        for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F)
    ),
    *(
        (
            f"RFC 9110, 5.3: two of {name}",
            LINE + b"\r\n" + HOST + f"\r\n{name}: a\r\n{name.upper()}: a\r\n\r\n".encode(),
        )
        for name in (
            "Authorization",
            "Content-Length",
            "Origin",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Transfer-Encoding",
        )
    ),
]


def head(*lines: bytes, target: bytes = b"/ws") -> bytes:
    """Return a good head with these lines after the one of ``Host``."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, HOST, *lines, b"", b""])


def outcome(read: bytes) -> RequestHead | HTTPStatus:
    """Return the parsed head, or the status with which it is refused."""
    try:
        return parse_request_head(read)
    except RequestRefused as refused:
        return refused.status


class ParseTests(SynchronousTestCase):
    """One head at a time."""

    def test_refused(self) -> None:
        for clause, wrong in REFUSED:
            with self.assertRaises(RequestRefused, msg=clause) as caught:
                parse_request_head(wrong)
            refused = caught.exception
            self.assertEqual(refused.status, HTTPStatus.BAD_REQUEST, clause)
            self.assertTrue(refused.reason.isprintable(), refused.reason)
            self.assertTrue(refused.reason.endswith("."), refused.reason)

    def test_versions(self) -> None:
        for version in (b"1.0", b"0.9", b"1.2", b"2.0", b"3.0"):
            status = outcome(head().replace(b"HTTP/1.1", b"HTTP/" + version))
            self.assertEqual(status, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, version)

    def test_good(self) -> None:
        read = parse_request_head(head(b"X-A:1", b"x-b: \t 2 \t ", b"X-Empty:", b"X-C: a:b"))
        self.assertEqual((read.method, read.path, read.host), ("GET", "/ws", "airy.example"))
        fields = {"host": "airy.example", "x-a": "1", "x-b": "2", "x-empty": "", "x-c": "a:b"}
        self.assertEqual(read.fields, fields)

    def test_methods(self) -> None:
        """Methods are case-sensitive, and any token is accepted."""
        for method in (b"POST", b"get", b"!#$%&'*+-.^_`|~09azAZ"):
            read = parse_request_head(head().replace(b"GET", method))
            self.assertEqual(read.method, method.decode())

    def test_targets(self) -> None:
        """The path stays as it is: nothing in it is decoded, resolved or cut off as parameters."""
        for target, path in (
            (b"/", "/"),
            (b"/ws?", "/ws"),
            (b"/ws?a=b?c/d:e@f", "/ws"),
            (b'/ws?q=[1]{2}|"^`<>\\', "/ws"),
            (b"/ws;a=b", "/ws;a=b"),
            (b"//evil.example/ws", "//evil.example/ws"),
            (b"/a/../ws", "/a/../ws"),
            (b"/%77s", "/%77s"),
            (b"/ws%23x", "/ws%23x"),
            (b"/http://airy.example/ws", "/http://airy.example/ws"),
        ):
            read = parse_request_head(head(target=target))
            self.assertEqual((read.path, read.host), (path, "airy.example"), target)

    def test_absolute_targets(self) -> None:
        """The host of an absolute target replaces the ``Host`` header (RFC 9112, section 3.2.2)."""
        for target, host in (
            (b"http://other.example/ws", "other.example"),
            (b"HTTPS://Other.Example:443/ws?a=http://b/c", "Other.Example:443"),
            (b"http://[::1]:8080/ws", "[::1]:8080"),
        ):
            read = parse_request_head(head(target=target))
            self.assertEqual((read.path, read.host), ("/ws", host), target)

    def test_another_scheme(self) -> None:
        """A target with another scheme is valid; the whole of it becomes the path (RFC 9112, section 3.2.2)."""
        for target in (
            b"ftp://airy.example/ws",
            b"mailto:/ws",
            b"ws://airy.example/ws?a",
            b"a+b-c.1:",
            b"airy.example:80",
        ):
            read = parse_request_head(head(target=target))
            self.assertEqual((read.path, read.host), (target.decode(), "airy.example"))

    def test_hosts(self) -> None:
        for host in ("airy.example", "AIRY.example:8080", "127.0.0.1:1", "[::1]", "[2001:db8::1]:8080", "a_b", "a:"):
            read = parse_request_head(head().replace(b"airy.example", host.encode()))
            self.assertEqual(read.host, host)

    def test_bytes_of_values(self) -> None:
        """Every byte that is not a control becomes one character of the value."""
        value = bytes([0x21, 0x09, *range(0x20, 0x7F), *range(0x80, 0x100), 0x85])
        self.assertEqual(parse_request_head(head(b"X: " + value)).fields["x"], value.decode("latin-1"))
        for byte in (0x85, 0xA0):  # white space for Python
            value = bytes([byte, 0x61, byte])
            self.assertEqual(parse_request_head(head(b"X: " + value)).fields["x"], value.decode("latin-1"))

    def test_no_byte_in_a_value_begins_a_header(self) -> None:
        for byte in range(0x100):
            read = outcome(head(b"X: \xc3" + bytes([byte]) + b"Authorization: Bearer t"))
            if isinstance(read, RequestHead):
                self.assertEqual(list(read.fields), ["host", "x"], hex(byte))

    def test_repeated(self) -> None:
        for lines, name, value in (
            ((b"Connection: keep-alive", b"connection: Upgrade"), "connection", "keep-alive, Upgrade"),
            ((b"X: 1", b"Y: 2", b"x:", b"X: 3"), "x", "1, , 3"),
            ((b"Cookie: a=b; c=d", b"cookie: e=f"), "cookie", "a=b; c=d; e=f"),
        ):
            self.assertEqual(parse_request_head(head(*lines)).fields[name], value)

    def test_nothing_is_shown(self) -> None:
        self.assertNotIn("s3cret", repr(parse_request_head(head(b"Authorization: s3cret", target=b"/s3cret"))))

    def test_elements(self) -> None:
        for value, wanted in (
            ("", []),
            ("a", ["a"]),
            (" a ,\tb,, c\t", ["a", "b", "c"]),
            (" , ,", []),
            ("a\xa0,\x85b", ["a\xa0", "\x85b"]),
        ):
            self.assertEqual(elements(value), wanted, value)

    def test_tokens(self) -> None:
        for text, good in (
            ("v12.stomp", True),
            ("", False),
            ("a b", False),
            ("a\n", False),
            ("\xe4", False),
            ("a=", False),
        ):
            self.assertEqual(is_token(text), good, text)


class ReaderTests(SynchronousTestCase):
    """Reading a head that arrives in pieces."""

    def reader(self, most_bytes: int = 1000, most_fields: int = 10) -> RequestHeadReader:
        """Return a reader that has read nothing yet."""
        return RequestHeadReader(most_bytes, most_fields)

    def test_in_pieces(self) -> None:
        whole = head(b"X: 1")
        for cut in range(len(whole) + 1):
            reader = self.reader()
            first = reader.feed(whole[:cut])
            if cut == len(whole):
                self.assertEqual(first, (whole, b""))
                continue
            self.assertIsNone(first)
            self.assertEqual(reader.feed(whole[cut:] + b"\r\n\r\nrest"), (whole, b"\r\n\r\nrest"), cut)

    def test_empty_line_before(self) -> None:
        """One empty line is skipped, however it is cut (RFC 9112, section 2.2); a second one is not."""
        whole = head(b"X: 1")
        for sent, wanted in ((b"\r\n" + whole, (whole, b"rest")), (b"\r\n\r\n" + whole, None)):
            for cut in range(len(sent) + 1):
                reader = self.reader()
                done = reader.feed(sent[:cut])
                if done is None:
                    done = reader.feed(sent[cut:] + b"rest")
                if wanted is None:
                    self.assertIsInstance(outcome(done[0] if done else b""), HTTPStatus, cut)
                else:
                    self.assertEqual(done, wanted if cut < len(sent) else (whole, b""), cut)

    def test_wants_body(self) -> None:
        for sent, wanted in ((head(), True), (head().replace(b"GET", b"HEAD"), False), (b"HEADS / ", True)):
            reader = self.reader()
            reader.feed(sent)
            self.assertEqual(reader.wants_body, wanted, sent)

    def test_bytes(self) -> None:
        for size, good in ((100, True), (101, False)):
            whole = head(b"X: ").replace(b"X: ", b"X: " + b"x" * (size - len(head(b"X: "))))
            for cut in (0, 1, size - 4, size - 1):
                reader = self.reader(most_bytes=100)
                self.assertIsNone(reader.feed(whole[:cut]))
                if good:
                    self.assertEqual(reader.feed(whole[cut:] + b"y" * 500), (whole, b"y" * 500))
                else:
                    self.assertTooLarge(reader, whole[cut:])

    def with_token(self, *fields: str) -> RequestHeadReader:
        """Return a reader of heads up to 100 bytes and a token of 40 in these fields."""
        return RequestHeadReader(100, 10, 40, fields or ("authorization", "cookie"))

    def test_a_token_does_not_count(self) -> None:
        """However the head is cut, it may be as much longer as its token is."""
        token = b"t" * 40
        for line in (b"Authorization: Bearer " + token, b"AUTHORIZATION:" + token, b"Cookie: x=y; t=" + token):
            for size, good in ((140, True), (141, False)):
                for lines in ((b"X: ", line), (line, b"X: ")):
                    short = head(*lines)
                    whole = short.replace(b"X: ", b"X: " + b"x" * (size - len(short)))
                    self.assertEqual(len(whole), size)
                    for cut in range(size):
                        self.assertEqual(self.is_good(self.with_token(), whole, cut), good, (line, size, cut))

    def is_good(self, reader: RequestHeadReader, whole: bytes, cut: int) -> bool:
        """Return whether a head is read in two pieces, and not refused as too large."""
        try:
            reader.feed(whole[:cut])
            return reader.feed(whole[cut:]) == (whole, b"")
        except RequestRefused as refused:
            self.assertEqual(refused.status, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False

    def test_a_token_byte_by_byte(self) -> None:
        reader, whole = self.with_token(), head(b"Cookie: a=b", b"Authorization: Bearer " + b"t" * 36)
        self.assertEqual(len(whole), 113)
        for byte in whole[:-1]:
            self.assertIsNone(reader.feed(bytes([byte])))
        self.assertEqual(reader.feed(whole[-1:]), (whole, b""))

    def test_where_no_token_may_be(self) -> None:
        for line in (b"X-Authorization: ", b"Authorizations: ", b"Auth: ", b"X: Authorization:", b"Cookie: "):
            long = head(line + b"t" * (101 - len(head(line))))
            for cut in range(len(long)):
                self.assertFalse(self.is_good(self.with_token("authorization"), long, cut), (line, cut))

    def test_what_is_said_beside_a_token(self) -> None:
        with self.assertRaisesRegex(RequestRefused, "100 bytes and a token of 40") as caught:
            self.with_token().feed(head(b"Authorization: " + b"t" * 300))
        self.assertEqual(caught.exception.reason, "The request head is longer than 100 bytes and a token of 40.")

    def test_bytes_without_an_end(self) -> None:
        reader = self.reader(most_bytes=100)
        for byte in b"G" * 100:
            self.assertIsNone(reader.feed(bytes([byte])))
        self.assertTooLarge(reader, b"G")

    def test_fields(self) -> None:
        for count, good in ((9, True), (10, False)):
            whole = head(*[b"X: 1"] * count)
            for cut in range(len(whole)):
                reader = self.reader()
                try:
                    reader.feed(whole[:cut])
                    done = reader.feed(whole[cut:])
                except RequestRefused as refused:
                    self.assertEqual(refused.status, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                    done = None
                self.assertEqual(done is not None, good, (count, cut))

    def test_fields_without_an_end(self) -> None:
        reader = self.reader()
        self.assertIsNone(reader.feed(head(*[b"X: 1"] * 10)[:-2]))
        self.assertTooLarge(reader, b"X: 1\r\n")

    def test_a_wrong_byte_is_refused_before_the_end_of_the_head(self) -> None:
        """airyd does not wait for the rest of a head that is already wrong."""
        good = LINE + b"\r\n" + HOST + b"\r\n"
        for wrong in (b"\0", b"X: \x1f", b"X: \x7f", b"X\n", b"X\rY", b"\r\r", b"\n"):
            for start in (b"", LINE + b"\r", good, good + b"\r"):
                if start.endswith(b"\r") and wrong == b"\n":
                    continue
                for cut in range(len(start + wrong)):
                    self.assertEqual(self.refused_at(start + wrong, cut), HTTPStatus.BAD_REQUEST, (start, wrong, cut))

    def refused_at(self, data: bytes, cut: int) -> HTTPStatus | None:
        """Feed these bytes in two pieces; return the status with which they are refused."""
        reader = self.reader()
        try:
            reader.feed(data[:cut])
            reader.feed(data[cut:])
        except RequestRefused as refused:
            return refused.status
        return None

    def assertTooLarge(self, reader: RequestHeadReader, data: bytes) -> None:  # named like those of unittest
        """Check that these bytes exceed a limit."""
        with self.assertRaises(RequestRefused) as caught:
            reader.feed(data)
        self.assertEqual(caught.exception.status, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def _plainly_read(read: bytes) -> RequestHead | HTTPStatus:
    """Read a head line by line, as the RFC describes it; the regular expressions must give the same result."""
    bad = HTTPStatus.BAD_REQUEST
    *lines, empty, end = read.split(b"\r\n")
    if (
        (empty, end) != (b"", b"")
        or not lines
        or any((byte < 0x20 and byte != 9) or byte == 0x7F for line in lines for byte in line)
    ):
        return bad
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not _is_token(parts[0]) or not parts[1] or any(not 0x21 <= byte <= 0x7E for byte in parts[1]):
        return bad
    version = parts[2]
    if (
        len(version) != 8
        or version[:5] != b"HTTP/"
        or version[6:7] != b"."
        or not (version[5:6] + version[7:]).isdigit()
    ):
        return bad
    named: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _is_token(name):
            return bad
        named.setdefault(name.decode().lower(), []).append(value.strip(b" \t").decode("latin-1"))
    if version != b"HTTP/1.1":
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    target = parts[1].decode()
    if "#" in target or not (target.startswith("/") or _has_scheme(target)) or len(named.get("authorization", [])) > 1:
        return bad
    try:
        (host,) = named.get("host", [])
        read_authority(host)
    except ValueError:
        return bad
    fields = {name: ("; " if name == "cookie" else ", ").join(values) for name, values in named.items()}
    return RequestHead(parts[0].decode(), target.partition("?")[0], host, fields)


def _has_scheme(target: str) -> bool:
    scheme, colon, _ = target.partition(":")
    return bool(colon) and scheme[:1].isalpha() and all(each.isalnum() or each in "+.-" for each in scheme)


def _is_token(text: bytes) -> bool:
    return bool(text) and all((chr(byte).isalnum() and byte < 0x80) or byte in b"!#$%&'*+-.^_`|~" for byte in text)


_CONTROLS = [b"\r\n", b"\r", b"\n", b"\t", b"\0", b"\x0b", b"\x1c", b"\x7f"]
_WORDS = [b" ", b":", b"#", b"?", b"X", b"Host: a", b"Cookie: b", b"Authorization: c", b"HTTP/1.1"]
_BYTES = st.sampled_from([*_CONTROLS, *_WORDS, b"\x85", b"\xa0", b"\xff"])
_ODD = st.lists(_BYTES, max_size=4).map(b"".join)
_LINES = st.lists(
    st.sampled_from([b"X: 1", b"x:\xc3\x85", b"Cookie: d", b"Authorization: e", b"Y:"]) | _ODD, max_size=4
)


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    """Generate a head that is good or has something odd somewhere."""
    lines = [b"GET /a HTTP/1.1", *draw(st.permutations([b"Host: a", *draw(_LINES)]))]
    whole = b"\r\n".join([*lines, b"", b""])
    place = draw(st.integers(0, len(whole)))
    return whole[:place] + draw(st.just(b"") | _ODD) + whole[place:] + b"\r\n\r\n"


class RandomTests(SynchronousTestCase):
    """Random heads, cut at random places."""

    @settings(max_examples=300, derandomize=True, deadline=None, database=None)
    @given(_heads(), st.data())
    def test_as_the_rfc_says(self, sent: bytes, data: st.DataObject) -> None:
        """The result is that of the plain reader, however the head is cut."""
        whole = sent.removeprefix(b"\r\n")
        end = whole.find(b"\r\n\r\n") + 4
        self.assertEqual(outcome(whole[:end]), _plainly_read(whole[:end]))
        places = sorted(data.draw(st.sets(st.integers(1, len(sent)), max_size=5)))
        reader = RequestHeadReader(1000, 50)
        found: RequestHead | HTTPStatus | None = None
        for start, stop in zip([0, *places], [*places, len(sent)], strict=True):
            try:
                done = reader.feed(sent[start:stop])
            except RequestRefused as refused:
                found = refused.status
                break
            if done is not None:
                self.assertEqual(done, (whole[:end], sent[len(sent) - len(whole) + end : stop]))
                found = outcome(done[0])
                break
        self.assertEqual(found, outcome(whole[:end]))
