"""The handlers of the pages: health, metrics, publishing, revoking, login, and the files of the console."""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import msgspec
from prometheus_client.exposition import choose_encoder

from airyd.addresses import read_authority
from airyd.admin.access import header_values
from airyd.admin.login import set_cookie
from airyd.admin.responses import HttpError, HttpResponse, json_response
from airyd.admin.route import AdminCall, AdminServices
from airyd.revocation import LONGEST_NAME, RevocationKind, is_name

#: Hosts in the URL of a listener that stand for all addresses of the machine.
_ANY_HOST: Final = ("0.0.0.0", "[::]")  # noqa: S104  # compared, not bound
_OK: Final = HTTPStatus.OK


class EventId(msgspec.Struct, frozen=True):
    """A published event.

    :ivar id: its ``message-id``
    """

    id: str


class NodeReadiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether clients can be served.

    :ivar reasons: why not
    :ivar warnings: problems that do not keep clients from being served; only if there are any
    """

    ready: bool
    reasons: list[str]
    warnings: list[str] = []


class LoginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A login.

    :ivar token: the full token or the read token
    """

    token: str


async def healthz(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Say that the process answers."""
    return HttpResponse(_OK, "text/plain; charset=utf-8", b"ok")


async def readyz(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Say whether clients can be served."""
    readiness = await services.ready()
    status = HTTPStatus.SERVICE_UNAVAILABLE if readiness.reasons else _OK
    response: dict[str, object] = {"ready": not readiness.reasons, "reasons": list(readiness.reasons)}
    if readiness.warnings:
        response["warnings"] = list(readiness.warnings)
    return json_response(response, status)


async def metrics(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the metrics in the format that the client asks for."""
    try:
        encode, content_type = choose_encoder(", ".join(header_values(call.request.headers, "Accept")))
    except (TypeError, ValueError):  # prometheus_client fails on a version that is not a number
        encode, content_type = choose_encoder("")
    return HttpResponse(_OK, content_type, encode(await services.scrape()))


async def publish(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Publish the body as an event."""
    destination = f"/{call.variable}"
    call.change(destination=destination)
    return json_response({"id": await services.publish(destination, call.request.body)})


async def revoke(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Revoke a token, or all tokens of a user."""
    kind, name = _read_revoked(call.request.body)
    call.change(**{kind.value: name})
    done = await services.revoke(kind, name)
    return json_response({done.kind.value: done.name, "at": done.at, "until": done.until})


async def log_in(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Begin a session, whose cookie counts as the token."""
    try:
        token = msgspec.json.decode(call.request.body, type=LoginRequest).token
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HttpError(HTTPStatus.BAD_REQUEST, 'give {"token": "..."}') from None
    call.caller, cookie = services.login.log_in(token, call.request.headers)
    call.change()
    return _no_content(call, cookie)


async def log_out(services: AdminServices, call: AdminCall) -> HttpResponse:
    """End the session of the cookie."""
    if services.login.log_out(call.request.headers):  # else anybody could fill the log
        call.change()
    return _no_content(call, "")


async def console(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the console."""
    return _file(services, call, "index.html")


async def demo(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the demo page."""
    if not services.has_demo():
        raise HttpError(
            HTTPStatus.NOT_FOUND, "there is a demo only with --source sample: and without --auth jwt (make run)"
        )
    return _file(services, call, "demo.html")


async def console_file(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return a file of the console."""
    return _file(services, call, call.variable)


def listeners_for(services: AdminServices, call: AdminCall) -> list[str]:
    """Return the URLs of the WebSocket as the client can reach them.

    A listener on all addresses gets the host of the request.
    """
    host = "localhost"
    with suppress(ValueError):
        (authority,) = header_values(call.request.headers, "Host")
        host = read_authority(authority).host
    name = f"[{host}]" if ":" in host else host
    urls = list(services.listeners())
    for wildcard in _ANY_HOST:
        urls = [url.replace(f"://{wildcard}:", f"://{name}:", 1) for url in urls]
    return urls


def _file(services: AdminServices, call: AdminCall, name: str) -> HttpResponse:
    known = header_values(call.request.headers, "If-None-Match")
    return services.files.respond(name, known, listeners_for(services, call))


def _no_content(call: AdminCall, cookie: str) -> HttpResponse:
    header = set_cookie(cookie, call.request.scheme, call.request.headers)
    return HttpResponse(HTTPStatus.NO_CONTENT, "", b"", {"Set-Cookie": header})


def _read_revoked(body: bytes) -> tuple[RevocationKind, str]:
    """Return the kind and name in the body of a request to revoke."""
    with suppress(ValueError, RecursionError):
        value: Any = json.loads(body, object_pairs_hook=tuple)  # only objects become tuples
        match value:
            case tuple(((str(kind), name),)) if is_name(name):
                return RevocationKind(kind), name
    raise HttpError(
        HTTPStatus.BAD_REQUEST,
        f'give {{"jti": "..."}} or {{"subject": "..."}}: a text of 1 to {LONGEST_NAME} printable characters',
    )
