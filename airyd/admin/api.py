"""The handlers of the API under ``/api/v1``: each makes a query of a request, and a response of its reply."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from twisted.internet.task import deferLater

from airyd import __version__
from airyd.admin import pages
from airyd.admin.event_stream import EventStream
from airyd.admin.responses import HttpError, HttpResponse, json_response
from airyd.admin.route import JSON, JSON_LINES, AdminCall, AdminServices
from airyd.errors import PayloadRefused, SourceUnavailable
from airyd.management.queries import (
    ConnectionQuery,
    ConnectionReply,
    ConnectionsQuery,
    ConnectionsReply,
    DestinationsQuery,
    DestinationsReply,
    DrainCommand,
    DrainReply,
    EventsQuery,
    EventsReply,
    ExplainQuery,
    ExplainReply,
    KickCommand,
    KickReply,
    ManagementQuery,
    OverviewQuery,
    OverviewReply,
    ProcessesQuery,
    ProcessesReply,
    TraceLine,
    TraceQuery,
)

#: The most lines of a request that publishes several events.
MOST_EVENTS: Final = 10_000
#: Events that are published in one turn of the reactor.
_EVENTS_IN_A_TURN: Final = 50
#: Fields of a reply that are for the parent of workers, and not in the JSON.
INTERNAL_FIELDS: Final = ("type", "keys")

_Reply = TypeVar("_Reply")


class SessionReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a page may show.

    :ivar level: ``full`` or ``read`` by a token; ``open`` if there are no tokens, which allows to read without bodies;
        ``none`` if the login is missing
    :ivar version: of airyd
    :ivar listeners: the URLs of the WebSocket
    :ivar demo: whether there is a demo page
    """

    level: str
    version: str
    listeners: Sequence[str]
    demo: bool


async def session(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return what the sender of the request may do."""
    reply = SessionReply(
        level=call.caller.level.value,
        version=__version__,
        listeners=pages.listeners_for(services, call),
        demo=services.has_demo(),
    )
    return _response(reply)


async def overview(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the figures of the node."""
    return _response(await _ask(services, OverviewQuery(), OverviewReply))


async def connections(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return a page of the connections."""
    return _response(await _ask(services, ConnectionsQuery(**call.values.values), ConnectionsReply))


async def connection(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return one connection."""
    reply = await _ask(services, ConnectionQuery(id=call.variable), ConnectionReply)
    if reply.details is None:
        raise _no_connection()
    return _response(reply.details)


async def kick_connection(services: AdminServices, call: AdminCall) -> HttpResponse:
    """End one connection."""
    reason = call.values["reason"]
    call.change(connection=call.variable, reason=reason)
    reply = await _ask(services, KickCommand(id=call.variable, reason=reason), KickReply)
    if not reply.disconnected and not reply.missing:
        raise _no_connection()
    return _response(reply)


async def kick_subject(services: AdminServices, call: AdminCall) -> HttpResponse:
    """End all connections of a user."""
    subject, reason = call.values["subject"], call.values["reason"]
    call.change(subject=subject, reason=reason)
    return _response(await _ask(services, KickCommand(subject=subject, reason=reason), KickReply))


async def destinations(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return all destinations."""
    return _response(await _ask(services, DestinationsQuery(), DestinationsReply))


async def processes(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the processes of the node."""
    return _response(await _ask(services, ProcessesQuery(), ProcessesReply))


async def events(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return a page of a destination's history."""
    values = call.values
    query = EventsQuery(
        destination=values["destination"],
        after=values["after"],
        limit=values["limit"],
        filter=_filter(values["filter"]),
        has_bodies=values["bodies"],
    )
    return _response(await _ask(services, query, EventsReply))


async def explain(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return what happened to an event, for one connection."""
    return _response(await _ask(services, ExplainQuery(**call.values.values), ExplainReply))


async def trace(services: AdminServices, call: AdminCall) -> HttpResponse | EventStream:
    """Follow a connection, a user or a destination: an event ``line`` for each line of the trace."""
    values = call.values
    if len(call.values.given & {"connection", "subject", "destination"}) != 1:
        raise HttpError(HTTPStatus.BAD_REQUEST, "give one of connection, subject and destination")
    if values["filter"] and values["destination"] is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "filter is only for a destination")
    query = TraceQuery(
        connection=values["connection"],
        subject=values["subject"],
        destination=values["destination"],
        seconds=values["seconds"],
        has_bodies=values["bodies"],
        filter=_filter(values["filter"]),
    )
    stream = services.streams.open(query.seconds)

    def on_lines(lines: Sequence[TraceLine]) -> None:
        stream.send_all("line", lines)

    try:
        running = services.trace(query, on_lines)
    except BaseException:
        stream.client_left()
        raise
    stream.on_end(running.stop)
    running.ended.addCallback(stream.end)
    return stream


async def drain(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Begin to drain the node."""
    call.change(draining="on")
    return _response(await _ask(services, DrainCommand(is_on=True), DrainReply))


async def undrain(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Stop draining."""
    call.change(draining="off")
    return _response(await _ask(services, DrainCommand(is_on=False), DrainReply))


async def publish(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Publish an event, or an event for each line."""
    if call.request.media_type == JSON_LINES:
        return await _publish_lines(services, call)
    return await pages.publish(services, call)


async def _publish_lines(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Publish an event for each line of the body, one after another, with an answer for each.

    When the source can't be reached, the remaining lines are not tried.
    """
    destination = f"/{call.variable}"
    lines = call.request.body.removesuffix(b"\n").split(b"\n") if call.request.body else []
    if len(lines) > MOST_EVENTS:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {MOST_EVENTS} lines at once")
    call.change(destination=destination, lines=str(len(lines)))
    answers: list[dict[str, str]] = []
    unavailable: SourceUnavailable | None = None
    for number, line in enumerate(lines):
        if number and not number % _EVENTS_IN_A_TURN:
            await deferLater(services.reactor, 0)
        try:
            if unavailable is not None:
                raise unavailable
            answers.append({"id": await services.publish(destination, line)})
        except PayloadRefused as error:
            answers.append({"error": str(error)})
        except SourceUnavailable as error:
            unavailable = error
            answers.append({"error": str(error)})
    body = b"".join(msgspec.json.encode(each) + b"\n" for each in answers)
    return HttpResponse(HTTPStatus.OK, JSON_LINES, body)


async def openapi(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the OpenAPI document."""
    return json_response(services.openapi())


async def asyncapi(services: AdminServices, call: AdminCall) -> HttpResponse:
    """Return the AsyncAPI document."""
    # A thousand destinations make a megabyte, for which json takes 6 times as long as msgspec.
    return HttpResponse(HTTPStatus.OK, JSON, msgspec.json.encode(services.asyncapi()) + b"\n")


async def _ask(services: AdminServices, query: ManagementQuery, kind: type[_Reply]) -> _Reply:
    reply = await services.ask(query)
    if not isinstance(reply, kind):
        raise TypeError(f"{type(query).__name__} was answered by {type(reply).__name__}")
    return reply


def _response(reply: msgspec.Struct) -> HttpResponse:
    """Return the response with the fields of a reply."""
    value: dict[str, Any] = msgspec.to_builtins(reply)
    for name in INTERNAL_FIELDS:
        value.pop(name, None)
    return HttpResponse(HTTPStatus.OK, JSON, msgspec.json.encode(value) + b"\n")


def _filter(given: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the values of each field."""
    filters: dict[str, list[str]] = {}
    for name, value in given:
        filters.setdefault(name, []).append(value)
    return filters


def _no_connection() -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, "there is no connection with this id (any more)")
