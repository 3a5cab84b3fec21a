"""The HTTP server of the admin page on twisted.web: reads requests within limits and writes responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from airyd import __version__
from airyd.admin.access import header_values
from airyd.admin.console_files import ConsoleFiles
from airyd.admin.dispatcher import AdminDispatcher
from airyd.admin.event_stream import EVENT_STREAM, EventStream, EventStreams
from airyd.admin.login import NO_TOKENS, AdminLogin, AdminTokens
from airyd.admin.openapi import openapi_document
from airyd.admin.responses import HttpResponse, error_response
from airyd.admin.route import (
    JSON_LINES,
    AdminServices,
    AskManagement,
    BeginTrace,
    CheckReadiness,
    HttpRequest,
    PublishEvent,
    RevokeTokens,
    ScrapeMetrics,
)
from airyd.errors import PayloadFault, PayloadRefused
from airyd.limits import CLOSE_PATIENCE, MIB
from airyd.metrics import ORIGIN_ADMIN, Metrics
from airyd.tls import ALPN_PROTOCOLS, TLS_HANDSHAKE

#: Seconds after which an idle connection is closed.
IDLE_PATIENCE: Final = 60
#: Largest body of JSON lines, in bytes, unless a single event may be larger.
MOST_BATCH: Final = 1 * MIB
#: The response to a client that begins with TLS; it makes the client's handshake fail at once.
_NO_TLS: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def admin_site(
    *,
    reactor: IReactorTime,
    metrics: Metrics,
    scrape: ScrapeMetrics,
    ready: CheckReadiness,
    publish: PublishEvent,
    revoke: RevokeTokens,
    ask: AskManagement,
    trace: BeginTrace,
    body_limit: int,
    tokens: AdminTokens = NO_TOKENS,
    listeners: Callable[[], Sequence[str]] = tuple,
    has_demo: Callable[[], bool] = bool,
    asyncapi: Callable[[], Mapping[str, Any]] = dict,
) -> AdminSite:
    """Return the factory of the admin page, for an endpoint that was checked.

    :param metrics: counts bodies that are too big
    :param scrape: fires with the registry that ``/metrics`` exports
    :param ready: fires with the server's readiness and its problems
    :param publish: publishes a body to a destination and fires with the ``message-id`` within bounded time; counts
        and logs what it refuses; errors: ``PayloadRefused``, ``UnknownDestination``, ``SourceUnavailable``
    :param revoke: revokes tokens by kind and name and fires with the revocation within bounded time; errors:
        ``SourceUnavailable``
    :param ask: answers a query of the API within bounded time; errors: ``Refusal``
    :param trace: begins a trace, which calls the function with its lines; errors: ``Refusal``, raised
    :param tokens: the tokens that requests must have
    :param body_limit: largest body of a request, in bytes; a larger one is refused before it is read
    :param listeners: returns the URLs of the WebSocket
    :param has_demo: says whether to serve the demo page
    :param asyncapi: returns the AsyncAPI document
    """
    services = AdminServices(
        reactor=reactor,
        scrape=scrape,
        ready=ready,
        publish=publish,
        revoke=revoke,
        ask=ask,
        trace=trace,
        login=AdminLogin(tokens, reactor.seconds),
        streams=EventStreams(reactor),
        files=ConsoleFiles(),
        listeners=listeners,
        has_demo=has_demo,
        openapi=openapi_document,
        asyncapi=asyncapi,
    )
    return AdminSite(metrics, services, body_limit)


class AdminChannel(http.HTTPChannel):
    """A connection of the admin page; it refuses a client that begins with TLS at once."""

    _is_first = True

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes from the client (called by Twisted)."""
        is_tls = self._is_first and data.startswith(TLS_HANDSHAKE)
        self._is_first = False
        if not is_tls:
            super().dataReceived(data)
        elif self.transport is not None:
            self.transport.write(_NO_TLS)
            self.loseConnection()


@implementer(IProtocolNegotiationFactory)
class AdminSite(http.HTTPFactory):
    """Makes the admin page's connections, without an access log."""

    protocol = AdminChannel  # type: ignore[assignment]  # Twisted's own would also speak HTTP/2
    noisy = False

    def __init__(self, metrics: Metrics, services: AdminServices, body_limit: int) -> None:
        super().__init__(timeout=IDLE_PATIENCE, reactor=services.reactor)
        self.metrics = metrics
        self.dispatcher = AdminDispatcher(services)
        self.body_limit = body_limit
        self.services = services

    def change(self, tokens: AdminTokens, body_limit: int) -> None:
        """Use other tokens and another limit for the next requests; see :func:`admin_site`.

        Other tokens end all sessions and streams.
        """
        if self.services.login.change(tokens):
            self.services.streams.end_all("the tokens have changed")
        self.body_limit = body_limit

    def buildProtocol(self, addr: IAddress | None) -> http._GenericHTTPChannelProtocol | None:
        """Make a connection whose requests this site handles."""
        channel = super().buildProtocol(addr)
        if channel is not None:
            channel.requestFactory = partial(AdminRequest, self)
        return channel

    def startFactory(self) -> None:
        """Do nothing: there is no access log to open, and no clock for its lines."""

    def stopFactory(self) -> None:
        """End all streams, since the page stops listening."""
        self.services.streams.end_all("airyd is stopping")

    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/1.1 only, even if the h2 package is installed (``IProtocolNegotiationFactory``)."""
        return list(ALPN_PROTOCOLS)

    def log(self, request: http.Request) -> None:
        """Write no access log."""


class AdminRequest(http.Request):
    """One request: collects its body within the limit, and writes the response.

    A body over the limit gets 413 as soon as its length is known. The rest of it is discarded for a while,
    because closing with unread bytes could destroy the response before the client reads it.
    """

    _log = Logger()

    def __init__(self, site: AdminSite, channel: http.HTTPChannel, queued: object) -> None:
        super().__init__(channel, queued)
        self._site = site
        self._body = bytearray()
        self._refused = False
        self._gone = False
        self._stream: EventStream | None = None
        self._patience: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """Check the length of the body, after the headers; None means unknown."""
        if length is not None:
            self._check_length(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Add a piece of the body, within the limit."""
        if not self._refused:
            self._check_length(len(self._body) + len(data))
        if not self._refused:
            self._body += data

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Respond to the request, which is complete now.

        Twisted's method would also parse forms and the query string, in a way of its own.
        """
        if self._refused:
            self._end_patience()
            self.finish()
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = path.partition(b"?")
        request = HttpRequest(
            self.method.decode("latin-1"),
            self.path.decode("latin-1"),
            self.requestHeaders,
            bytes(self._body),
            self.host,
            "https" if self.isSecure() else "http",
            query.decode("latin-1"),
        )
        answered = Deferred.fromCoroutine(self._site.dispatcher.respond(request))
        answered.addErrback(error_response)
        answered.addCallback(self._finish)
        answered.addErrback(self._broken)

    def connectionLost(self, reason: Failure) -> None:
        """Stop responding, because the client is gone; an event that is being published is still published."""
        self._gone = True
        self._end_patience()
        if self._stream is not None:
            self._stream.client_left()
        super().connectionLost(reason)

    def _check_length(self, length: int) -> None:
        limit = self._site.body_limit
        if header_values(self.requestHeaders, "Content-Type") == [JSON_LINES]:
            limit = max(limit, MOST_BATCH)
        if length <= limit:
            return
        refusal = PayloadRefused(PayloadFault.TOO_BIG, f"the body is too big; the limit is {limit} bytes")
        self._site.metrics.payloads_refused[ORIGIN_ADMIN, refusal.kind] += 1
        self._log.info(
            "refused a body from {origin}: {reason}",
            origin=ORIGIN_ADMIN,
            reason=refusal.reason,
            once_a_minute="refused a body",
        )
        self._refused = True
        self.clientproto = b"HTTP/1.1"
        self.channel.persistent = False
        # No "100 Continue" after the response.
        self.requestHeaders.removeHeader("Expect")
        self.setHeader("Connection", "close")
        self._write(error_response(Failure(refusal)))
        self._patience = self._site.reactor.callLater(CLOSE_PATIENCE, self.loseConnection)

    def _end_patience(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _finish(self, response: HttpResponse | EventStream) -> None:
        if isinstance(response, EventStream):
            self._finish_stream(response)
        elif not self._gone:
            self._write(response)
            self.finish()

    def _finish_stream(self, stream: EventStream) -> None:
        """Write the head of a response that goes on; the response to HEAD ends with it."""
        if self._gone or self.method == b"HEAD":
            stream.client_left()
        if self._gone:
            return
        self._write_head(HttpResponse(HTTPStatus.OK, EVENT_STREAM, b""))
        if self.method == b"HEAD":
            self.finish()
            return
        self.write(b": airyd\n\n")  # makes Twisted write the head
        self._stream = stream
        stream.attach(self)

    def _write(self, response: HttpResponse) -> None:
        self._write_head(response)
        if response.content_type:
            self.setHeader("Content-Length", str(len(response.body)))
        self.write(response.body)

    def _write_head(self, response: HttpResponse) -> None:
        """Set the status and the headers, without ``Content-Length``."""
        self.setResponseCode(response.status, response.status.phrase.encode())
        headers = {
            "Server": f"airyd/{__version__}",
            "Date": http.datetimeToString(),
            **({"Content-Type": response.content_type} if response.content_type else {}),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **response.headers,
        }
        for name, value in headers.items():
            self.setHeader(name, value)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a response of the admin page could not be written", failure=failure)
        if self.transport is not None:
            self.transport.loseConnection()
