"""Reads the files that options name (passwords, tokens, certificates, lists), with errors of one line.

The daemon reads files while clients wait, and again at each reload. So it takes regular files only: a pipe can be read
only once, and reading a pipe or a device may block.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from airyd.errors import ConfigurationError

#: Largest file that is read, in bytes. A device such as /dev/zero never ends.
MOST_BYTES: Final = 16 * 1024 * 1024
_FOLDER: Final = "this is a folder; name a file"


#: A terminal does not become the process's own.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY


def read_file(path: str, most: int = MOST_BYTES, may_block: bool = False) -> bytes:
    """Return the content of a file.

    :param most: the largest size, in bytes
    :param may_block: whether it may be a pipe or a terminal, which a command can wait for

    Raises ``ValueError`` if the file can't be read or is too big. The text is only the reason and never quotes the
    content.
    """
    try:
        descriptor = os.open(path, _FLAGS if may_block else _FLAGS | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise ValueError(_reason(error)) from None
    try:
        if not may_block:
            _check_regular(os.fstat(descriptor).st_mode)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ValueError(_reason(error)) from None
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError(f"the file has more than {most} bytes; name another file")
    return content


def is_folder(path: str) -> bool:
    """Return whether this is a folder; a name that no file can have, such as one too long, is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _check_regular(mode: int) -> None:
    """Raise ``ValueError`` unless this is the mode of a regular file."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ValueError(_FOLDER)
    kind = "a pipe, which can be read only once" if stat.S_ISFIFO(mode) else "a device or a socket"
    raise ValueError(f"this is {kind}; name a file on disk, because airyd reads it again at a reload")


def read_bytes(name: str, path: str, most: int = MOST_BYTES, may_block: bool = False) -> bytes:
    """Return the content of a file that an option names.

    :param name: the option, such as ``--admin-token-file``; errors begin with it
    :param most: the largest size, in bytes
    :param may_block: see :func:`read_file`

    Raises ``ConfigurationError`` if the file can't be read or is too big. The text never quotes the content.
    """
    if not path:
        raise ConfigurationError(f"{name} is empty; name a file")
    try:
        return read_file(path, most, may_block)
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
            return _FOLDER
        case PermissionError():
            return f"the user that airyd runs as (number {os.geteuid()}) may not read it"
        case OSError():
            return f"cannot be read: {error.strerror}"
    return "this can't be the name of a file"  # it holds a NUL or a lone surrogate
