"""Standard output: prints a text and exits, also when the reader has gone, as that of ``airyd --help | head -1``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, Any, NoReturn


def print_and_exit(program: str, text: str) -> NoReturn:
    """Print a text and exit: with status 0, or with 1 if standard output can't be written to.

    A reader that has closed the pipe got what it wanted, so nothing is said about that.

    :param program: what the user called, for the error message
    """
    status = 0
    try:
        print(text, flush=True)
    except BrokenPipeError:
        status = 1
    except OSError as error:
        print(f"{program}: cannot write: {error.strerror or error}", file=sys.stderr)
        status = 1
    if status:
        discard_output(sys.stdout)
    sys.exit(status)


def discard_output(stream: IO[Any]) -> None:
    """Redirect a closed standard output to ``/dev/null``, so that the interpreter's last flush does not fail again."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
