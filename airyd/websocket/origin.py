"""The origin policy (``--origin``): which web pages may open a WebSocket (RFC 6455, section 10.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from airyd.addresses import read_authority
from airyd.errors import ConfigurationError

ANY: Final = "*"
#: The origin of a page that has none of its own, such as a sandboxed frame. Any page can create such a frame.
NULL: Final = "null"
_FILE: Final = "file://"
#: Values of ``--origin``, in lower case, that allow pages which anybody can make, such as a downloaded file.
ANYBODYS: Final = (ANY, NULL, _FILE, f"{_FILE}/")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
#: The most characters of an origin: a scheme, the longest host name (RFC 1035, section 2.3.4), and a port.
_LONGEST: Final = 300

_LABEL: Final = r"[a-z0-9_-]{1,63}"
_HOST: Final = rf"(?P<host>\[[0-9a-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)"
_SCHEME: Final = r"(?P<scheme>[a-z][a-z0-9+.-]*)"
_ORIGIN: Final = re.compile(rf"{_SCHEME}://{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_OPTION: Final = re.compile(rf"{_SCHEME}://(?P<wildcard>\*\.)?{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}|\*))?/?")


class Origin(NamedTuple):
    """An origin (RFC 6454), in lower case.

    :ivar host: without a final dot; an option may have ``*.example.com``; empty for ``null`` and ``file://``
    :ivar port: empty for the scheme's default; an option may have ``*``
    """

    scheme: str
    host: str
    port: str


class OriginPolicy:
    """Decides whether the page with an ``Origin`` header may connect.

    :param allowed: origins such as ``https://app.example.com``, ``https://*.example.com``, ``http://localhost:*``,
        ``file://`` or ``null``, or ``*`` for all; if empty, pages of the host and port that the client connected to
    :param pages: origins of airyd's own pages, which may connect whatever is allowed

    Raises ``ConfigurationError`` for an invalid origin.
    """

    def __init__(self, allowed: Sequence[str], pages: Sequence[str] = ()) -> None:
        self._own_host = not allowed
        self._any = ANY in allowed
        listed = [_read_option(text) for text in (*allowed, *pages) if text != ANY]
        self._patterns = tuple(each for each in listed if each.host.startswith("*") or each.port == "*")
        self._exact = frozenset(listed)

    def allows(self, origin: str | None, host: str) -> bool:
        """Return whether a page of this origin may connect to this ``Host``; programs send no origin and may."""
        if origin is None or self._any:
            return True
        page = _read_origin(origin)
        if page is None:
            return False
        if page in self._exact or any(_covers(pattern, page) for pattern in self._patterns):
            return True
        return self._own_host and _is_own(page, host)


def describe_refusal(origin: str) -> str:
    """Return a sentence that names the refused origin, and the option that would allow it.

    An invalid origin is not repeated, since it may be anything, even a token.
    """
    page = _read_origin(origin)
    if page is None:
        return "This page may not connect: its Origin header is not a valid origin."
    text = _write(page)
    more = "; but then any web page can connect, from a sandboxed frame" if text == NULL else ""
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
            f"--origin: {text!r} is not an origin: give scheme and host, such as https://app.example.com, "
            "https://*.example.com, http://localhost:*, file://, or null; or * for all"
        )
    origin = _make(found)
    if found["wildcard"]:
        *labels, last = origin.host.split(".")
        if not (labels or last == "localhost") or last.isdecimal() or origin.host.startswith("["):
            raise ConfigurationError(
                f"--origin: {text!r} is too broad: after *. give a domain of two labels or more, "
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
    """Return whether a page connects to its own host and port.

    The schemes are not compared: behind a proxy that ends TLS, a page of ``https:`` reaches a ``ws:`` server. Port 80,
    port 443 and no port count as equal, because proxies write any of these into ``Host``.
    """
    try:
        own = read_authority(host)
    except ValueError:
        return False
    if page.scheme not in _DEFAULT_PORTS:
        return False
    ports = [port if port not in ("80", "443") else "" for port in (page.port, own.port)]
    return page.host.strip("[]") == own.host.removesuffix(".") and ports[0] == ports[1]
