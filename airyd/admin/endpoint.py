"""Where the admin page may listen, and the token that it asks for."""

from __future__ import annotations

from typing import Final

from airyd.errors import ConfigurationError
from airyd.files import read_line
from airyd.listening.endpoint_strings import read_endpoint

_KINDS: Final = ("tcp", "tcp6", "ssl", "unix")
#: Characters that a token has at least: nobody can try so many.
_SHORTEST_TOKEN: Final = 16


def check_admin_endpoint(description: str, has_token: bool) -> None:
    r"""Raise ``ConfigurationError`` unless the admin page may listen on this endpoint string.

    Without a token it asks nobody who they are, so that nobody outside of this machine may reach it: loopback TCP or
    a unix socket, ``tcp:8081:interface=127.0.0.1``, ``tcp6:8081:interface=\:\:1``, ``unix:/run/airyd/admin.sock``.
    """
    try:
        text = read_endpoint(description)
    except ValueError as error:
        raise ConfigurationError(f"--admin {description}: {error} (none turns the admin page off)") from None
    if text.kind not in _KINDS:
        raise ConfigurationError(f"--admin {description}: the admin page listens on tcp:, tcp6:, ssl: and unix: only")
    if not (has_token or text.is_loopback):
        raise ConfigurationError(
            f"--admin {description}: the admin page listens on loopback or a unix socket only, such as "
            "tcp:8081:interface=127.0.0.1 or unix:/run/airyd/admin.sock (none turns it off), unless there is an "
            "--admin-token-file"
        )


def read_admin_token(path: str | None) -> str | None:
    """Return the token that a file holds in its one line; None if there is no file.

    Errors: ``ConfigurationError`` whose text shows nothing of it.
    """
    if path is None:
        return None
    token = read_line("--admin-token-file", path).strip()
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigurationError(
            f"--admin-token-file {path}: give one line of {_SHORTEST_TOKEN} characters or more, ASCII without spaces"
        )
    return token
