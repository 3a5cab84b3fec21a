"""The OpenAPI 3.1 document of the admin page: made from the table of routes and from the structs of their bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from airyd import __version__
from airyd.admin.api import INTERNAL_FIELDS
from airyd.admin.dispatcher import CHANGE_HEADER
from airyd.admin.login import COOKIE
from airyd.admin.query_parameters import Parameter
from airyd.admin.route import Access, Answer, BodySchema, HttpErrorReply, HttpRoute
from airyd.admin.routes import ROUTES
from airyd.contracts.schemas import reference, struct_schemas
from airyd.management.queries import TraceLine

_DESCRIPTION: Final = """\
The API of one airyd with all its worker processes. All times are seconds since 1970.

Send the token as `Authorization: Bearer TOKEN`, or log in at /login for a cookie. The token of --admin-token-file may
do everything. The token of --admin-read-token-file may read, without the bodies of events. Without any token, airyd
listens on loopback only; then everybody there may read without bodies, and use /publish and /revoke.

Each error is `{"error": "..."}`, with one sentence."""
#: The answers of the checks before a handler.
_REFUSED: Final = {
    HTTPStatus.BAD_REQUEST: "The request is malformed, or a parameter is unknown or wrong.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
    HTTPStatus.FORBIDDEN: "The token may not do that, or the request comes from a web page of another origin.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too big.",
    HTTPStatus.MISDIRECTED_REQUEST: "Without tokens: the Host is neither a loopback name nor the page's address.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is another one than the body needs.",
}


def openapi_document() -> dict[str, Any]:
    """Return the document."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "airyd admin page",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


class _Schemas:
    """The schemas of all structs that the routes name, and of those that these refer to."""

    def __init__(self) -> None:
        self.components = struct_schemas(_structs(ROUTES), hidden=INTERNAL_FIELDS)

    def reference(self, schema: BodySchema) -> Mapping[str, Any]:
        """Return the schema of a body, as it is in an operation."""
        return reference(schema) if isinstance(schema, type) else schema


def _structs(routes: Iterable[HttpRoute]) -> Iterable[type[msgspec.Struct]]:
    for route in routes:
        for schema in route.body.values():
            if isinstance(schema, type):
                yield schema
        for answer in route.answers.values():
            yield from (schema for schema in answer.content.values() if isinstance(schema, type))
    yield from (HttpErrorReply, TraceLine)


def _operation(route: HttpRoute, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    if route.access in (Access.FULL, Access.FULL_OR_OPEN):
        operation["description"] = f"Needs {route.access.value}."
    parameters = [_parameter(each, "query") for each in route.parameters or ()]
    if route.variable is not None:
        parameters.insert(0, {**_parameter(route.variable, "path"), "required": True})
    if route.action and not route.body:
        parameters.append(
            {
                "name": CHANGE_HEADER,
                "in": "header",
                "required": True,
                "description": "Shows that no web page of another origin sends the request.",
                "schema": {"type": "string", "enum": ["1"]},
            }
        )
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        content = {media: {"schema": schemas.reference(schema)} for media, schema in route.body.items()}
        operation["requestBody"] = {"required": True, "content": content}
    answers = {**{status: Answer(_REFUSED[status]) for status in _checks(route)}, **route.answers}
    operation["responses"] = {
        str(int(status)): _response(answer, schemas) for status, answer in sorted(answers.items())
    }
    if route.access not in (Access.HEALTH, Access.PUBLIC):
        needed: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]
        operation["security"] = needed if route.access is Access.FULL else [*needed, {}]
    return operation


def _checks(route: HttpRoute) -> Iterable[HTTPStatus]:
    """Yield the statuses with which the checks before the handler refuse a request."""
    yield HTTPStatus.BAD_REQUEST
    if route.access is not Access.HEALTH:
        yield HTTPStatus.MISDIRECTED_REQUEST
    if route.access not in (Access.HEALTH, Access.PUBLIC):
        yield HTTPStatus.UNAUTHORIZED
    if route.action or route.access not in (Access.HEALTH, Access.PUBLIC):
        yield HTTPStatus.FORBIDDEN
    if route.method != "GET":
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if route.body:
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    text = parameter.text + (" Needs the full token." if parameter.needs_full else "")
    described = {"name": parameter.name, "in": place, "description": text, "schema": parameter.schema}
    return {**described, "required": True} if parameter.is_required else described


def _response(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    content = {media: {"schema": schemas.reference(schema)} for media, schema in answer.content.items()}
    return {"description": answer.text, **({"content": content} if content else {})}
