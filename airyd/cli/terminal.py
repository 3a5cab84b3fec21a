"""The commands' standard output and error: escapes control characters, handles closed pipes, shows progress."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import BinaryIO

from airyd.standard_output import discard_output

#: Bidirectional overrides, embeddings and isolates, which reorder text on a terminal.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Unicode categories that a terminal may interpret or can't show: controls, surrogates, line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))
_ERASE_LINE = "\r\x1b[K"


class OutputClosed(Exception):
    """Standard output can't be written to any more.

    :ivar reason: the reason for the user; empty if the reader has closed the pipe
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def visible(text: str) -> str:
    r"""Return the text with all characters that a terminal might interpret written as escapes, such as ``\x1b``.

    Line ends and tabs are escaped too, so that the result is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if c in _REORDERING or unicodedata.category(c) in _HIDDEN_CATEGORIES else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


class Console:
    """Writes a command's results to standard output, and its messages to standard error.

    :ivar terminal: whether standard output is a terminal
    :ivar colour: whether results may have colours: the terminal supports them and ``NO_COLOR`` is not set
    :ivar follows: whether standard error is a terminal, which can show progress
    :ivar encoding: of standard output
    """

    def __init__(
        self, name: str, out: BinaryIO, err: BinaryIO, environ: Mapping[str, str], encoding: str = "utf-8"
    ) -> None:
        self.name = name
        self._out = out
        self._err = err
        self.encoding = encoding
        self._progress = False
        self.terminal = out.isatty()
        self.follows = err.isatty()
        self.colour = self.terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"

    def can_show(self, text: str) -> bool:
        """Return whether the encoding of standard output has these characters."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def show(self, text: str) -> None:
        """Write a line of text; the caller has made untrusted parts :func:`visible`.

        Errors: :class:`OutputClosed`.
        """
        self.write(text.encode(self.encoding, "backslashreplace") + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes to standard output and flush.

        Errors: :class:`OutputClosed`.
        """
        self.clear_progress()
        try:
            self._out.write(data)
            self._out.flush()
        except BrokenPipeError:
            discard_output(self._out)
            raise OutputClosed from None
        except OSError as error:
            discard_output(self._out)
            raise OutputClosed(f"cannot write: {error.strerror or error}") from error

    def say(self, text: str) -> None:
        """Write a message to standard error as one line; the text is made :func:`visible`."""
        self._tell(f"{self._eraser()}{self.name}: {visible(text)}\n")

    def progress(self, text: str) -> None:
        """Replace the progress line; only on a terminal."""
        if self.follows:
            self._tell(f"{_ERASE_LINE}{self.name}: {visible(text)}")
            self._progress = True

    def clear_progress(self) -> None:
        """Remove the progress line."""
        if self._progress:
            self._tell(self._eraser())

    def _eraser(self) -> str:
        shown, self._progress = self._progress, False
        return _ERASE_LINE if shown else ""

    def _tell(self, text: str) -> None:
        # If standard error is closed, there is no place to report that.
        with suppress(OSError):
            self._err.write(text.encode(self.encoding, "backslashreplace"))
            self._err.flush()
