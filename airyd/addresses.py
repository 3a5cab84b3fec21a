"""Which addresses only this machine can reach: of endpoint strings, and of ``Host`` headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final

#: The parameters of the TCP endpoints that Twisted brings, in the order in which they may stand without a name.
_TCP_PARAMETERS: Final[Mapping[str, Sequence[str]]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
}
_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z._-]+))(?::[0-9]{0,5})?")


def split_endpoint(description: str) -> tuple[list[str], dict[str, str]]:
    r"""Take a Twisted endpoint string apart: the words without a name (the first is the kind), and those with one.

    A backslash takes the next character as it is: ``tcp6:8080:interface=\:\:1``. Raises ``ValueError``
    if nothing follows a backslash.
    """
    words: list[str] = []
    named: dict[str, str] = {}
    name: str | None = None
    word = ""
    characters = iter(description + ":")
    for character in characters:
        if character == "\\":
            word += next(characters)
        elif character == "=" and name is None:
            name, word = word, ""
        elif character == ":":
            if name is None:
                words.append(word)
            else:
                named[name] = word
            name, word = None, ""
        else:
            word += character
    if word or name is not None:
        raise ValueError("nothing follows the last backslash")
    return words, named


def is_loopback(description: str) -> bool:
    """Say whether only programs on this machine can reach a server endpoint (a Twisted endpoint string).

    True for a unix socket, and for TCP and TLS on a loopback address. False for everything else, also
    for what can't be known: a socket of systemd's that isn't a unix one, a proxy in front, an unknown
    kind, a string that Twisted will refuse.
    """
    try:
        (kind, *words), named = split_endpoint(description)
    except ValueError:
        return False
    if kind == "systemd":
        return (words[0] if words else named.get("domain")) == "UNIX"
    if kind not in _TCP_PARAMETERS:
        return kind == "unix"
    given = {**dict(zip(_TCP_PARAMETERS[kind], words, strict=False)), **named}
    return is_loopback_host(given.get("interface", ""))


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
