"""The HTTP responses of the admin page, and the one place that turns exceptions into error responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import PayloadFault, PayloadRefused, Refusal, SourceUnavailable, TooManyTraces, UnknownDestination

_log = Logger()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One HTTP response.

    :ivar content_type: empty if there is no body
    :ivar body: the body; the response to HEAD has only its length
    :ivar headers: additional headers; Content-Type, Content-Length and those of all responses are set elsewhere
    """

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """A request breaks a rule of the admin page; the text tells the client which one.

    :ivar headers: the headers that the status requires, such as ``Allow``
    """

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers: Mapping[str, str] = headers or {}


def json_response(
    value: object, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return a response with the value as one line of JSON."""
    return HttpResponse(status, "application/json", json.dumps(value).encode() + b"\n", headers or {})


def error_response(failure: Failure) -> HttpResponse:
    """Return the response for an exception: ``{"error": "…"}``; an unexpected one is logged and gets 500."""
    error = failure.value
    match error:
        case HttpError():
            return _error(error.status, error.reason, error.headers)
        case PayloadRefused(fault=PayloadFault.TOO_BIG):
            return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case PayloadRefused():
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        case UnknownDestination():
            return _error(HTTPStatus.NOT_FOUND, str(error))
        case SourceUnavailable() | TooManyTraces():
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case Refusal():
            return _error(HTTPStatus.BAD_REQUEST, str(error))
    _log.failure("an admin request failed", failure=failure)
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")


def _error(status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return json_response({"error": reason}, status, headers)
