"""Trusted proxies: which peers may pass on the address of a client, and how their headers are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

#: The value of ``--trust-proxy`` for proxies that connect to a unix socket, which have no address.
UNIX: Final = "unix"
X_FORWARDED_FOR: Final = "x-forwarded-for"
FORWARDED: Final = "forwarded"
#: The values of ``--proxy-header``: names of headers in lower case.
PROXY_HEADERS: Final = (X_FORWARDED_FOR, FORWARDED)

_PORT: Final = "(?::[0-9]{1,5})?"
#: An address as proxies write it: bare, or with a port, or an IPv6 address in brackets.
_NODE: Final = re.compile(
    rf"(?:(?P<v4>[0-9.]+){_PORT}|\[(?P<bracketed>[0-9A-Fa-f:.]+)\]{_PORT}|(?P<v6>[0-9A-Fa-f:.]+))"
)
#: ``Forwarded`` (RFC 7239, section 4): a list of elements, each of pairs.
_PAIR: Final = re.compile(r"""[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([^\s",;=]+|"(?:[^"\\]|\\.)*")[ \t]*)?([,;]|\Z)""")


class TrustedProxies:
    """The proxies of ``--trust-proxy``, and the header in which they pass on the address of a client.

    :param trusted: networks or addresses, such as ``10.0.0.0/8``, and :data:`UNIX`
    :param header: one of :data:`PROXY_HEADERS`

    Raises ``ValueError`` for a text that is not a network.

    :ivar header: as given
    """

    def __init__(self, trusted: Iterable[str], header: str = X_FORWARDED_FOR) -> None:
        texts = list(trusted)
        self._trusts_unix = UNIX in texts
        self._networks = [read_network(text) for text in texts if text != UNIX]
        self.header = header

    def __bool__(self) -> bool:
        return self._trusts_unix or bool(self._networks)

    def trusts(self, host: str | None) -> bool:
        """Return whether a peer is trusted.

        :param host: its IP address; None for a peer on a unix socket
        """
        if host is None:
            return self._trusts_unix
        address = read_address(host)
        return address is not None and self._contains(address)

    def _contains(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def client_of(self, value: str) -> IPv4Address | IPv6Address | None:
        """Return the client's address in a header of a trusted proxy: the last address that is not a trusted proxy's.

        If all addresses are those of proxies, return the first one. Return None for a malformed value. In
        ``X-Forwarded-For``, everything before the client's address is ignored, since the client may have written it.

        :param value: the header's value; the lines of several headers are joined with commas
        """
        nodes = value.split(",") if self.header == X_FORWARDED_FOR else _forwarded_nodes(value)
        address = None
        for node in reversed(nodes or ()):
            address = read_node(node.strip(" \t"))
            if address is None or not self._contains(address):
                break
        return address


NO_PROXIES: Final = TrustedProxies(())


def read_network(text: str) -> IPv4Network | IPv6Network:
    """Return the network of a text such as ``10.0.0.0/8``, ``fd00::/8`` or ``192.0.2.1``; raises ``ValueError``."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("give a network such as 10.0.0.0/8 or fd00::/8, an address, or unix") from None
    if "/" in text and str(ip_address(text.partition("/")[0])) != str(network.network_address):
        raise ValueError(f"this is an address within a network; did you mean {network}?")
    return network


def read_trusted(text: str) -> str:
    """Check a value of ``--trust-proxy`` and return it; raises ``ValueError``."""
    if text != UNIX:
        read_network(text)
    return text


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a text; an IPv4 address that is mapped to IPv6 becomes IPv4. None if it is not one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_node(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address of an entry such as ``192.0.2.1``, ``192.0.2.1:4000`` or ``[2001:db8::1]:4000``."""
    found = _NODE.fullmatch(text)
    return None if found is None else read_address(found["v4"] or found["bracketed"] or found["v6"])


def _forwarded_nodes(value: str) -> Sequence[str] | None:
    """Return the ``for`` of each element of a ``Forwarded`` header; None if it is malformed.

    An element without ``for`` has an empty one.
    """
    nodes = []
    node: str | None = None
    for name, text, mark in _pairs(value):
        if name is None:
            return None
        if name.lower() == "for":
            if node is not None:
                return None
            node = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        if mark != ";":
            nodes.append(node or "")
            node = None
    return nodes


def _pairs(value: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield the name, the value and the mark after each pair; a name of None means that the header is malformed."""
    place = 0
    while place <= len(value):
        found = _PAIR.match(value, place)
        if found is None:
            yield None, "", ""
            return
        yield found[1] or "", found[2] or "", found[3]
        if not found[3]:
            return
        place = found.end()
