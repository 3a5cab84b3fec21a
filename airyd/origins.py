"""Which web pages may open a WebSocket (RFC 6455, section 10.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from airyd.errors import ConfigurationError

ANY: Final = "*"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[1-9][0-9]{0,4})?\Z", re.IGNORECASE
)


class OriginPolicy:
    """Decides on the ``Origin`` header of an opening handshake.

    :param allowed: origins such as ``https://app.example.com``, ``null``, or ``*`` for all; when
        empty, the host that the client connected to
    :param always: origins that are allowed beside that host when ``allowed`` is empty

    Raises ``ConfigurationError`` for what is none of these.
    """

    def __init__(self, allowed: Sequence[str], always: Iterable[str] = ()) -> None:
        for origin in allowed:
            if origin not in (ANY, "null") and not _ORIGIN.match(origin):
                raise ConfigurationError(
                    f"--origin: {origin!r} is no origin: give scheme and host, such as https://app.example.com, or *"
                )
        self._own_host = not allowed
        self._any = ANY in allowed
        self._allowed = frozenset(_canonical(origin) for origin in (allowed or always))

    def allows(self, origin: str | None, host: str) -> bool:
        """Say whether a page of this origin may connect to this ``Host``. Programs send no origin: they may."""
        if origin is None or self._any:
            return True
        canonical = _canonical(origin)
        if canonical in self._allowed:
            return True
        # http and https are not told apart: behind a proxy that ends TLS, a page of https: reaches a ws: server.
        scheme, _, authority = canonical.partition("://")
        is_page = scheme in _DEFAULT_PORTS and bool(authority)
        return self._own_host and is_page and authority == _host(host, canonical)


def _canonical(origin: str) -> str:
    """Return the origin in lower case, without a port that its scheme has anyway."""
    origin = origin.lower()
    scheme, separator, authority = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}{separator}{authority.removesuffix(f':{port}')}" if port else origin


def _host(host: str, canonical: str) -> str:
    """Return the ``Host`` header as the origin is written: without the port that its scheme has anyway."""
    port = _DEFAULT_PORTS.get(canonical.partition("://")[0])
    host = host.lower()
    return host.removesuffix(f":{port}") if port else host
