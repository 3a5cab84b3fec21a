"""Access control of the admin page: its endpoint, its token, and checks of ``Host``, ``Origin`` and other headers.

It refuses requests from web pages of other origins, and requests that two parsers could read in two ways.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from airyd.addresses import is_loopback_host, read_authority
from airyd.admin.responses import HttpError
from airyd.errors import ConfigurationError
from airyd.files import read_line
from airyd.limits import KIB
from airyd.listening.endpoint_strings import read_endpoint

#: Bytes that no header value may have (RFC 9110, section 5.5): all controls except HTAB.
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
#: Headers that a request may have only once.
_ONCE: Final = ("Authorization", "Content-Type", "Cookie", "Host", "Origin", "Sec-Fetch-Site", "X-Airyd-Request")
#: The header in which browsers say where a request comes from (W3C Fetch Metadata), and its values for the page's own
#: requests and for what the user has typed.
_FETCH_SITE: Final = "Sec-Fetch-Site"
_SAME_ORIGIN: Final = "same-origin"
_BY_USER: Final = "none"
#: The kinds of endpoints that the admin page listens on.
_KINDS: Final = ("tcp", "tcp6", "ssl", "unix")
#: The fewest characters of a token; shorter ones could be guessed.
_SHORTEST_TOKEN: Final = 16
#: Longest token, in characters; Twisted drops a connection whose request has a header line of more than 16 KiB.
_LONGEST_TOKEN: Final = 8 * KIB


def check_admin_endpoint(description: str, has_token: bool) -> None:
    r"""Raise ``ConfigurationError`` unless the admin page may listen on this endpoint string.

    Without a token the admin page authenticates nobody. So only this machine may reach it, by loopback TCP or a unix
    socket:
    ``tcp:8081:interface=127.0.0.1``, ``tcp6:8081:interface=\:\:1``, ``unix:/run/airyd/admin.sock``.
    """
    try:
        text = read_endpoint(description)
    except ValueError as error:
        raise ConfigurationError(f"--admin {description}: {error} (--admin none turns the admin page off)") from None
    if text.kind not in _KINDS:
        raise ConfigurationError(f"--admin {description}: the admin page listens on tcp:, tcp6:, ssl: and unix: only")
    if not (has_token or text.is_loopback):
        raise ConfigurationError(
            f"--admin {description}: without --admin-token-file, the admin page listens on loopback or a unix socket "
            "only, such as tcp:8081:interface=127.0.0.1 or unix:/run/airyd/admin.sock (--admin none turns it off)"
        )


def read_admin_token(path: str | None, option: str = "--admin-token-file") -> str | None:
    """Return the token, the only line of a file; None if no file is given.

    :param option: the option that names the file

    Errors: ``ConfigurationError`` whose text never quotes the token.
    """
    if path is None:
        return None
    token = read_line(option, path).strip()
    is_text = token.isascii() and token.isprintable() and " " not in token
    if not is_text or not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN:
        raise ConfigurationError(
            f"{option} {path}: give one line of {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} characters, ASCII without spaces"
        )
    return token


def check_headers(headers: Headers) -> None:
    """Raise ``HttpError`` (400) for headers that Twisted accepts and two parsers could read differently.

    These are control characters in a value, and any ``Transfer-Encoding`` but one ``chunked``. All paths are checked,
    because the end of one request decides where the next one on the connection begins.
    """
    for _, values in headers.getAllRawHeaders():
        if any(value.translate(None, _CONTROLS) != value for value in values):
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header has a control character")
    if [coding.lower() for coding in header_values(headers, "Transfer-Encoding")] not in ([], ["chunked"]):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Transfer-Encoding must be chunked, or missing")


def check_repeated(headers: Headers) -> None:
    """Raise ``HttpError`` (400) if one of the headers that decide on access (``_ONCE``) occurs twice."""
    for name in _ONCE:
        if len(header_values(headers, name)) > 1:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"there must be one {name} header, not two")


def check_host(headers: Headers, local: IAddress) -> None:
    """Raise ``HttpError`` unless the only ``Host`` names this machine or the address that the client connected to.

    This refuses web pages whose own name resolves to 127.0.0.1 (DNS rebinding) with 421 (RFC 9110, section 15.5.20).
    No ``Host``, two, or a malformed one get 400 (RFC 9112, section 3.2). On a unix socket ``Host`` is not checked,
    because browsers can't reach it.

    :param local: the server's address of this connection
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
        raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, "this Host is not served here; use localhost or 127.0.0.1")


def check_fetch_site(headers: Headers) -> None:
    """Raise ``HttpError`` (403) if a browser says that a web page of another origin sends the request.

    Such a page could not read the answer, but it could begin traces. Programs send no ``Sec-Fetch-Site``.
    """
    if any(site not in (_SAME_ORIGIN, _BY_USER) for site in header_values(headers, _FETCH_SITE)):
        raise _other_origin()


def check_origin(headers: Headers, scheme: str) -> None:
    """Raise ``HttpError`` (403) if the request comes from a web page of another origin (``Origin`` is not ``Host``).

    :param scheme: the request's scheme, ``http`` or ``https``; it is part of the origin (RFC 6454)

    Programs send no ``Origin``. A browser sends JSON to another origin only after a preflight request, which airyd
    refuses; this is the second line of defence. A browser that sends ``Sec-Fetch-Site`` has compared the origins
    itself; behind a proxy with TLS, only it knows the scheme.
    """
    check_fetch_site(headers)
    if header_values(headers, _FETCH_SITE) == [_SAME_ORIGIN]:
        return
    own = {f"{scheme}://{authority}".lower() for authority in header_values(headers, "Host")}
    if any(origin.lower() not in own for origin in header_values(headers, "Origin")):
        raise _other_origin()


def _other_origin() -> HttpError:
    return HttpError(HTTPStatus.FORBIDDEN, "web pages of other origins may not do that")


def header_values(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, one character per byte; Twisted's own method accepts only UTF-8."""
    return [value.decode("latin-1") for value in headers.getRawHeaders(name.encode("ascii"), [])]
