"""An HTTP client for the admin page: sends requests one after another over one connection."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from airyd import __version__
from airyd.cli.http_errors import http_reason, parse_json, stated_error
from airyd.cli.tls import Authorities, why_no_tls
from airyd.cli.urls import tls_scheme
from airyd.openssl import TLS_ALERT, TlsFault, is_end_of_connection, openssl_reason, tls_fault

#: Seconds that an attempt to connect may take, and each step of a TLS handshake.
_CONNECT_PATIENCE: Final = 10.0
#: Seconds to wait for a response, and for each part of it.
_ANSWER_PATIENCE: Final = 30.0
#: Seconds for which an idle connection is reused; servers keep one open for longer.
_KEEP_ALIVE: Final = 15.0
#: Bytes of a response that are read.
_LONGEST_ANSWER: Final = 64 * 1024


class PostFailed(Exception):
    """The server did not respond; the text says why in one line."""


class Reply(NamedTuple):
    """The response to a request.

    :ivar status: the HTTP status
    :ivar value: the parsed JSON body; None if the body is not JSON
    :ivar reason: the reason for the user, if the status is not 200
    """

    status: int
    value: object
    reason: str


class AdminClient:
    """Sends requests to an admin page.

    :param url: the admin page, such as ``http://127.0.0.1:8081``
    :param seconds: a monotonic clock
    :param token: the endpoint's token; None for no token
    :param ca_file: a PEM file with the authorities that sign its certificate; None for the system's

    Raises ``ConfigurationError`` if the file has no authorities.
    """

    def __init__(
        self, url: str, seconds: Callable[[], float], token: str | None = None, ca_file: str | None = None
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host = parts.hostname or ""
        self._path = parts.path.rstrip("/")
        self._seconds = seconds
        self._used = 0.0
        self._headers = {"Content-Type": "application/json", "User-Agent": f"airyd/{__version__}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._authorities = Authorities(ca_file) if parts.scheme == "https" else None
        self._connection = (
            HTTPConnection(self._host, parts.port, timeout=_CONNECT_PATIENCE)
            if self._authorities is None
            else HTTPSConnection(self._host, parts.port, timeout=_CONNECT_PATIENCE, context=self._authorities.context())
        )

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.close()

    def post(self, path: str, body: bytes, unsure: str) -> Reply:
        """Post JSON; the request is never repeated automatically.

        :param path: percent-encoded, without the first slash
        :param unsure: the text for the user if it is not known whether the request was carried out

        Errors: :class:`PostFailed`; ``KeyboardInterrupt`` if nothing was sent yet.
        """
        if self._connection.sock is not None and not self._is_usable(self._connection.sock):
            self.close()
        if self._connection.sock is None:
            self._connect()
        try:
            return self._exchange(f"{self._path}/{path}", body)
        except TimeoutError:
            failed = f"no answer within {_ANSWER_PATIENCE:.0f} s; {unsure}"
        except KeyboardInterrupt:
            failed = f"interrupted before the answer; {unsure}"
        except (OSError, IncompleteRead) as error:
            hint = ""
            if self._authorities is None and isinstance(error, ConnectionError):
                hint = f" (is this airyd's admin page? with TLS use {tls_scheme(self._url)})"
            failed = f"the connection was lost before the answer{hint}; {unsure}"
        except HTTPException as error:
            failed = self._unreachable("the server does not speak HTTP on this port")
            if str(error).encode("latin-1", "replace").startswith(TLS_ALERT):
                failed = self._unreachable(f"the server speaks TLS on this port: use {tls_scheme(self._url)}")
        self.close()
        raise PostFailed(failed)

    def _exchange(self, path: str, body: bytes) -> Reply:
        with suppress(ConnectionError):  # a server may respond before it has read the whole request
            self._connection.request("POST", path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(_LONGEST_ANSWER)
        if not response.isclosed():
            self.close()  # the response has more bytes
        self._used = self._seconds()
        return Reply(response.status, parse_json(answer), _reason(response, answer))

    def _is_usable(self, connection: socket.socket) -> bool:
        """Return whether an idle connection can be reused: the server has sent nothing and not closed it."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return not poll.poll(0) and self._seconds() - self._used < _KEEP_ALIVE

    def _connect(self) -> None:
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            assert self._authorities is not None  # noqa: S101  # who verifies
            failed = self._authorities.why_refused(error, self._host)
        except ssl.SSLError as error:
            is_tls = tls_fault(error) is not TlsFault.NO_TLS and not is_end_of_connection(error)
            failed = f"the TLS handshake failed: {openssl_reason(error)}" if is_tls else why_no_tls(error, self._url)
        except OSError as error:
            # http.client sets the socket once TCP is connected, before the TLS handshake.
            if self._connection.sock is not None:
                failed = why_no_tls(None if isinstance(error, TimeoutError) else error, self._url)
            else:
                failed = _why_not_connected(error, self._host)
        except UnicodeError:
            failed = f"{self._host} is not a host name"
        else:
            self._connection.sock.settimeout(_ANSWER_PATIENCE)
            return
        self.close()
        raise PostFailed(self._unreachable(failed))

    def _unreachable(self, reason: str) -> str:
        return f"cannot reach {self._url}: {reason}"


def _why_not_connected(error: OSError, host: str) -> str:
    match error:
        case socket.gaierror():
            return f"the name {host} cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer to the attempt to connect"
    return error.strerror or type(error).__name__


def _reason(response: HTTPResponse, answer: bytes) -> str:
    location = response.headers["Location"]
    return stated_error(answer) or http_reason(response.status, response.reason, location, answer)
