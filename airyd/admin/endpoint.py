"""Where the admin page may listen."""

from __future__ import annotations

from airyd.addresses import is_loopback
from airyd.errors import ConfigurationError


def check_admin_endpoint(description: str) -> None:
    r"""Raise ``ConfigurationError`` unless the endpoint string is loopback TCP or a unix socket.

    The admin page asks nobody who they are, so that nobody outside of this machine may reach it:
    ``tcp:8081:interface=127.0.0.1``, ``tcp6:8081:interface=\:\:1``, ``unix:/run/airyd/admin.sock``.
    """
    kind = description.partition(":")[0]
    if kind not in ("tcp", "tcp6", "unix") or not is_loopback(description):
        raise ConfigurationError(
            f"--admin {description}: the admin page listens on loopback or a unix socket only, such as "
            "tcp:8081:interface=127.0.0.1 or unix:/run/airyd/admin.sock (none turns it off)"
        )
