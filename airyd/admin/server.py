"""The HTTP server of the admin page on twisted.web: reads requests within limits and writes responses."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from airyd import __version__
from airyd.admin.responses import HttpResponse, error_response
from airyd.admin.routes import AdminRoutes, CheckReadiness, HttpRequest, PublishEvent, RevokeTokens, ScrapeMetrics
from airyd.errors import PayloadFault, PayloadRefused
from airyd.limits import CLOSE_PATIENCE
from airyd.metrics import ORIGIN_ADMIN, Metrics
from airyd.tls import ALPN_PROTOCOLS, TLS_HANDSHAKE

#: Seconds after which an idle connection is closed.
IDLE_PATIENCE = 60
#: The response to a client that begins with TLS; it makes the client's handshake fail at once.
_NO_TLS = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def admin_site(
    *,
    reactor: IReactorTime,
    metrics: Metrics,
    scrape: ScrapeMetrics,
    ready: CheckReadiness,
    publish: PublishEvent,
    revoke: RevokeTokens,
    body_limit: int,
    token: str | None = None,
) -> AdminSite:
    """Return the factory of the admin page, for an endpoint that was checked.

    :param metrics: counts bodies that are too big
    :param scrape: fires with the registry that ``/metrics`` exports
    :param ready: fires with the server's readiness and its problems
    :param publish: publishes a body to a destination and fires with the ``message-id`` within bounded time; counts
        and logs what it refuses; errors: ``PayloadRefused``, ``UnknownDestination``, ``SourceUnavailable``
    :param revoke: revokes tokens by kind and name and fires with the revocation within bounded time; errors:
        ``SourceUnavailable``
    :param token: the token that requests must have; None for no token
    :param body_limit: largest body of a request, in bytes; a larger one is refused before it is read
    """
    return AdminSite(reactor, metrics, AdminRoutes(scrape, ready, publish, revoke, token), body_limit)


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

    def __init__(self, reactor: IReactorTime, metrics: Metrics, routes: AdminRoutes, body_limit: int) -> None:
        super().__init__(timeout=IDLE_PATIENCE, reactor=reactor)
        self.metrics = metrics
        self.routes = routes
        self.body_limit = body_limit

    def change(self, token: str | None, body_limit: int) -> None:
        """Use another token and another limit for the next requests; see :func:`admin_site`."""
        self.routes.token = token
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
        """Do nothing."""

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

        Twisted's method would also parse forms and the query string, which no page uses.
        """
        if self._refused:
            self._end_patience()
            self.finish()
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        request = HttpRequest(
            self.method.decode("latin-1"),
            self.path.decode("latin-1"),
            self.requestHeaders,
            bytes(self._body),
            self.host,
            "https" if self.isSecure() else "http",
        )
        answered = Deferred.fromCoroutine(self._site.routes.respond(request))
        answered.addErrback(error_response)
        answered.addCallback(self._finish)
        answered.addErrback(self._broken)

    def connectionLost(self, reason: Failure) -> None:
        """Stop responding, because the client is gone; an event that is being published is still published."""
        self._gone = True
        self._end_patience()
        super().connectionLost(reason)

    def _check_length(self, length: int) -> None:
        limit = self._site.body_limit
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

    def _finish(self, response: HttpResponse) -> None:
        if self._gone:
            return
        self._write(response)
        self.finish()

    def _write(self, response: HttpResponse) -> None:
        self.setResponseCode(response.status, response.status.phrase.encode())
        headers = {
            "Server": f"airyd/{__version__}",
            "Date": http.datetimeToString(),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **response.headers,
        }
        for name, value in headers.items():
            self.setHeader(name, value)
        self.write(response.body)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a response of the admin page could not be written", failure=failure)
        if self.transport is not None:
            self.transport.loseConnection()
