"""Reads the files that options name (passwords, tokens, certificates, lists), with errors of one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from airyd.errors import ConfigurationError

#: Largest file that is read, in bytes. A device such as /dev/zero never ends.
MOST_BYTES: Final = 16 * 1024 * 1024


def read_file(path: str, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file.

    :param most: the largest size, in bytes

    Raises ``ValueError`` if the file can't be read or is too big. The text is only the reason and never quotes the
    content.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise ValueError(_reason(error)) from None
    if len(content) > most:
        raise ValueError(f"the file has more than {most} bytes; name another file")
    return content


def read_bytes(name: str, path: str, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file that an option names.

    :param name: the option, such as ``--admin-token-file``; errors begin with it
    :param most: the largest size, in bytes

    Raises ``ConfigurationError`` if the file can't be read or is too big. The text never quotes the content.
    """
    if not path:
        raise ConfigurationError(f"{name} is empty; name a file")
    try:
        return read_file(path, most)
    except ValueError as error:
        raise ConfigurationError(f"{name} {path}: {error}") from None


def read_text(name: str, path: str, most: int = MOST_BYTES) -> str:
    """Return the content of a file in UTF-8; see :func:`read_bytes`."""
    try:
        return read_bytes(name, path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} {path}: the file is not text in UTF-8; save it in that encoding") from None


def read_line(name: str, path: str) -> str:
    """Return the only line of a file, without the line end; see :func:`read_text`.

    Raises ``ConfigurationError`` if the file is empty or has several lines.
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
    return "this can't be the name of a file"  # it holds a NUL or a lone surrogate
