"""Which web pages may open a WebSocket (RFC 6455, section 10.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from airyd.addresses import read_authority
from airyd.errors import ConfigurationError

ANY: Final = "*"
#: The origin of a page that has none of its own, such as a sandboxed frame. Any page can make itself such a frame.
NULL: Final = "null"
_FILE: Final = "file://"
#: What ``--origin`` may say, in lower case, that admits pages which anybody can make: a downloaded file is one, too.
ANYBODYS: Final = (ANY, NULL, _FILE, f"{_FILE}/")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
#: Characters of an origin: those of a scheme, of the longest host name (RFC 1035, section 2.3.4), and of a port.
_LONGEST: Final = 300

_LABEL: Final = r"[a-z0-9_-]{1,63}"
_HOST: Final = rf"(?P<host>\[[0-9a-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)"
_SCHEME: Final = r"(?P<scheme>[a-z][a-z0-9+.-]*)"
_ORIGIN: Final = re.compile(rf"{_SCHEME}://{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_OPTION: Final = re.compile(rf"{_SCHEME}://(?P<wildcard>\*\.)?{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}|\*))?/?")


class Origin(NamedTuple):
    """An origin (RFC 6454), in lower case.

    :ivar host: without the dot that may end a full name; in an option perhaps ``*.example.com``; empty for ``null``
        and ``file://``
    :ivar port: empty for the scheme's own; in an option perhaps ``*``
    """

    scheme: str
    host: str
    port: str


class OriginPolicy:
    """Decides on the ``Origin`` header of an opening handshake.

    :param allowed: origins such as ``https://app.example.com``, ``https://*.example.com``, ``http://localhost:*``,
        ``file://`` or ``null``, or ``*`` for all; when empty, the host that the client connected to
    :param always: origins that are allowed beside that host when ``allowed`` is empty

    Raises ``ConfigurationError`` for what is none of these.
    """

    def __init__(self, allowed: Sequence[str], always: Iterable[str] = ()) -> None:
        self._own_host = not allowed
        self._any = ANY in allowed
        listed = [_read_option(text) for text in allowed if text != ANY]
        self._patterns = tuple(each for each in listed if each.host.startswith("*") or each.port == "*")
        self._exact = frozenset(listed or map(_read_origin, always))

    def allows(self, origin: str | None, host: str) -> bool:
        """Say whether a page of this origin may connect to this ``Host``. Programs send no origin: they may."""
        if origin is None or self._any:
            return True
        page = _read_origin(origin)
        if page is None:
            return False
        if page in self._exact or any(_covers(pattern, page) for pattern in self._patterns):
            return True
        return self._own_host and _is_own(page, host)


def describe_refusal(origin: str) -> str:
    """Return a sentence about an origin that may not connect: which it is, and the option that allows it.

    What is no origin is not repeated: it may be anything, a token, too.
    """
    page = _read_origin(origin)
    if page is None:
        return "This page may not connect: its Origin header is no origin."
    text = _write(page)
    more = "; any web page can use it, by a sandboxed frame" if text == NULL else ""
    return f"A page of the origin {text} may not connect; --origin {text} would allow it{more}."


def _read_origin(text: str) -> Origin | None:
    text = text.lower()
    if text in (NULL, _FILE):
        return Origin(text, "", "")
    found = _ORIGIN.fullmatch(text) if len(text) <= _LONGEST else None
    return None if found is None else _make(found)


def _read_option(text: str) -> Origin:
    if not text.isascii():
        raise ConfigurationError(
            f"--origin: {text!r} must be ASCII: give the host as browsers send it, such as https://xn--bcher-kva.example"
        )
    lower = text.lower()
    if lower in (NULL, _FILE, f"{_FILE}/"):
        return Origin(NULL if lower == NULL else _FILE, "", "")
    found = _OPTION.fullmatch(lower)
    if found is None:
        raise ConfigurationError(
            f"--origin: {text!r} is no origin: give scheme and host, such as https://app.example.com, "
            "https://*.example.com, http://localhost:*, file://, or null; or * for all"
        )
    origin = _make(found)
    if found["wildcard"]:
        *labels, last = origin.host.split(".")
        if not (labels or last == "localhost") or last.isdecimal() or origin.host.startswith("["):
            raise ConfigurationError(
                f"--origin: {text!r} means too much: behind *. give a domain of two labels or more, "
                "such as https://*.example.com"
            )
        return origin._replace(host=f"*.{origin.host}")
    return origin


def _make(found: re.Match[str]) -> Origin:
    scheme, port = found["scheme"], found["port"] or ""
    return Origin(scheme, found["host"].removesuffix("."), "" if port == _DEFAULT_PORTS.get(scheme) else port)


def _write(origin: Origin) -> str:
    if not origin.host:
        return origin.scheme
    return f"{origin.scheme}://{origin.host}{origin.port and ':'}{origin.port}"


def _covers(pattern: Origin, page: Origin) -> bool:
    if pattern.scheme != page.scheme or pattern.port not in ("*", page.port):
        return False
    if pattern.host.startswith("*"):
        return page.host.endswith(pattern.host[1:])  # from the dot on
    return page.host == pattern.host


def _is_own(page: Origin, host: str) -> bool:
    """Say whether a page is of the host and port that it connects to.

    The scheme is not compared: behind a proxy that ends TLS, a page of ``https:`` reaches a ``ws:`` server. Nor is 80
    told from 443 or no port: proxies write in ``Host`` what they listen on, or leave it out.
    """
    try:
        own = read_authority(host)
    except ValueError:
        return False
    if page.scheme not in _DEFAULT_PORTS:
        return False
    ports = [port if port not in ("80", "443") else "" for port in (page.port, own.port)]
    return page.host.strip("[]") == own.host.removesuffix(".") and ports[0] == ports[1]
