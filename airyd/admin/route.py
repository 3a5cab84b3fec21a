"""One route of the admin page: its path, what it needs, how it answers, and the objects that its handler works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http_headers import Headers

from airyd.admin.access import header_values
from airyd.admin.console_files import ConsoleFiles
from airyd.admin.event_stream import EventStream, EventStreams
from airyd.admin.login import AccessLevel, AdminLogin, Caller
from airyd.admin.query_parameters import Parameter, ParameterValues
from airyd.admin.responses import HttpError, HttpResponse
from airyd.interfaces import Readiness
from airyd.management.queries import ManagementQuery, ManagementReply, TraceLine, TraceQuery
from airyd.revocation import Revocation, RevocationKind

JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"

#: Returns a Deferred with the registry that ``/metrics`` exports.
ScrapeMetrics = Callable[[], Deferred[CollectorRegistry]]
#: Returns a Deferred with the server's readiness and its problems.
CheckReadiness = Callable[[], Deferred[Readiness]]
#: Publishes a body to a destination; returns a Deferred with the ``message-id``.
PublishEvent = Callable[[str, bytes], Deferred[str]]
#: Revokes tokens by kind and name; returns a Deferred that fires with the revocation when it is stored.
RevokeTokens = Callable[[RevocationKind, str], Deferred[Revocation]]
#: Answers a query of the API; errors: ``Refusal``.
AskManagement = Callable[[ManagementQuery], Deferred[ManagementReply]]


class RunningTrace(Protocol):
    """A trace that has begun."""

    @property
    def ended(self) -> Deferred[str]:
        """Fires with the reason when the trace ends, also after :meth:`stop`."""

    def stop(self) -> None:
        """End the trace."""


#: Begins a trace, which calls the function with its lines; errors: ``Refusal``.
BeginTrace = Callable[[TraceQuery, Callable[[Sequence[TraceLine]], None]], RunningTrace]


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the handlers of the routes use.

    :ivar publish: errors: ``PayloadRefused``, ``UnknownDestination``, ``SourceUnavailable``
    :ivar revoke: errors: ``SourceUnavailable``
    :ivar listeners: returns the URLs of the WebSocket, such as ``ws://127.0.0.1:8080/ws.communication``
    :ivar has_demo: says whether to serve the demo page
    :ivar openapi: returns the OpenAPI document
    :ivar asyncapi: returns the AsyncAPI document

    All Deferreds must fire within bounded time.
    """

    reactor: IReactorTime
    scrape: ScrapeMetrics
    ready: CheckReadiness
    publish: PublishEvent
    revoke: RevokeTokens
    ask: AskManagement
    trace: BeginTrace
    login: AdminLogin
    streams: EventStreams
    files: ConsoleFiles
    listeners: Callable[[], Sequence[str]]
    has_demo: Callable[[], bool]
    openapi: Callable[[], Mapping[str, Any]]
    asyncapi: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One complete HTTP request.

    :ivar path: percent-encoded, without the query string
    :ivar query: percent-encoded, without the question mark
    :ivar local: the address that the client connected to
    :ivar scheme: ``http``, or ``https`` over TLS
    """

    method: str
    path: str
    headers: Headers
    body: bytes
    local: IAddress
    scheme: str
    query: str = ""

    @property
    def media_type(self) -> str:
        """The ``Content-Type`` without parameters, in lower case; empty if there is none."""
        return (header_values(self.headers, "Content-Type") or [""])[0].partition(";")[0].strip().lower()


@dataclass(slots=True)
class AdminCall:
    """A request for a route, which has passed all checks.

    :ivar variable: the value of the path's variable; empty if the path has none
    :ivar values: of the query
    :ivar changed: what the request changes, for the log; None as long as it changes nothing
    """

    request: HttpRequest
    caller: Caller
    variable: str
    values: ParameterValues
    changed: Mapping[str, str] | None = None

    def change(self, **what: str | None) -> None:
        """Note what is about to change, for the log; never with the content of events."""
        self.changed = {name: value for name, value in what.items() if value}


#: Carries out a request; errors: ``HttpError``, ``Refusal``.
Handler = Callable[[AdminServices, AdminCall], Awaitable["HttpResponse | EventStream"]]


class Access(Enum):
    """What a route needs."""

    HEALTH = "nothing"  # not even a particular Host: load balancers send any, and have no token
    PUBLIC = "no token"
    READ = "a token"
    FULL_OR_OPEN = "the full token, or nothing if there are no tokens"
    FULL = "the full token"

    def allows(self, level: AccessLevel) -> bool:
        """Return whether a sender with this level may use the route."""
        return level in _ALLOWED[self]


_ALLOWED: Final = {
    Access.HEALTH: tuple(AccessLevel),
    Access.PUBLIC: tuple(AccessLevel),
    Access.READ: (AccessLevel.OPEN, AccessLevel.READ, AccessLevel.FULL),
    Access.FULL_OR_OPEN: (AccessLevel.OPEN, AccessLevel.FULL),
    Access.FULL: (AccessLevel.FULL,),
}


class HttpErrorReply(msgspec.Struct, frozen=True):
    """Why a request was refused.

    :ivar error: one sentence
    """

    error: str


#: The schema of a body: a struct, or a JSON Schema.
BodySchema = type[msgspec.Struct] | Mapping[str, Any]


class Answer(NamedTuple):
    """One way in which a route answers.

    :ivar text: what it means, in one sentence
    :ivar content: the schema of the body by media type; empty if there is no body
    """

    text: str
    content: Mapping[str, BodySchema] = {JSON: HttpErrorReply}


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One path with one method.

    :ivar method: GET, whose routes also answer HEAD, POST or DELETE
    :ivar path: may end with one variable in braces, which is a segment of the path
    :ivar name: the ``operationId`` of OpenAPI
    :ivar summary: what it does, in one sentence
    :ivar answers: the answers of the handler by status; those of the checks are added (``airyd.admin.openapi``)
    :ivar variable: the variable of the path
    :ivar has_slashes: whether the variable is the whole rest of the path
    :ivar parameters: of the query; None if the query is ignored
    :ivar body: the schema of the request's body by media type; empty if the body is ignored
    :ivar action: what the request changes, for the log, such as ``published``; empty if it changes nothing
    :ivar is_frequent: whether the log has only one line a minute of it
    """

    method: str
    path: str
    name: str
    summary: str
    access: Access
    handler: Handler
    answers: Mapping[HTTPStatus, Answer]
    variable: Parameter | None = None
    has_slashes: bool = False
    parameters: Sequence[Parameter] | None = ()
    body: Mapping[str, BodySchema] = field(default_factory=dict)
    action: str = ""
    is_frequent: bool = False

    def match(self, path: str) -> str | None:
        """Return the variable of a path, still percent-encoded; None if this is another route's path.

        Only for a route with a variable.
        """
        prefix = self.path.partition("{")[0]
        rest = path.removeprefix(prefix)
        is_match = path.startswith(prefix) and (self.has_slashes or (rest and "/" not in rest))
        return rest if is_match else None

    @property
    def shown_path(self) -> str:
        """The path as an error shows it, with the variable's name in angle brackets."""
        return self.path.replace("{", "<").replace("}", ">")


def read_variable(route: HttpRoute, text: str) -> str:
    """Return the variable of a path without percent-encoding.

    Errors: ``HttpError`` (404) for what can't be the name of anything: it would also be strange in the log.
    """
    try:
        value = unquote_to_bytes(text).decode()
        if route.variable is not None and value:
            route.variable.kind.read(value)
    except ValueError:  # also UnicodeDecodeError
        raise HttpError(HTTPStatus.NOT_FOUND, "there is nothing with this name") from None
    return value
