"""A strict parser of HTTP/1.1 request heads (RFC 9112).

Two rules ensure that airyd and a proxy in front of it never read a request in two ways:

* A line ends at CR LF only (section 2.2). The bytes 80 to FF are content (RFC 9110, section 5.5).
* A head that does not match the RFC's grammar is refused with 400. Nothing is repaired, guessed or skipped, except one
  empty line before the request (section 2.2).

Sans-IO: :class:`RequestHeadReader` collects the bytes, :func:`parse_request_head` parses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from airyd.addresses import read_authority
from airyd.errors import RequestRefused

_HEAD_END: Final = b"\r\n\r\n"
_LINES_BESIDE_FIELDS: Final = 2  # the request line, and the empty line at the end

# A token (RFC 9110, section 5.6.2), and a field value: HTAB, and all bytes except controls (section 5.5).
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105  # no password
_TEXT: Final = r"[\t -~\x80-\xff]*+"
_ONE_TOKEN: Final = re.compile(_TOKEN)
#: A whole head (RFC 9112, sections 2.1, 3 and 5), one character per byte.
_HEAD: Final = re.compile(
    rf"(?P<method>{_TOKEN}) (?P<target>[!-~]++) HTTP/(?P<version>[0-9]\.[0-9])\r\n"
    rf"(?P<fields>(?:{_TOKEN}:{_TEXT}\r\n)*+)\r\n"
)
_REQUEST_LINE: Final = re.compile(rf"{_TOKEN} [!-~]++ HTTP/[0-9]\.[0-9]\r\n")
#: Lines that end with CR LF; the last one may be incomplete.
_ARRIVED: Final = re.compile(rf"{_TEXT}(?:\r\n{_TEXT})*+".encode("latin-1"))
#: origin-form or absolute-form (RFC 9112, section 3.2), without a fragment. Browsers leave more characters unescaped
#: than RFC 3986 allows.
_TARGET: Final = re.compile(r"(?:https?://(?P<authority>[^/?#]*+))?(?P<path>/[^?#]*+)(?:\?[^#]*+)?", re.IGNORECASE)
#: Absolute-form with another scheme (RFC 3986, section 4.3): valid, but not served here.
_OTHER_SCHEME: Final = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*+:[^#]*+", re.IGNORECASE)

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_BAD_LINES: Final = (
    "Lines of the request head must end with CR LF and have no control characters (RFC 9112, section 2.2)."
)
_BAD_REQUEST_LINE: Final = (
    "The request line must be a method, a target and the HTTP version, one space apart (RFC 9112, section 3)."
)
_BAD_FIELD: Final = (
    "A header must be a name, a colon and a value on one line, with no space before the colon (RFC 9112, section 5)."
)

#: Fields that a request may have only once: two of them could be read in two ways.
_ONCE: Final = {
    name.lower(): name
    for name in (
        "Authorization",
        "Content-Length",
        "Host",
        "Origin",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Transfer-Encoding",
    )
}


class RequestHead(NamedTuple):
    """A parsed request head; ``repr`` hides its content.

    :ivar method: such as ``GET``; case-sensitive
    :ivar path: the target's path, still escaped, without the query; the whole target if its scheme is not HTTP's
    :ivar host: host and port of an absolute target, else the ``Host`` field (RFC 9112, section 3.2.2)
    :ivar fields: values by name in lower case, one character per byte (latin-1), without the space around them; lines
        of one name are joined with ``;`` for ``Cookie`` (RFC 9113, section 8.2.3), else with a comma (RFC 9110, 5.3)
    """

    method: str
    path: str
    host: str
    fields: Mapping[str, str]

    def __repr__(self) -> str:
        return "RequestHead(...)"


class RequestHeadReader:
    """Collects a request head that arrives in pieces; the work grows with the bytes, not with the pieces.

    :param most_bytes: the longest head, in bytes, without its token
    :param most_fields: the most header lines
    :param token_bytes: the longest token, in bytes
    :param token_fields: the names of the fields that may hold the token, in lower case; of their lines, up to
        ``token_bytes`` bytes in all do not count
    """

    __slots__ = (
        "_arrived",
        "_has_begun",
        "_in_token_lines",
        "_line",
        "_lines",
        "_looked",
        "_most_bytes",
        "_most_fields",
        "_proper",
        "_token_bytes",
        "_token_fields",
    )

    def __init__(
        self, most_bytes: int, most_fields: int, token_bytes: int = 0, token_fields: Sequence[str] = ()
    ) -> None:
        self._arrived = bytearray()
        self._has_begun = False
        self._lines = 0
        self._proper = 0  # bytes at the start that match _ARRIVED
        self._most_bytes = most_bytes
        self._most_fields = most_fields
        self._token_bytes = token_bytes
        self._token_fields = token_fields
        self._line = 0  # where the first line begins that _count_token has not counted
        self._looked = 0  # up to where it has looked for the end of that line
        self._in_token_lines = 0  # bytes of the lines before, if they may hold a token

    @property
    def wants_body(self) -> bool:
        """Whether the response may have a body: the response to HEAD may not (RFC 9110, section 9.3.2)."""
        return not self._arrived.startswith(b"HEAD ")

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Add bytes; return the head and the bytes after it, or None while the head is incomplete.

        Errors: ``RequestRefused`` as soon as a limit is exceeded or a byte is invalid.
        """
        arrived, before = self._arrived, len(self._arrived)
        arrived += data
        if not self._has_begun:
            if bytes(arrived) in (b"", b"\r"):  # it may become the empty line
                return None
            before = 0
            self._has_begun = True
            if arrived.startswith(b"\r\n"):
                del arrived[:2]
        end = arrived.find(_HEAD_END, max(before - len(_HEAD_END) + 1, 0))
        size = len(arrived) if end < 0 else end + len(_HEAD_END)
        if size > self._most_bytes and size - self._count_token(size) > self._most_bytes:
            beside = f" and a token of {self._token_bytes}" if self._count_token(size) else ""
            raise RequestRefused(f"The request head is longer than {self._most_bytes} bytes{beside}.", _TOO_LARGE)
        self._lines += arrived.count(b"\r\n", max(before - 1, 0), size)
        if self._lines > self._most_fields + _LINES_BESIDE_FIELDS:
            raise RequestRefused(f"The request has more than {self._most_fields} headers.", _TOO_LARGE)
        if end >= 0:
            return bytes(arrived[:size]), bytes(arrived[size:])
        proper = _ARRIVED.match(arrived, self._proper)
        assert proper is not None  # noqa: S101  # it matches the empty string, too
        self._proper = proper.end()
        if bytes(arrived[self._proper :]) not in (b"", b"\r"):
            raise RequestRefused(_BAD_LINES)
        return None

    def _count_token(self, size: int) -> int:
        """Return how many of the first bytes are those of a token, which do not count."""
        while (end := self._arrived.find(b"\r\n", self._looked, size)) >= 0:
            self._in_token_lines += self._count_token_line(end + 2)
            self._line = self._looked = end + 2
        self._looked = max(self._line, size - 1)
        return min(self._in_token_lines + self._count_token_line(size), self._token_bytes)

    def _count_token_line(self, end: int) -> int:
        """Return the length of the line up to ``end`` if it holds a token, or may become such a line, else 0."""
        for field in self._token_fields:
            begin = f"{field}:".encode()
            if begin.startswith(self._arrived[self._line : min(end, self._line + len(begin))].lower()):
                return end - self._line
        return 0


def parse_request_head(head: bytes) -> RequestHead:
    """Parse a request head.

    :param head: the bytes up to and including the empty line that ends it

    Errors: ``RequestRefused``.
    """
    found = _HEAD.fullmatch(head.decode("latin-1"))
    if found is None:
        raise RequestRefused(_fault(head))
    method, target, version, lines = found.groups()
    if version != "1.1":
        raise RequestRefused("The version of HTTP must be 1.1.", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    fields = _fields(lines)
    host = _host(fields.get("host"))
    if _OTHER_SCHEME.fullmatch(target):
        return RequestHead(method, target, host, fields)
    asked = _TARGET.fullmatch(target)
    if asked is None:
        raise RequestRefused(
            "The request target must be a path such as /ws.communication, or an http: URL, without a fragment."
        )
    authority: str | None = asked["authority"]
    return RequestHead(method, asked["path"], host if authority is None else _host(authority), fields)


def elements(value: str) -> list[str]:
    """Return the elements of a list field, without empty ones (RFC 9110, section 5.6.1)."""
    stripped = [element.strip(" \t") for element in value.split(",")]
    return [element for element in stripped if element]


def is_token(text: str) -> bool:
    """Return whether a text is a token (RFC 9110, section 5.6.2)."""
    return _ONE_TOKEN.fullmatch(text) is not None


def _fields(lines: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name not in fields:
            fields[name] = value
        elif name in _ONCE:
            raise RequestRefused(f"The request must have one {_ONCE[name]} header, not two.")
        else:
            fields[name] += f"{'; ' if name == 'cookie' else ', '}{value}"
    return fields


def _host(authority: str | None) -> str:
    """Return the host and port after checking them (RFC 9112, section 3.2)."""
    try:
        read_authority(authority or "")
    except ValueError:
        raise RequestRefused(
            "The request must have one Host header: a name or address, and a port if it is not 80."
        ) from None
    return authority or ""


def _fault(head: bytes) -> str:
    """Return the error for a head that does not match the grammar."""
    if not _ARRIVED.fullmatch(head):
        return _BAD_LINES
    return _BAD_FIELD if _REQUEST_LINE.match(head.decode("latin-1")) else _BAD_REQUEST_LINE
