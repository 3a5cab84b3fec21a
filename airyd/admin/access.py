"""Access to the admin page: where it may listen, its token, and which requests it refuses.

It refuses requests of web pages elsewhere, and requests that two readers could read in two ways.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from airyd.addresses import is_loopback_host, read_authority
from airyd.admin.responses import HttpError
from airyd.errors import ConfigurationError
from airyd.files import read_line
from airyd.listening.endpoint_strings import read_endpoint

#: Bytes that no header value may have (RFC 9110, section 5.5): all controls but HTAB.
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
#: Headers of which there may be one.
_ONCE: Final = ("Authorization", "Content-Type", "Host", "Origin")
#: The kinds of endpoints that the admin page listens on.
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


def check_headers(headers: Headers) -> None:
    """Raise ``HttpError`` (400) for headers that two readers could take for different requests, and Twisted lets pass.

    They are control characters in a value, and a length said in two ways. This holds for every path: where a request
    ends decides what the next one on the connection is.
    """
    for _, values in headers.getAllRawHeaders():
        if any(value.translate(None, _CONTROLS) != value for value in values):
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header has a control character")
    if [coding.lower() for coding in header_values(headers, "Transfer-Encoding")] not in ([], ["chunked"]):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Transfer-Encoding must be chunked, or not there")


def check_repeated(headers: Headers) -> None:
    """Raise ``HttpError`` (400) for two of a header that decides who may ask, or what is done."""
    for name in _ONCE:
        if len(header_values(headers, name)) > 1:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"there must be one {name} header, not two")


def check_host(headers: Headers, local: IAddress) -> None:
    """Raise ``HttpError`` unless the one ``Host`` names this machine or the address that was connected to.

    A foreign page whose name its owner lets point to 127.0.0.1 (DNS rebinding) is refused by the name:
    421 (RFC 9110, section 15.5.20). No ``Host``, two, or a malformed one: 400 (RFC 9112, section 3.2).
    On a unix socket, which browsers can't reach, any ``Host`` will do, and none.

    :param local: the connection's own address
    """
    if isinstance(local, UNIXAddress):
        return
    given = header_values(headers, "Host")
    try:
        (authority,) = given
        host = read_authority(authority).host
    except ValueError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "one Host header is needed: a name or address and a port") from None
    if not is_loopback_host(host) and host != getattr(local, "host", None):
        raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, "this Host is not served here; ask for localhost or 127.0.0.1")


def check_origin(headers: Headers, scheme: str) -> None:
    """Raise ``HttpError`` (403) if a browser says that a page elsewhere asks: an ``Origin`` that isn't the ``Host``.

    :param scheme: ``http`` or ``https``, as the request came; a page of the other one is elsewhere (RFC 6454)

    Programs send no ``Origin``. A browser can't send JSON to another origin without asking first, which
    nobody answers here; this is the second lock.
    """
    own = {f"{scheme}://{authority}".lower() for authority in header_values(headers, "Host")}
    if any(origin.lower() not in own for origin in header_values(headers, "Origin")):
        raise HttpError(HTTPStatus.FORBIDDEN, "pages of other origins may not do that")


def check_token(headers: Headers, token: str) -> None:
    """Raise ``HttpError`` (401) unless the request shows the token: ``Authorization: Bearer TOKEN`` (RFC 6750).

    The comparison takes as long whatever was shown.
    """
    scheme, _, shown = (header_values(headers, "Authorization") or [""])[0].partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip(" \t").encode(), token.encode()):
        raise HttpError(
            HTTPStatus.UNAUTHORIZED, "show the admin token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )


def header_values(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, one character per byte: they may be no text, and Twisted insists on UTF-8."""
    return [value.decode("latin-1") for value in headers.getRawHeaders(name.encode("ascii"), [])]
