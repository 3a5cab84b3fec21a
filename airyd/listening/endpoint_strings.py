"""A strict parser of Twisted's server endpoint strings, such as ``tcp:8080:interface=127.0.0.1``.

It is strict because the string decides which machines can connect.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Final, NamedTuple

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from airyd.addresses import is_loopback_host
from airyd.spelling import closest

#: The parameters of each kind of endpoint, in the order of positional parameters.
_PARAMETERS: Final[Mapping[str, Sequence[str]]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
    "tls": ("path", "port", "backlog", "interface"),
}
#: The required parameters of each kind, and an example.
_REQUIRED: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "tcp": (("port",), "tcp:8080:interface=127.0.0.1"),
    "tcp6": (("port",), r"tcp6:8080:interface=\:\:1"),
    "ssl": (("port", "privateKey"), "ssl:8443:privateKey=/etc/airyd/key.pem:certKey=/etc/airyd/fullchain.pem"),
    "unix": (("address",), "unix:/run/airyd/clients.sock"),
    "systemd": (("domain",), "systemd:domain=INET:index=0"),
    "tls": (("path",), "tls:/etc/airyd/certificates:8443"),
}
#: The prefix of an endpoint behind a proxy that sends clients' addresses in a header (PROXY protocol).
_HAPROXY: Final = "haproxy"
#: Bytes of a unix socket's path (unix(7): 108 with the NUL).
_LONGEST_PATH: Final = 107
#: The notations of other servers: a port, a host and a port, or a URL.
_FAMILIAR: Final = re.compile(
    r"(?:(?P<scheme>https?|wss?|tcp):(?://)?)?(?:(?P<host>\*|[0-9A-Za-z.-]*|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})/?",
    re.IGNORECASE,
)


class EndpointText(NamedTuple):
    """A parsed endpoint string.

    :ivar kind: such as ``tcp``
    :ivar parameters: the given parameters by name; empty for kinds of third-party plugins
    :ivar wrapped: for ``haproxy:``, the endpoint behind it
    """

    kind: str
    parameters: Mapping[str, str] = MappingProxyType({})
    wrapped: EndpointText | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect.

        True for a unix socket, and for TCP and TLS on a loopback address. False for everything else, including
        endpoints behind a proxy and those of third-party plugins, for which it can't be known.
        """
        if self.kind == "systemd":
            return self.parameters["domain"] == "UNIX"
        return self.kind == "unix" or is_loopback_host(self.parameters.get("interface", ""))

    @property
    def decides_access(self) -> bool:
        """Whether the string alone decides which machines can connect.

        False behind a proxy, for systemd's sockets, and for endpoints of third-party plugins.
        """
        return self.kind in _PARAMETERS and self.kind != "systemd"

    @property
    def is_tls(self) -> bool:
        """Whether clients connect with TLS."""
        return self.kind in ("ssl", "tls") or (self.wrapped is not None and self.wrapped.is_tls)

    @property
    def port(self) -> int | None:
        """The TCP port; None if there is none or it can't be known."""
        if self.wrapped is not None:
            return self.wrapped.port
        text = self.parameters.get("port", "443" if self.kind == "tls" else None)
        return None if text is None else int(text)

    def overlaps(self, other: EndpointText) -> bool:
        """Return whether the two strings show that both can't listen at once."""
        ours, theirs = self.wrapped or self, other.wrapped or other
        if ours.port and ours.port == theirs.port:
            return _share_addresses(_bound_host(ours), _bound_host(theirs))
        if ours.kind == theirs.kind == "unix":
            return os.path.abspath(ours.parameters["address"]) == os.path.abspath(theirs.parameters["address"])
        return ours.kind == "systemd" and ours == theirs


def read_endpoint(description: str) -> EndpointText:
    r"""Parse a Twisted server endpoint string, such as ``tcp6:8080:interface=\:\:1``.

    Raises ``ValueError`` with one line that says what to write instead. Twisted's own kinds are checked completely;
    of other plugins' kinds only the name is checked.
    """
    parts = _split(description)
    name, kind = parts[0]
    if name is None and kind == _HAPROXY:
        if len(parts) == 1 or parts[1:] == [(None, "")]:
            raise ValueError("name the endpoint behind haproxy:, such as haproxy:tcp:8080:interface=127.0.0.1")
        return EndpointText(kind, wrapped=read_endpoint(description.partition(":")[2]))
    if name is not None or kind not in _PARAMETERS:
        return EndpointText(_plugin_kind(kind if name is None else "", description))
    bare = _with_escaped_ipv6(description)
    if bare is not None:
        raise ValueError(f"the colons of an IPv6 address need backslashes: write '{bare}', in quotes")
    return EndpointText(kind, _named(kind, parts[1:], description))


def without_systemd(description: str) -> str:
    """Return the string with a TCP endpoint in place of a socket of systemd, which only a unit has.

    The TCP endpoint is on loopback if the socket is a unix socket.
    """
    try:
        text = read_endpoint(description)
    except ValueError:  # whoever listens reports it
        return description
    inner = text.wrapped or text
    if inner.kind != "systemd":
        return description
    return f"{'haproxy:' if text.wrapped else ''}tcp:0{':interface=127.0.0.1' if inner.is_loopback else ''}"


def _split(description: str) -> list[tuple[str | None, str]]:
    """Split the string at its colons into names and values; the name is None for a positional value.

    A backslash escapes the next character.
    """
    parts: list[tuple[str | None, str]] = []
    name: str | None = None
    word = ""
    characters = iter(description + ":")
    for character in characters:
        if character == "\\":
            word += next(characters)
        elif character == "=" and name is None:
            name, word = word, ""
        elif character == ":":
            parts.append((name, word))
            name, word = None, ""
        else:
            word += character
    if word or name is not None:
        raise ValueError("nothing follows the last backslash")
    return parts


def _plugin_kind(kind: str, description: str) -> str:
    """Return the kind if a plugin has it, else raise ``ValueError``."""
    prefixes = {str(parser.prefix) for parser in getPlugins(IStreamServerEndpointStringParser)}
    if kind == "stdio":
        raise ValueError("stdio: has only one connection; give an address to listen on")
    if kind in prefixes and kind not in _PARAMETERS:
        return kind
    familiar = _from_familiar(description)
    if familiar is not None:
        raise ValueError(f"not an endpoint; did you mean {familiar}?")
    kinds = [*_PARAMETERS, _HAPROXY]
    if not kind:
        raise ValueError(f"an endpoint begins with its kind: {_listed(kinds)}; for example {_REQUIRED['tcp'][1]}")
    raise ValueError(f"there is no kind of endpoint {kind!r}{_closest(kind, kinds, 'the kinds are')}")


def _from_familiar(description: str) -> str | None:
    """Return the endpoint string for an address in the notation of other servers; None if it is not one."""
    if description.startswith("/"):
        return f"unix:{description}"
    found = _FAMILIAR.fullmatch(description)
    if found is None or int(found["port"]) > 65535:
        return None
    scheme, host = (found["scheme"] or "tcp").lower(), (found["host"] or "").strip("[]")
    if found["host"] is None:
        host = "127.0.0.1"
    elif host not in ("", "*") and not _is_address(host):
        return None
    if scheme in ("https", "wss"):
        start = "ssl:{}:privateKey=KEY.pem:certKey=CERTIFICATE.pem"
    else:
        start = "tcp6:{}" if ":" in host else "tcp:{}"
    end = "" if host in ("", "*") else f":interface={host.replace(':', chr(92) + ':')}"
    return start.format(int(found["port"])) + end


def _with_escaped_ipv6(description: str) -> str | None:
    """Return the string with the colons of its IPv6 address escaped; None if there is nothing to escape."""
    head, mark, tail = description.partition("interface=")
    words = tail.split(":")
    for count in range(len(words), 1, -1):
        address = ":".join(words[:count]).strip("[]")
        if _is_ipv6(address):
            return ":".join([head + mark + address.replace(":", r"\:"), *words[count:]])
    return None


def _named(kind: str, parts: Sequence[tuple[str | None, str]], description: str) -> dict[str, str]:
    """Check the parameters of a kind and return them by name."""
    order = _PARAMETERS[kind]
    required, example = _REQUIRED[kind]
    given: dict[str, str] = {}
    for place, (name, value) in enumerate(parts):
        if name is None:
            if place >= len(order):
                raise ValueError(
                    f"{value!r} is one parameter too many; a colon within a value needs a backslash before it"
                )
            name = order[place]
            if not value and name in required:
                continue
        elif name not in order:
            raise ValueError(f"{kind}: has no parameter {name!r}{_closest(name, order, 'its parameters are')}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    missing = [name for name in required if name not in given]
    if missing:
        raise ValueError(f"{kind}: needs {_listed(missing)}; for example {example}")
    for name, value in given.items():
        _check(kind, name, value, description)
    if kind == "systemd" and ("index" in given) == ("name" in given):
        raise ValueError(f"give either index= or name=; for example {example}")
    return given


def _check(kind: str, name: str, value: str, description: str) -> None:
    """Raise ``ValueError`` for a wrong value of a parameter."""
    if name == "sslmethod":
        raise ValueError("sslmethod is not supported; airyd always uses TLS 1.2 or newer")
    if not value:
        raise ValueError(f"{name} is empty; give a value, or leave it out")
    rule = _VALUES.get(f"{kind}.{name}") or _VALUES.get(name)
    if rule is None or rule.is_right(value):
        return
    familiar = _from_familiar(description) if name == "port" else None
    hint = f"; did you mean {familiar}?" if familiar is not None else ""
    raise ValueError(f"{name} must be {rule.wanted}, not {value!r}{hint}")


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _is_port(value: str) -> bool:
    return re.fullmatch("0|[1-9][0-9]{0,4}", value) is not None and int(value) <= 65535


def _is_ipv6(value: str) -> bool:
    try:
        return ip_address(value).version == 6
    except ValueError:
        return False


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return value.lower() == "localhost"
    return True


class _Rule(NamedTuple):
    is_right: Callable[[str], bool]
    wanted: str


#: The rules for values of parameters; a rule of one kind has the kind before the name. Other values are not checked.
_VALUES: Final[Mapping[str, _Rule]] = {
    "port": _Rule(_is_port, "a number from 0 to 65535"),
    "interface": _Rule(_is_address, "an IP address of this machine, without brackets, or localhost"),
    "tcp6.interface": _Rule(_is_ipv6, r"an IPv6 address of this machine, without brackets, such as \:\:1"),
    "backlog": _Rule(_matches("[1-9][0-9]{0,8}"), "a whole number of at least 1"),
    "mode": _Rule(_matches("[0-7]{3,4}"), "octal permissions such as 660"),
    "lockfile": _Rule(_matches("[01]"), "0 or 1"),
    "address": _Rule(lambda path: len(os.fsencode(path)) <= _LONGEST_PATH, f"a path of at most {_LONGEST_PATH} bytes"),
    "domain": _Rule(_matches("INET6?|UNIX"), "INET, INET6 or UNIX"),
    "index": _Rule(_matches("[0-9]{1,4}"), "a whole number of at least 0"),
}


def _closest(word: str, words: Iterable[str], introduction: str) -> str:
    """Return the end of a sentence that suggests the most similar word, or lists all words."""
    known = list(words)
    similar = closest(word, known)
    return f"; {introduction} {_listed(known)}" if similar is None else f"; did you mean {similar}?"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _bound_host(text: EndpointText) -> IPv4Address | IPv6Address:
    unspecified = "::" if text.kind in ("tcp6", "tls") else "0.0.0.0"  # noqa: S104  # what Twisted takes
    host = text.parameters.get("interface", unspecified)
    address = ip_address("127.0.0.1" if host.lower() == "localhost" else host)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _share_addresses(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    """Return whether two sockets with the same port conflict on these hosts."""
    if one.version == other.version:
        return one == other or one.is_unspecified or other.is_unspecified
    return any(each.version == 6 and each.is_unspecified for each in (one, other)) and _takes_ipv4()


def _takes_ipv4() -> bool:
    """Return whether a socket on ``::`` also accepts IPv4 connections (ipv6(7), ``net.ipv6.bindv6only``)."""
    try:
        with socket.socket(socket.AF_INET6) as new:
            return not new.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:  # no IPv6 on this machine
        return False
