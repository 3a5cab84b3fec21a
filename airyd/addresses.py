"""Hosts: which are loopback, and the host and port of a ``Host`` header."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, NamedTuple

_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z._-]+))(?::(?P<port>[0-9]{0,5}))?")


class Authority(NamedTuple):
    """A host and a port, as in a ``Host`` header.

    :ivar host: in lower case; an IPv6 address has no brackets
    :ivar port: the digits; empty if there is no port
    """

    host: str
    port: str


def is_loopback_host(host: str) -> bool:
    """Say whether a host name or address literal (IPv6 without brackets) is ``localhost``, 127.0.0.0/8 or ``::1``."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_authority(text: str) -> Authority:
    """Return the host and port in ``host``, ``host:port`` or ``[address]:port`` (RFC 9110, section 7.2).

    Raises ``ValueError`` for any other text.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise ValueError("not a host and a port")
    return Authority((found["v6"] or found["name"]).lower(), found["port"] or "")
