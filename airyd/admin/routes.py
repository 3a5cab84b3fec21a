"""The routes of the admin page: ``/healthz``, ``/readyz``, ``/metrics``, ``/publish/...`` and ``/revoke``."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from airyd.admin.access import check_headers, check_host, check_origin, check_repeated, check_token, header_values
from airyd.admin.responses import HttpError, HttpResponse, json_response
from airyd.errors import UnknownDestination
from airyd.interfaces import Readiness
from airyd.revocation import LONGEST_NAME, Revocation, RevocationKind, is_name

#: Returns a Deferred with the registry that ``/metrics`` exports.
ScrapeMetrics = Callable[[], Deferred[CollectorRegistry]]
#: Returns a Deferred with the server's readiness and its problems.
CheckReadiness = Callable[[], Deferred[Readiness]]
#: Publishes a body to a destination; returns a Deferred with the ``message-id``.
PublishEvent = Callable[[str, bytes], Deferred[str]]
#: Revokes tokens by kind and name; returns a Deferred that fires with the revocation when it is stored.
RevokeTokens = Callable[[RevocationKind, str], Deferred[Revocation]]

_PUBLISH: Final = "/publish/"
_REVOKE: Final = "/revoke"
#: Health paths need neither a token nor a particular ``Host``: load balancers have no token and send any ``Host``.
_HEALTH_PATHS: Final = ("/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One complete HTTP request.

    :ivar path: percent-encoded, without the query string
    :ivar local: the address that the client connected to
    :ivar scheme: ``http``, or ``https`` over TLS
    """

    method: str
    path: str
    headers: Headers
    body: bytes
    local: IAddress
    scheme: str


class AdminRoutes:
    """Responds to requests.

    :ivar token: the token that all requests except those for health paths must have; if it is None, their ``Host``
        is checked instead
    :param publish: fails with ``PayloadRefused``, ``UnknownDestination`` or ``SourceUnavailable``
    :param revoke: fails with ``SourceUnavailable``

    The Deferreds of these four callables must fire within bounded time.
    """

    def __init__(
        self,
        scrape: ScrapeMetrics,
        ready: CheckReadiness,
        publish: PublishEvent,
        revoke: RevokeTokens,
        token: str | None,
    ) -> None:
        self.token = token
        self._scrape = scrape
        self._ready = ready
        self._publish = publish
        self._revoke = revoke
        self._pages: Final = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}

    async def respond(self, request: HttpRequest) -> HttpResponse:
        """Carry out the request.

        Errors: ``HttpError``, and those of the callables; ``error_response`` turns them into responses.
        """
        check_headers(request.headers)
        if request.path not in _HEALTH_PATHS:
            check_repeated(request.headers)
            if self.token is None:
                check_host(request.headers, request.local)
            else:
                check_token(request.headers, self.token)
        if request.path.startswith(_PUBLISH):
            _check_method(request, "POST")
            return await self._post_event(request)
        if request.path == _REVOKE:
            _check_method(request, "POST")
            return await self._post_revocation(request)
        page = self._pages.get(request.path)
        if page is None:
            known = ", ".join((*self._pages, f"{_PUBLISH}<destination without its first slash>", _REVOKE))
            raise HttpError(HTTPStatus.NOT_FOUND, f"no such page; the pages are {known}")
        _check_method(request, "GET", "HEAD")
        return await page(request)

    async def _healthz(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(HTTPStatus.OK, "text/plain; charset=utf-8", b"ok")

    async def _readyz(self, request: HttpRequest) -> HttpResponse:
        readiness = await self._ready()
        status = HTTPStatus.SERVICE_UNAVAILABLE if readiness.reasons else HTTPStatus.OK
        response: dict[str, object] = {"ready": not readiness.reasons, "reasons": list(readiness.reasons)}
        if readiness.warnings:
            response["warnings"] = list(readiness.warnings)
        return json_response(response, status)

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        try:
            encode, content_type = choose_encoder(", ".join(header_values(request.headers, "Accept")))
        except (TypeError, ValueError):  # prometheus_client fails on a version that is not a number
            encode, content_type = choose_encoder("")
        return HttpResponse(HTTPStatus.OK, content_type, encode(await self._scrape()))

    async def _post_event(self, request: HttpRequest) -> HttpResponse:
        _check_json(request)
        try:
            destination = "/" + unquote_to_bytes(request.path.removeprefix(_PUBLISH)).decode()
        except UnicodeDecodeError:
            raise UnknownDestination("the destination is not UTF-8") from None
        message_id = await self._publish(destination, request.body)
        return json_response({"id": message_id})

    async def _post_revocation(self, request: HttpRequest) -> HttpResponse:
        _check_json(request)
        done = await self._revoke(*_read_revoked(request.body))
        return json_response({done.kind.value: done.name, "at": done.at, "until": done.until})


def _check_json(request: HttpRequest) -> None:
    """Refuse requests that a web page of another origin could make a browser send."""
    check_origin(request.headers, request.scheme)
    given = header_values(request.headers, "Content-Type") or [""]
    media_type = given[0].partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json")


def _read_revoked(body: bytes) -> tuple[RevocationKind, str]:
    """Return the kind and name in the body of a request to revoke."""
    with suppress(ValueError, RecursionError):
        match json.loads(body, object_pairs_hook=tuple):  # only objects become tuples
            case tuple(((str(kind), name),)) if is_name(name):
                return RevocationKind(kind), name
    raise HttpError(
        HTTPStatus.BAD_REQUEST,
        f'give {{"jti": "..."}} or {{"subject": "..."}}: a text of 1 to {LONGEST_NAME} printable characters',
    )


def _check_method(request: HttpRequest, *allowed: str) -> None:
    if request.method not in allowed:
        raise HttpError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"use {' or '.join(allowed)} here",
            {"Allow": ", ".join(allowed)},
        )
