"""The STOMP parser: reads frames from bytes incrementally, in linear time, and checks limits while a frame arrives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from airyd.errors import Fault, StompError
from airyd.events import REFRESH
from airyd.limits import Limits
from airyd.stomp.fast_path import plain_frame
from airyd.stomp.frames import Frame
from airyd.stomp.spec import (
    LOGIN_COMMANDS,
    LONGEST_COMMAND,
    UNESCAPED,
    Command,
    Header,
    Version,
    negotiate_version,
    unescape,
)

# Heart-beats and the line ends that may follow a frame. A CR means nothing between frames, so one without
# an LF is skipped, too. A character class, unlike (\r?\n)*, needs no memory per repeat.
_EOLS: Final = re.compile(rb"[\r\n]*")
_PADDING: Final = " \t\r"
#: The beginnings of the lines of CONNECT that may hold a token (``airyd.auth.credentials``).
_TOKEN_LINES: Final = (b"Authorization:", b"authorization:", f"{Header.PASSCODE}:".encode())
_LONGEST_BEGINNING: Final = max(map(len, _TOKEN_LINES))
#: A ``content-length`` with more digits is refused without being converted: no limit is that high.
_LENGTH_DIGITS: Final = 15


class Parser:
    """Parses one direction of a connection: bytes in, :class:`Frame` out.

    The caller calls :meth:`feed` with each chunk, then :meth:`next_frame` until it returns None. A fault is raised
    only after all earlier frames of the chunk have been returned, and closes the parser. Between frames the parser
    holds no bytes.

    Until :meth:`connected` is called, only CONNECT, STOMP and their answers are parsed correctly: the parser
    assumes version 1.0 and refuses frames larger than ``limits.connect_frame``.

    Until then, a token may be in a header of CONNECT or STOMP, and later in the body of a SEND to ``/airyd/token``.
    There, up to ``limits.token_size`` bytes do not count for the other limits.
    """

    __slots__ = (
        "_body_length",
        "_closed",
        "_commands",
        "_crlf",
        "_data",
        "_frame",
        "_frame_limit",
        "_header_count",
        "_in_body",
        "_is_connected",
        "_limits",
        "_pos",
        "_scanned",
        "_size",
        "_skips_body",
        "_token_room",
        "_version",
    )

    def __init__(self, limits: Limits, commands: Mapping[str, bool]) -> None:
        """Create a parser for the frames of one side.

        :param limits: those of frames, bodies, headers and tokens apply here
        :param commands: the side's commands, and whether each may have a body, such as ``spec.FROM_CLIENT``
        """
        self._limits = limits
        self._commands = commands
        self._version = Version.V1_0
        self._frame_limit = limits.connect_frame
        self._is_connected = False
        self._closed = False
        # The unparsed bytes begin at _pos; those before _scanned were searched without success. A chunk is
        # parsed in place; only an unparsed rest is copied into a growing buffer.
        self._data: bytes | bytearray = b""
        self._pos = 0
        self._scanned = 0
        self._begin()

    def _begin(self) -> None:
        """Reset the state for the next frame."""
        self._frame: Frame | None = None
        self._size = 0  # bytes of this frame's lines, without a token
        self._token_room = self._limits.token_size  # bytes of its lines that may still be a token's
        self._crlf = False
        self._header_count = 0
        self._body_length: int | None = None
        self._in_body = False
        self._skips_body = False

    @property
    def buffered(self) -> int:
        """The number of unparsed bytes."""
        return len(self._data) - self._pos

    @property
    def is_between_frames(self) -> bool:
        """Whether no frame has begun."""
        return self._frame is None and self._pos == len(self._data)

    def reduce_token_room(self, size: int) -> None:
        """Exempt ``size`` bytes less of a token in the first frame from the limits; called before the first byte."""
        self._token_room = max(self._token_room - size, 0)

    def connected(self, version: Version) -> None:
        """Apply the rules of this version and ``limits.frame`` from the next frame on."""
        self._version = version
        self._frame_limit = self._limits.frame
        self._is_connected = True

    def close(self) -> None:
        """Drop all unparsed bytes and ignore later ones."""
        self._closed = True
        self._data = b""
        self._pos = self._scanned = 0
        self._frame = None

    def feed(self, data: bytes) -> None:
        """Add a chunk of bytes, which may begin and end anywhere."""
        if self._closed or not data:
            return
        if self._pos == len(self._data):
            self._data = data
            self._pos = self._scanned = 0
            return
        self._compact()
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += data

    def next_frame(self) -> Frame | None:
        """Return the next frame, or None until more bytes arrive.

        Raises ``StompError`` if the peer broke a rule or exceeded a limit; no frames follow then.
        """
        if self._pos == len(self._data):
            return None
        try:
            frame = (self._read_plain() if self._frame is None else None) or self._read_any()
        except StompError:
            self.close()
            raise
        if frame is None or self._pos == len(self._data):
            self._compact()
        return frame

    def _read_plain(self) -> Frame | None:
        """Return the next frame if the fast path can read it, else None."""
        if self._data[self._pos] in b"\r\n" and (ends := _EOLS.match(self._data, self._pos)):
            self._pos = ends.end()
        found = plain_frame(self._data, self._pos, self._version, self._commands, self._limits, self._frame_limit)
        if found is None:
            return None
        frame, end = found
        self._pos = self._scanned = end + 1
        return frame

    def _read_any(self) -> Frame | None:
        frame = self._frame or self._read_command()
        if frame is None or not self._read_headers(frame) or not self._read_body(frame):
            return None
        self._begin()
        return frame

    def _compact(self) -> None:
        """Free the bytes that were parsed."""
        if self._pos == 0:
            return
        if self._pos == len(self._data):
            self._data = b""
        elif isinstance(self._data, bytes):
            self._data = self._data[self._pos :]
        else:
            del self._data[: self._pos]  # copies nothing: a bytearray moves its start instead
        self._scanned = max(0, self._scanned - self._pos)
        self._pos = 0

    def _fault(self, fault: Fault, detail: str) -> StompError:
        """Return an error for this frame, with its receipt if that has been read."""
        return StompError(fault, detail, None if self._frame is None else self._frame.receipt)

    def _read_line(self, longest: int, may_be_token: bool = False) -> str | None:
        """Return the next line without its LF, or None until it has arrived.

        Raises ``StompError`` as soon as the line must be longer, or must make the frame too big, even before its end
        has arrived.

        :param longest: the most bytes of the line, without a final CR
        :param may_be_token: whether its bytes do not count for the frame, as long as they may be a token
        """
        data = self._data
        start = max(self._scanned, self._pos)
        uncounted = self._token_room if may_be_token else 0
        room = self._frame_limit + uncounted - self._size - 1  # there must be a NUL too
        stop = self._pos + min(longest + 2, room)
        end = data.find(b"\n", start, stop)
        # A frame without a blank line would never be complete: a NUL shows that it has ended.
        if data.find(b"\0", start, stop if end < 0 else end) >= 0:
            raise self._fault(Fault.MALFORMED_FRAME, "A frame ended (NUL) before the blank line after its headers.")
        if end < 0:
            if len(data) >= stop:
                raise self._too_big() if room < longest + 2 else self._line_too_long(longest)
            self._scanned = len(data)
            return None
        line = data[self._pos : end]
        uncounted = min(uncounted, end + 1 - self._pos)
        self._token_room -= uncounted
        self._size += end + 1 - self._pos - uncounted
        self._pos = self._scanned = end + 1
        try:
            return str(line, "utf-8")
        except UnicodeDecodeError:
            raise self._fault(Fault.MALFORMED_FRAME, "The command and the headers must be UTF-8.") from None

    def _too_big(self) -> StompError:
        return self._fault(Fault.FRAME_TOO_BIG, f"A frame must not have more than {self._frame_limit} bytes here.")

    def _line_too_long(self, longest: int) -> StompError:
        if self._frame is None:
            return self._fault(Fault.UNKNOWN_COMMAND, "The first line of a frame is longer than any command.")
        return self._fault(Fault.FRAME_TOO_BIG, f"A header line must not have more than {longest} bytes.")

    def _read_command(self) -> Frame | None:
        """Start a frame with its first line; return None until that has arrived."""
        line = self._read_line(LONGEST_COMMAND)
        if line is None:
            return None
        self._crlf = line.endswith("\r")
        command = line[:-1] if self._crlf else line
        self._frame = frame = Frame(command)
        # In 1.1 a CR at a header's end may be data. It can't be in 1.2, nor in a frame whose command
        # line ends in CR LF too; in 1.0 it is trimmed.
        self._crlf = self._crlf or command in UNESCAPED or self._version.rules.crlf
        return frame

    def _read_headers(self, frame: Frame) -> bool:
        """Read the frame's headers up to the blank line; return False until they have arrived."""
        if self._in_body:
            return True
        if frame.command in self._commands:
            return self._take_headers(frame)
        # An unknown command is refused after its headers, because the ERROR repeats a receipt among them.
        with suppress(StompError):
            if not self._take_headers(frame):
                return False
        raise self._fault(Fault.UNKNOWN_COMMAND, f'"{frame.command}" is not a known command.')

    def _take_headers(self, frame: Frame) -> bool:
        while True:
            may_be_token = self._is_token_line(frame)
            limit = self._limits.token_line if may_be_token else self._limits.header_line
            line = self._read_line(limit, may_be_token)
            if line is None:
                return False
            if line in ("", "\r"):
                self._end_head(frame)
                return True
            self._header_count += 1
            if self._header_count > self._limits.headers:
                raise self._fault(
                    Fault.TOO_MANY_HEADERS, f"A frame must not have more than {self._limits.headers} headers."
                )
            self._read_header(frame, line[:-1] if self._crlf and line[-1] == "\r" else line, limit)

    def _is_token_line(self, frame: Frame) -> bool:
        """Return whether the next line is one of CONNECT that may hold a token, or may become such a line."""
        if self._is_connected or frame.command not in LOGIN_COMMANDS:
            return False
        begins = bytes(self._data[self._pos : self._pos + _LONGEST_BEGINNING])
        return begins.startswith(_TOKEN_LINES) or any(each.startswith(begins) for each in _TOKEN_LINES)

    def _read_header(self, frame: Frame, line: str, limit: int) -> None:
        """Add one header to the frame; a repeated one is ignored (STOMP 1.2, "Repeated Header Entries")."""
        # _read_line() has limited the line, except for a CR; its bytes need counting only if it isn't ASCII.
        if len(line) > limit or (not line.isascii() and len(line.encode()) > limit):
            raise self._line_too_long(limit)
        name, colon, value = line.partition(":")
        if not colon:
            raise self._fault(
                Fault.MALFORMED_FRAME, f"Header line {self._header_count} of {frame.command} has no colon."
            )
        if frame.command not in UNESCAPED:
            if "\r" in line and self._version.rules.crlf:
                raise self._bare_cr(frame)
            if self._version.rules.trims_headers:
                name = name.strip(_PADDING)
                value = value.strip(_PADDING)
            elif "\\" in line:
                try:
                    name = unescape(name, self._version)
                    value = unescape(value, self._version)
                except ValueError as error:
                    raise self._fault(
                        Fault.MALFORMED_FRAME, f"In header line {self._header_count} of {frame.command} {error}."
                    ) from None
        if not name:
            raise self._fault(
                Fault.MALFORMED_FRAME, f"Header line {self._header_count} of {frame.command} has no name."
            )
        if name not in frame.headers:
            frame.headers[name] = value
            if name == Header.CONTENT_LENGTH:
                self._body_length = self._parse_length(frame, value)

    def _bare_cr(self, frame: Frame) -> StompError:
        """Return the error for a CR that isn't at a line's end (STOMP 1.2, "Augmented BNF"; 1.0 and 1.1 allow it)."""
        return self._fault(
            Fault.MALFORMED_FRAME, f"A header of {frame.command} has a CR without an LF; escape it in STOMP 1.2."
        )

    def _parse_length(self, frame: Frame, value: str) -> int:
        """Parse a ``content-length``; refuse one that is too large before the body arrives."""
        digits = value.strip(_PADDING)
        if not (digits.isascii() and digits.isdecimal()):
            raise self._fault(Fault.INVALID_HEADER, "A content-length must be a decimal number of bytes.")
        if len(digits) > _LENGTH_DIGITS:
            raise self._body_too_big()
        length = int(digits)
        self._check_length(frame, length)
        return length

    def _check_length(self, frame: Frame, length: int) -> None:
        """Refuse a body of this many bytes if it is too large, by the headers that are known so far."""
        if length <= self._longest_token_body(frame):
            return
        if length > self._limits.body:
            raise self._body_too_big()
        if self._size + length >= self._frame_limit:
            raise self._too_big()

    def _body_too_big(self) -> StompError:
        return self._fault(Fault.FRAME_TOO_BIG, f"A body must not have more than {self._limits.body} bytes.")

    def _longest_token_body(self, frame: Frame) -> int:
        """Return the most bytes of the body if it is a token, or may be one before the destination is known, else 0."""
        is_token = self._is_connected and frame.command == Command.SEND
        return self._limits.token_body if is_token and frame.headers.get(Header.DESTINATION, REFRESH) == REFRESH else 0

    def _end_head(self, frame: Frame) -> None:
        """Check the complete headers, and decide whether a body may follow."""
        self._in_body = True
        rules = self._version.rules
        if frame.command in LOGIN_COMMANDS:
            # The headers of this frame itself say which version's rules apply to it.
            rules = (negotiate_version(frame.headers.get(Header.ACCEPT_VERSION)) or Version.V1_0).rules
            if rules.trims_headers:
                trimmed: dict[str, str] = {}
                for name, value in frame.headers.items():
                    trimmed.setdefault(name.strip(_PADDING), value.strip(_PADDING))
                frame.headers = trimmed
            if rules.crlf and any("\r" in text for header in frame.headers.items() for text in header):
                raise self._bare_cr(frame)
        if self._commands.get(frame.command, True):  # an unknown one is refused anyway
            return
        if rules.refuses_stray_bodies:
            if self._body_length:
                raise self._stray_body(frame)
            self._body_length = 0
        self._skips_body = True

    def _stray_body(self, frame: Frame) -> StompError:
        return self._fault(Fault.MALFORMED_FRAME, f"{frame.command} must not have a body.")

    def _read_body(self, frame: Frame) -> bool:
        """Read the frame's body and the NUL after it; return False until they have arrived."""
        data, start, length = self._data, self._pos, self._body_length
        if length is None:
            longest = min(self._limits.body, self._frame_limit - self._size - 1)
            longest = max(longest, self._longest_token_body(frame))
            end = data.find(b"\0", max(self._scanned, start), start + longest + 1)
            if end < 0:
                if self.buffered > longest:
                    raise self._fault(
                        Fault.FRAME_TOO_BIG, f"This frame's body must not have more than {longest} bytes."
                    )
                self._scanned = len(data)
                return False
        else:
            self._check_length(frame, length)
            end = start + length
            if len(data) <= end:
                return False
            if data[end] != 0:
                if self._skips_body and not length:
                    raise self._stray_body(frame)
                raise self._fault(Fault.MALFORMED_FRAME, f"No NUL follows the {length} bytes of the body.")
        if not self._skips_body:
            frame.body = bytes(data[start:end])
        self._pos = self._scanned = end + 1
        return True
