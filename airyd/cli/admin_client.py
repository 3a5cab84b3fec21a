"""An HTTP client for the admin page: sends requests one after another over one connection."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from airyd import __version__
from airyd.cli.http_errors import http_reason, parse_json, stated_error
from airyd.cli.tls import Authorities, why_no_tls
from airyd.cli.urls import UNIX, tls_scheme
from airyd.openssl import TLS_ALERT, TlsFault, is_end_of_connection, openssl_reason, tls_fault

#: Seconds that an attempt to connect may take, and each step of a TLS handshake.
_CONNECT_PATIENCE: Final = 10.0
#: Seconds to wait for a response, and for each part of it.
_ANSWER_PATIENCE: Final = 30.0
#: Seconds for which an idle connection is reused; servers keep one open for longer.
_KEEP_ALIVE: Final = 15.0
#: Bytes of a response that are read: the largest page of connections has less than 1 MiB.
_LONGEST_ANSWER: Final = 8 * 1024 * 1024
#: Bytes of a line of a stream of events: the body of a traced frame has at most 64 KiB, before it is JSON.
_LONGEST_EVENT_LINE: Final = 1024 * 1024
#: The admin page wants it of requests that change something and have no body; web pages cannot send it.
_CHANGE_HEADER: Final = "X-Airyd-Request"


class RequestFailed(Exception):
    """The server did not respond, or not as it must; the text says why in one line.

    :ivar status: the HTTP status with which it refused to stream events; None if it did not respond
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class Reply(NamedTuple):
    """The response to a request.

    :ivar status: the HTTP status
    :ivar value: the parsed JSON body; None if the body is not JSON
    :ivar reason: the reason for the user, if the status is not 200
    """

    status: int
    value: object
    reason: str


class ServerEvent(NamedTuple):
    """A server-sent event.

    :ivar name: such as ``line``
    :ivar value: the parsed JSON of its data; None if that is not JSON
    """

    name: str
    value: object


class AdminClient:
    """Sends requests to an admin page.

    :param url: the admin page, such as ``http://127.0.0.1:8081`` or ``unix:/run/airyd/admin.sock``
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
        self._is_unix = url.startswith(UNIX)
        self._path = "" if self._is_unix else parts.path.rstrip("/")
        self._seconds = seconds
        self._used = 0.0
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"airyd/{__version__}",
            _CHANGE_HEADER: "1",
        }
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._authorities = Authorities(ca_file) if parts.scheme == "https" else None
        self._connection: HTTPConnection
        if self._is_unix:
            self._connection = _UnixConnection(url.removeprefix(UNIX))
        elif self._authorities is None:
            self._connection = HTTPConnection(self._host, parts.port, timeout=_CONNECT_PATIENCE)
        else:
            context = self._authorities.context()
            self._connection = HTTPSConnection(self._host, parts.port, timeout=_CONNECT_PATIENCE, context=context)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.close()

    def post(self, path: str, body: bytes, unsure: str) -> Reply:
        """Post JSON; the request is never repeated automatically.

        :param path: percent-encoded, without the first slash
        :param unsure: the text for the user if it is not known whether the request was carried out

        Errors: :class:`RequestFailed`; ``KeyboardInterrupt`` if nothing was sent yet.
        """
        return self._ask("POST", path, body, unsure)

    def delete(self, path: str, unsure: str) -> Reply:
        """Send a DELETE request; see :meth:`post`."""
        return self._ask("DELETE", path, None, unsure)

    def get(self, path: str) -> Reply:
        """Send a GET request, which changes nothing.

        Errors: :class:`RequestFailed`.
        """
        return self._ask("GET", path, None, "")

    def follow(self, path: str) -> Iterator[ServerEvent]:
        """Yield server-sent events until the server ends the response; ``open`` first, as soon as it begins.

        Errors: :class:`RequestFailed`, also if the server refuses the request.
        """
        with self._connected(""):
            response = self._respond("GET", path, None)
            if response.status != HTTPStatus.OK:
                raise RequestFailed(self._read(response).reason, response.status)
            yield ServerEvent("open", None)
            try:
                yield from _events_of(response)
            except TimeoutError:
                raise RequestFailed(f"nothing came for {_ANSWER_PATIENCE:.0f} s") from None
            except (OSError, HTTPException):
                raise RequestFailed("the connection was lost") from None
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None, unsure: str) -> Reply:
        with self._connected(unsure):
            reply = self._read(self._respond(method, path, body))
            self._used = self._seconds()
            return reply

    @contextmanager
    def _connected(self, unsure: str) -> Iterator[None]:
        """Connect unless that is done; raise :class:`RequestFailed` for whatever goes wrong with the connection."""
        if self._connection.sock is not None and not self._is_usable(self._connection.sock):
            self.close()
        if self._connection.sock is None:
            self._connect()
        rest = unsure and f"; {unsure}"
        try:
            yield
            return
        except TimeoutError:
            failed = f"no answer within {_ANSWER_PATIENCE:.0f} s{rest}"
        except KeyboardInterrupt:
            if not unsure:
                raise
            failed = f"interrupted before the answer{rest}"
        except (OSError, IncompleteRead) as error:
            hint = ""
            if self._authorities is None and not self._is_unix and isinstance(error, ConnectionError):
                hint = f" (is this airyd's admin page? with TLS use {tls_scheme(self._url)})"
            failed = f"the connection was lost before the answer{hint}{rest}"
        except HTTPException as error:
            failed = self._unreachable("the server does not speak HTTP on this port")
            if str(error).encode("latin-1", "replace").startswith(TLS_ALERT):
                failed = self._unreachable(f"the server speaks TLS on this port: use {tls_scheme(self._url)}")
        self.close()
        raise RequestFailed(failed)

    def _respond(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        with suppress(ConnectionError):  # a server may respond before it has read the whole request
            self._connection.request(method, f"{self._path}/{path}", body, self._headers)
        return self._connection.getresponse()

    def _read(self, response: HTTPResponse) -> Reply:
        answer = response.read(_LONGEST_ANSWER)
        if not response.isclosed():
            self.close()  # the response has more bytes
        reason = _reason(response, answer)
        if response.status == HTTPStatus.UNAUTHORIZED and "Authorization" not in self._headers:
            reason = "the node needs a token; give --token-file FILE"
        return Reply(response.status, parse_json(answer), reason)

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
        raise RequestFailed(self._unreachable(failed))

    def _unreachable(self, reason: str) -> str:
        return f"cannot reach {self._url}: {reason}"


class _UnixConnection(HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONNECT_PATIENCE)
        self._socket_path = path

    def connect(self) -> None:
        """Connect to the socket (called by ``http.client``)."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_CONNECT_PATIENCE)
        try:
            connection.connect(self._socket_path)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def _why_not_connected(error: OSError, host: str) -> str:
    match error:
        case socket.gaierror():
            return f"the name {host} cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer to the attempt to connect"
    return error.strerror or str(error) or type(error).__name__


def _reason(response: HTTPResponse, answer: bytes) -> str:
    location = response.headers["Location"]
    return stated_error(answer) or http_reason(response.status, response.reason, location, answer)


def _events_of(response: HTTPResponse) -> Iterator[ServerEvent]:
    """Yield the events of a response (WHATWG HTML, section 9.2.6); airyd writes each one's data in one line."""
    name, data = "", b""
    while line := response.readline(_LONGEST_EVENT_LINE):
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        match field:
            case b"event":
                name = value.decode("utf-8", "replace")
            case b"data":
                data = value
            case b"":
                if name:
                    yield ServerEvent(name, parse_json(data))
                name, data = "", b""
