"""The table of the admin page's routes, which ``airyd.admin.dispatcher`` serves.

The OpenAPI document (``airyd.admin.openapi``) is made from it, and the tests hold docs/operating.rst against it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from airyd.admin import api, pages
from airyd.admin.console_files import MEDIA_TYPES
from airyd.admin.event_stream import EVENT_STREAM
from airyd.admin.query_parameters import (
    Choice,
    FieldValue,
    Number,
    Parameter,
    Switch,
    Text,
    Whole,
)
from airyd.admin.route import (
    JSON,
    JSON_LINES,
    Access,
    Answer,
    HttpRoute,
)
from airyd.management.queries import (
    LARGEST_PAGE,
    LONGEST_TEXT,
    PAGE,
    ConnectionDetails,
    ConnectionsReply,
    ConnectionState,
    DestinationsReply,
    DrainReply,
    EventsReply,
    ExplainReply,
    KickReply,
    OverviewReply,
    ProcessesReply,
    SortKey,
)
from airyd.revocation import LONGEST_NAME

#: Seconds that a trace may take: by default, and at most.
_TRACE_SECONDS: Final = 60.0
_MOST_TRACE_SECONDS: Final = 600.0
#: Characters of an id, a destination or a cursor in a query.
_LONGEST_ID: Final = 300

_OK: Final = HTTPStatus.OK
_EVENT: Final = {"type": "object", "description": "the event; see docs/publishing.rst"}
_PLAIN: Final = {"type": "string"}
_DOCUMENT: Final = {"type": "object"}
_REVOKED: Final = {
    "type": "object",
    "properties": {name: {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME} for name in ("jti", "subject")},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_REVOCATION: Final = {
    "type": "object",
    "properties": {
        "jti": {"type": "string"},
        "subject": {"type": "string"},
        "at": {"type": "number", "description": "when it was revoked"},
        "until": {"type": "number", "description": "until when airyd keeps the revocation"},
    },
    "required": ["at", "until"],
}
_PUBLISH_ANSWERS: Final = {
    _OK: Answer("The source has the event.", {JSON: pages.EventId}),
    HTTPStatus.BAD_REQUEST: Answer("The event breaks the payload rules."),
    HTTPStatus.NOT_FOUND: Answer("There is no such destination."),
    HTTPStatus.SERVICE_UNAVAILABLE: Answer("The event source cannot be reached."),
}
_REVOKE_ANSWERS: Final = {
    _OK: Answer("It is revoked on all nodes.", {JSON: _REVOCATION}),
    HTTPStatus.BAD_REQUEST: Answer("The body does not name one token or one user."),
    HTTPStatus.SERVICE_UNAVAILABLE: Answer("The revocation cannot be stored."),
}
_FILE_ANSWERS: Final = {
    _OK: Answer("The file.", {"text/html": _PLAIN}),
    HTTPStatus.NOT_MODIFIED: Answer("The browser has it already.", {}),
    HTTPStatus.NOT_FOUND: Answer("There is no such file."),
}
#: Of queries of the processes.
_SILENT: Final = {HTTPStatus.SERVICE_UNAVAILABLE: Answer("A process does not answer in time.")}
_NO_CONNECTION: Final = {HTTPStatus.NOT_FOUND: Answer("There is no such connection.")}

_DESTINATION: Final = Parameter("destination", Text(_LONGEST_ID), "The destination without its first slash.")
_CONNECTION_ID: Final = Parameter("id", Text(_LONGEST_ID), "The connection's id: the header session of its CONNECTED.")
_REASON: Final = Parameter("reason", Text(LONGEST_TEXT, 0), "Is added to the body of the ERROR.", "")
_LIMIT: Final = Parameter("limit", Whole(1, LARGEST_PAGE), "The most rows of the page.", PAGE)
_FILTER: Final = Parameter(  # it shows a part of a body to whoever guesses it
    "filter",
    FieldValue(),
    "A field of the body and a value that it may have, field:value.",
    is_repeatable=True,
    needs_full=True,
)
_BODIES: Final = Parameter("bodies", Switch(), "Whether to return the bodies of events.", False, needs_full=True)


def _id(name: str, text: str, *, is_required: bool = False) -> Parameter:
    return Parameter(name, Text(_LONGEST_ID), text, is_required=is_required)


def _read(
    path: str, name: str, summary: str, handler: Any, reply: Any, *parameters: Parameter, **more: Any
) -> HttpRoute:
    """Return a route of the API that reads."""
    answers = {_OK: Answer("The answer.", {JSON: reply}), **_SILENT, **more.pop("answers", {})}
    return HttpRoute(
        "GET", f"/api/v1/{path}", name, summary, Access.READ, handler, answers, parameters=parameters, **more
    )


#: All routes.
ROUTES: Final = (
    HttpRoute(
        "GET",
        "/healthz",
        "healthz",
        "Say that the process answers.",
        Access.HEALTH,
        pages.healthz,
        {_OK: Answer("ok", {"text/plain": _PLAIN})},
        parameters=None,
    ),
    HttpRoute(
        "GET",
        "/readyz",
        "readyz",
        "Say whether clients can be served.",
        Access.HEALTH,
        pages.readyz,
        {
            _OK: Answer("Clients can be served.", {JSON: pages.NodeReadiness}),
            HTTPStatus.SERVICE_UNAVAILABLE: Answer("Clients cannot be served.", {JSON: pages.NodeReadiness}),
        },
        parameters=None,
    ),
    HttpRoute(
        "GET",
        "/metrics",
        "metrics",
        "Return the metrics for Prometheus.",
        Access.READ,
        pages.metrics,
        {_OK: Answer("The metrics.", dict.fromkeys(("text/plain", "application/openmetrics-text"), _PLAIN))},
        parameters=None,
    ),
    HttpRoute(
        "POST",
        "/publish/{destination}",
        "publish",
        "Publish an event.",
        Access.FULL_OR_OPEN,
        pages.publish,
        _PUBLISH_ANSWERS,
        variable=_DESTINATION,
        has_slashes=True,
        parameters=None,
        body={JSON: _EVENT},
        action="publish",
        is_frequent=True,
    ),
    HttpRoute(
        "POST",
        "/revoke",
        "revoke",
        "Revoke a token, or all tokens that were issued to a user until now.",
        Access.FULL_OR_OPEN,
        pages.revoke,
        _REVOKE_ANSWERS,
        parameters=None,
        body={JSON: _REVOKED},
        action="revoke",
    ),
    HttpRoute(
        "GET", "/", "console", "Return the console.", Access.PUBLIC, pages.console, _FILE_ANSWERS, parameters=None
    ),
    HttpRoute(
        "GET",
        "/demo",
        "demo",
        "Return the demo page, with a sample: source and without logins.",
        Access.PUBLIC,
        pages.demo,
        _FILE_ANSWERS,
        parameters=None,
    ),
    HttpRoute(
        "GET",
        "/console/{file}",
        "consoleFile",
        "Return a file of the console.",
        Access.PUBLIC,
        pages.console_file,
        {**_FILE_ANSWERS, _OK: Answer("The file.", dict.fromkeys(MEDIA_TYPES, _PLAIN))},
        variable=Parameter("file", Text(_LONGEST_ID), "The name of the file."),
        parameters=None,
    ),
    HttpRoute(
        "POST",
        "/login",
        "login",
        "Begin a session: its cookie counts as the token for 12 hours.",
        Access.PUBLIC,
        pages.log_in,
        {
            HTTPStatus.NO_CONTENT: Answer("The session has begun; Set-Cookie has its cookie.", {}),
            HTTPStatus.UNAUTHORIZED: Answer("The token is wrong."),
            HTTPStatus.FORBIDDEN: Answer("There are no tokens, or the page is of another origin."),
        },
        body={JSON: pages.LoginRequest},
        action="login",
    ),
    HttpRoute(
        "POST",
        "/logout",
        "logout",
        "End the session.",
        Access.PUBLIC,
        pages.log_out,
        {HTTPStatus.NO_CONTENT: Answer("The session has ended.", {})},
        action="logout",
    ),
    HttpRoute(
        "GET",
        "/api/v1/session",
        "session",
        "Return what the sender of the request may do.",
        Access.PUBLIC,
        api.session,
        {_OK: Answer("The answer.", {JSON: api.SessionReply})},
    ),
    _read("overview", "overview", "Return the figures of the node.", api.overview, OverviewReply),
    _read(
        "connections",
        "connections",
        "Return a page of the connections.",
        api.connections,
        ConnectionsReply,
        _id("subject", "The name of their user."),
        _id("address", "The client's address, without the port."),
        _id("destination", "A destination that they subscribe to."),
        Parameter("state", Choice(ConnectionState), "Their state."),
        Parameter("sort", Choice(SortKey), "The largest come first; with age the oldest.", SortKey.AGE),
        _LIMIT,
        _id("cursor", "next of the page before."),
    ),
    HttpRoute(
        "DELETE",
        "/api/v1/connections",
        "kickSubject",
        "End all connections of a user, who may come back.",
        Access.FULL,
        api.kick_subject,
        {_OK: Answer("How many were ended.", {JSON: KickReply}), **_SILENT},
        parameters=(_id("subject", "The name of the user.", is_required=True), _REASON),
        action="disconnect",
    ),
    _read(
        "connections/{id}",
        "connection",
        "Return one connection.",
        api.connection,
        ConnectionDetails,
        variable=_CONNECTION_ID,
        answers=_NO_CONNECTION,
    ),
    HttpRoute(
        "DELETE",
        "/api/v1/connections/{id}",
        "kickConnection",
        "End one connection, whose client may come back.",
        Access.FULL,
        api.kick_connection,
        {_OK: Answer("How many were ended.", {JSON: KickReply}), **_NO_CONNECTION, **_SILENT},
        variable=_CONNECTION_ID,
        parameters=(_REASON,),
        action="disconnect",
    ),
    _read("destinations", "destinations", "Return all destinations.", api.destinations, DestinationsReply),
    _read("processes", "processes", "Return the processes of the node.", api.processes, ProcessesReply),
    _read(
        "events",
        "events",
        "Return a page of a destination's history, as clients would get it.",
        api.events,
        EventsReply,
        _id("destination", "The destination.", is_required=True),
        _id("after", "A message-id, after which the page begins; without it, the page has the newest events."),
        _LIMIT,
        _FILTER,
        _BODIES,
        answers={HTTPStatus.NOT_FOUND: Answer("There is no such destination.")},
    ),
    _read(
        "explain",
        "explain",
        "Return what happened to an event, for one connection.",
        api.explain,
        ExplainReply,
        _id("event", "The event's message-id, or the id that the feed gave it.", is_required=True),
        _id("destination", "The destination; needed only with the feed's id."),
        _id("connection", "The connection's id.", is_required=True),
        answers={HTTPStatus.NOT_FOUND: Answer("There is no such destination.")},
    ),
    HttpRoute(
        "GET",
        "/api/v1/trace",
        "trace",
        "Follow the frames of a connection, of a user's connections, or of a destination, as server-sent events.",
        Access.READ,
        api.trace,
        {
            _OK: Answer(
                "Events line, each with a TraceLine; dropped, with a count; end, with a reason.",
                {EVENT_STREAM: _PLAIN},
            ),
            HTTPStatus.NOT_FOUND: Answer("There is no such destination."),
            HTTPStatus.SERVICE_UNAVAILABLE: Answer("Too many traces run."),
        },
        parameters=(
            _id("connection", "The connection's id."),
            _id("subject", "The name of the user."),
            _id("destination", "The destination."),
            Parameter("seconds", Number(1, _MOST_TRACE_SECONDS), "How long.", _TRACE_SECONDS),
            _FILTER,
            _BODIES,
        ),
    ),
    HttpRoute(
        "POST",
        "/api/v1/drain",
        "drain",
        "Drain the node: it is not ready, refuses new clients and closes those that it has.",
        Access.FULL,
        api.drain,
        {_OK: Answer("It drains.", {JSON: DrainReply}), **_SILENT},
        action="drain",
    ),
    HttpRoute(
        "DELETE",
        "/api/v1/drain",
        "undrain",
        "Stop draining.",
        Access.FULL,
        api.undrain,
        {_OK: Answer("It serves clients again.", {JSON: DrainReply}), **_SILENT},
        action="end of drain",
    ),
    HttpRoute(
        "POST",
        "/api/v1/publish/{destination}",
        "publishEvents",
        "Publish an event, or an event for each line.",
        Access.FULL,
        api.publish,
        {
            **_PUBLISH_ANSWERS,
            _OK: Answer(
                "The id of the event; with JSON lines, an id or an error for each line.",
                {JSON: pages.EventId, JSON_LINES: _PLAIN},
            ),
        },
        variable=_DESTINATION,
        has_slashes=True,
        body={JSON: _EVENT, JSON_LINES: _PLAIN},
        action="publish",
        is_frequent=True,
    ),
    HttpRoute(
        "POST",
        "/api/v1/revoke",
        "revokeTokens",
        "Revoke a token, or all tokens that were issued to a user until now.",
        Access.FULL,
        pages.revoke,
        _REVOKE_ANSWERS,
        body={JSON: _REVOKED},
        action="revoke",
    ),
    _read("openapi.json", "openapi", "Return the OpenAPI document of this API.", api.openapi, _DOCUMENT),
    _read("asyncapi.json", "asyncapi", "Return the AsyncAPI document of the WebSocket.", api.asyncapi, _DOCUMENT),
)
