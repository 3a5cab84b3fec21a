"""The files that options name: passwords, tokens, certificates, lists. What is wrong with one is said in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from airyd.errors import ConfigurationError

#: Bytes of a file with a password, a token, certificates or a list. A device such as /dev/zero never ends.
MOST_BYTES: Final = 16 * 1024 * 1024


def read_bytes(name: str, path: str, most: int = MOST_BYTES) -> bytes:
    """Return what a file holds.

    :param name: what names the file, such as ``--admin-token-file``: the error begins with it
    :param most: bytes that it may have

    Raises ``ConfigurationError`` if it can't be read, or is too big. The text shows nothing of the content.
    """
    if not path:
        raise ConfigurationError(f"{name} is empty; name a file")
    try:
        return content_of(path, most)
    except ValueError as error:
        raise ConfigurationError(f"{name} {path}: {error}") from None


def content_of(path: str, most: int = MOST_BYTES) -> bytes:
    """Return what a file holds.

    Raises ``ValueError`` if it can't be read, or is too big. The text gives the reason alone, without the path.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise ValueError(_reason(error)) from None
    if len(content) > most:
        raise ValueError(f"the file has more than {most} bytes; name another file")
    return content


def read_text(name: str, path: str, most: int = MOST_BYTES) -> str:
    """Return the text that a file holds, which must be UTF-8; otherwise as :func:`read_bytes`."""
    try:
        return read_bytes(name, path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} {path}: the file is not text in UTF-8; write it as such") from None


def read_line(name: str, path: str) -> str:
    """Return the one line that a file holds, without its end; otherwise as :func:`read_text`.

    Raises ``ConfigurationError`` if there is none, or more than one.
    """
    line = read_text(name, path).rstrip("\r\n")
    if not line:
        raise ConfigurationError(f"{name} {path}: the file is empty; write one line into it")
    if len(line.splitlines()) > 1:
        raise ConfigurationError(f"{name} {path}: the file has several lines; leave only one")
    return line


def _reason(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case IsADirectoryError():
            return "this is a folder; name a file"
        case PermissionError():
            return f"the user that airyd runs as (number {os.geteuid()}) may not read it"
        case OSError():
            return f"cannot be read: {error.strerror}"
    return "this can't be the name of a file"  # a NUL, or half a character
