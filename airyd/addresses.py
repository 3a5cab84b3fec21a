"""Which addresses only this machine can reach: names and address literals, and those in ``Host`` headers."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z._-]+))(?::[0-9]{0,5})?")


def is_loopback_host(host: str) -> bool:
    """Say whether a host name or address literal (IPv6 without brackets) is ``localhost``, 127.0.0.0/8 or ``::1``."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str:
    """Return the host in ``host``, ``host:port`` or ``[address]:port``: in lower case, without brackets.

    Raises ``ValueError`` for what is neither (RFC 9110, section 7.2).
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ValueError("not a host and a port")
    return str(found["v6"] or found["name"]).lower()
