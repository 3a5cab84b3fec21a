"""Validates the UTF-8 of WebSocket messages piece by piece (RFC 6455, section 8.1), in the form that Autobahn calls."""

from __future__ import annotations

from codecs import utf_8_decode


class Utf8Validator:
    """Validates the text of a message piece by piece with Python's decoder; Autobahn calls its methods."""

    __slots__ = ("_begun", "_count")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a message."""
        self._begun = b""  # the bytes of an incomplete character
        self._count = 0

    def validate(self, piece: bytes) -> tuple[bool, bool, int, int]:
        """Validate a piece; return a tuple in the form of Autobahn's validator.

        It says whether the piece is valid, whether it ends with a complete character, and, two times, how many bytes of
        the message come before the first incomplete or invalid character.
        """
        data = self._begun + piece
        try:
            _, read = utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            return False, False, self._count + error.start, self._count + error.start
        self._begun = data[read:]
        self._count += read
        if b"\xed\xa0" <= self._begun < b"\xee":  # half a surrogate pair, which Python refuses only with the third byte
            return False, False, self._count, self._count
        return True, not self._begun, self._count, self._count
