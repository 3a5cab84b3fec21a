"""Checks each request to the admin page, finds its route, lets its handler carry it out, and logs what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from twisted.logger import Logger

from airyd.admin.access import check_fetch_site, check_headers, check_host, check_origin, check_repeated, header_values
from airyd.admin.event_stream import EventStream
from airyd.admin.login import AccessLevel, Caller
from airyd.admin.query_parameters import ParameterValues, read_query
from airyd.admin.responses import HttpError, HttpResponse
from airyd.admin.route import JSON, Access, AdminCall, AdminServices, HttpRequest, HttpRoute, read_variable
from airyd.admin.routes import ROUTES

#: The header that a changing request without a JSON body needs: no web page of another origin can make a browser send
#: it without a preflight request, which airyd refuses.
CHANGE_HEADER: Final = "X-Airyd-Request"
#: What an error calls the routes that are not the API's.
_PAGES: Final = ", ".join(dict.fromkeys(each.shown_path for each in ROUTES if not each.path.startswith("/api/")))
_WITH_VARIABLE: Final = [route for route in ROUTES if route.variable is not None]
#: The routes of each path without a variable.
_EXACT: Final = {
    each.path: [route for route in ROUTES if route.path == each.path] for each in ROUTES if each.variable is None
}


class AdminDispatcher:
    """Responds to requests."""

    _log = Logger()

    def __init__(self, services: AdminServices) -> None:
        self._services = services

    async def respond(self, request: HttpRequest) -> HttpResponse | EventStream:
        """Check a request and carry it out.

        Errors: ``HttpError``, and those of the services; ``error_response`` turns them into responses.
        """
        check_headers(request.headers)
        found = _find(request.path)
        is_health = any(route.access is Access.HEALTH for route, _ in found)
        login = self._services.login
        if not is_health:
            check_repeated(request.headers)
            if not login.needs_token:
                check_host(request.headers, request.local)
        caller = login.caller_of(request.headers) if not is_health else Caller(AccessLevel.NONE, "nobody")
        if caller.level is AccessLevel.NONE and not any(route.access.allows(AccessLevel.NONE) for route, _ in found):
            has_token = header_values(request.headers, "Authorization")
            reason = "this is not a token of airyd" if has_token else "the admin token is missing"
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                f"{reason}; send Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        if not found:
            raise HttpError(
                HTTPStatus.NOT_FOUND, f"no such page; the pages are {_PAGES}, and those of /api/v1/openapi.json"
            )
        route, variable = _choose(request.method, found)
        if not route.access.allows(caller.level):
            raise _forbidden(caller, request.path)
        if route.access not in (Access.HEALTH, Access.PUBLIC):
            check_fetch_site(request.headers)
        if route.action:
            _check_change(request, route)
        values = ParameterValues() if route.parameters is None else read_query(route.parameters, request.query)
        if caller.level is not AccessLevel.FULL:
            for each in route.parameters or ():
                if each.needs_full and values[each.name]:
                    raise _forbidden(caller, each.name)
        call = AdminCall(request, caller, read_variable(route, variable), values)
        return await self._carry_out(route, call)

    async def _carry_out(self, route: HttpRoute, call: AdminCall) -> HttpResponse | EventStream:
        try:
            response = await route.handler(self._services, call)
        except BaseException:
            self._log_change(route, call, " failed")
            raise
        self._log_change(route, call, "")
        return response

    def _log_change(self, route: HttpRoute, call: AdminCall, outcome: str) -> None:
        """Log what a request has changed, or tried to."""
        if call.changed is None:
            return
        what = ", ".join(f"{name} {value}" for name, value in call.changed.items())
        kind = f"{route.action} by {call.caller.name}{outcome}"
        limit = {"once_a_minute": kind} if route.is_frequent else {}
        self._log.info(
            "admin page: {action} by {token}{outcome}{what}",
            action=route.action,
            token=call.caller.name,
            outcome=outcome,
            what=what and f": {what}",
            **limit,
        )


def _find(path: str) -> Sequence[tuple[HttpRoute, str]]:
    """Return the routes of a path, each with the path's variable, percent-encoded."""
    if path in _EXACT:
        return [(route, "") for route in _EXACT[path]]
    matches = ((route, route.match(path)) for route in _WITH_VARIABLE)
    return [(route, variable) for route, variable in matches if variable is not None]


def _choose(method: str, found: Sequence[tuple[HttpRoute, str]]) -> tuple[HttpRoute, str]:
    """Return the route of a method, with its variable; errors: ``HttpError`` (405)."""
    allowed: list[str] = []
    for route, variable in found:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        if method in methods:
            return route, variable
        allowed += methods
    raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {' or '.join(allowed)} here", {"Allow": ", ".join(allowed)})


def _check_change(request: HttpRequest, route: HttpRoute) -> None:
    """Refuse requests that a web page of another origin could make a browser send."""
    check_origin(request.headers, request.scheme)
    if route.body and request.media_type not in route.body:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the Content-Type must be {' or '.join(route.body)}")
    if not route.body and request.media_type != JSON and header_values(request.headers, CHANGE_HEADER) != ["1"]:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"send the header {CHANGE_HEADER}: 1 with this request")


def _forbidden(caller: Caller, what: str) -> HttpError:
    if caller.level is AccessLevel.OPEN:
        return HttpError(HTTPStatus.FORBIDDEN, f"{what} needs a token: start airyd with --admin-token-file")
    return HttpError(HTTPStatus.FORBIDDEN, f"{what} needs the token of --admin-token-file; this one may only read")
