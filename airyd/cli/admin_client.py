"""A request to the admin endpoint, and its answer."""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn, TypeVar

from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from airyd import __version__
from airyd.cli.connection import CONNECT_PATIENCE
from airyd.cli.reasons import connect_reason, http_reason, parsed, plain_scheme, stated_error, tls_scheme
from airyd.cli.tls import Authorities
from airyd.hostnames import AnyNameEndpoints

_T = TypeVar("_T")

#: Seconds to wait for an answer.
_ANSWER_PATIENCE: Final = 30.0
#: Seconds that an idle connection is used again: less than servers keep one open.
_KEEP_ALIVE: Final = 15
#: Bytes of an answer that are looked at.
_LONGEST_ANSWER: Final = 64 * 1024


class PostFailed(Exception):
    """There is no answer; the text says why in one line."""


class Reply(NamedTuple):
    """What was answered.

    :ivar status: of HTTP
    :ivar value: what the answer's JSON says; None if it is none
    :ivar reason: why the answer is no good one, if it isn't
    """

    status: int
    value: object
    reason: str


class AdminEndpoint:
    """Sends requests to an admin endpoint.

    :param agent: sends them; with the pool of :func:`one_connection`
    :param url: the admin endpoint, such as ``http://127.0.0.1:8081``
    :param token: what it asks for; None for nothing
    :param authorities: what the agent trusts; None without TLS
    """

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        url: str,
        token: str | None = None,
        authorities: Authorities | None = None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._base = url
        self._token = token
        self._authorities = authorities

    async def post(self, path: str, body: bytes, unsure: str) -> Reply:
        """Post JSON, once: never repeated by itself.

        :param path: percent-encoded, without the first slash
        :param unsure: what to say of it where it isn't known whether it was taken

        Errors: :class:`PostFailed`.
        """
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": [f"airyd/{__version__}"]})
        if self._token is not None:
            headers.addRawHeader("Authorization", f"Bearer {self._token}")
        url = f"{self._base.rstrip('/')}/{path}".encode("ascii")
        try:
            response = await self._in_time(self._agent.request(b"POST", url, headers, _Body(body)))
            answer = await self._in_time(_read(response))
        except (ConnectError, DNSLookupError, ValueError) as error:  # ValueError: a name that can't be one
            raise self._unreachable(connect_reason(error, self._base)) from error
        except TimeoutError as error:
            self._check_tls(None)
            raise PostFailed(f"no answer within {_ANSWER_PATIENCE:.0f} s; {unsure}") from error
        except (ResponseFailed, RequestTransmissionFailed, ConnectionClosed) as error:
            raise self._lost(error, unsure) from error
        return Reply(response.code, parsed(answer), _reason(response, answer))

    def _unreachable(self, reason: str) -> PostFailed:
        return PostFailed(f"cannot reach {self._base}: {reason}")

    def _check_tls(self, error: BaseException | None) -> None:
        """Raise ``PostFailed`` if it was the TLS handshake that failed: nothing was sent then."""
        last = self._authorities.last if self._authorities is not None else None
        failed = last.reason(error, plain_scheme(self._base)) if last is not None else None
        if failed is not None:
            raise self._unreachable(failed[0])

    def _lost(self, error: Exception, unsure: str) -> PostFailed:
        """Return what it means that the connection ended without an answer."""
        causes = [each.value for each in getattr(error, "reasons", ())] or [error]
        if any(isinstance(each, CancelledError) for each in causes):
            return PostFailed(f"interrupted before the answer; {unsure}")
        self._check_tls(next((each for each in causes if isinstance(each, SSLError)), causes[0]))
        if not any(isinstance(each, ConnectionClosed | SSLError) for each in causes):
            return self._unreachable("the server does not speak HTTP on this port")
        hint = ""
        if self._authorities is None and isinstance(error, ResponseNeverReceived):
            hint = f" (is this airyd's admin endpoint? with TLS use {tls_scheme(self._base)})"
        return PostFailed(f"the connection was lost before the answer{hint}; {unsure}")

    async def _in_time(self, waiting: Deferred[_T]) -> _T:
        return await waiting.addTimeout(_ANSWER_PATIENCE, self._clock, _too_late)


def _too_late(_result: object, seconds: float) -> NoReturn:
    # An Agent whose request is cancelled reports a lost connection.
    raise TimeoutError(seconds)


def make_endpoint(reactor: IReactorTime, url: str, token: str | None, ca_file: str | None) -> AdminEndpoint:
    """Return the admin endpoint at a URL.

    :param ca_file: a PEM file with the authorities that may sign its certificate; None for the system's

    Raises ``ConfigurationError`` if there are none in the file.
    """
    authorities = Authorities(ca_file) if url.startswith("https:") else None
    tls = authorities.connections if authorities is not None else None
    endpoints = AnyNameEndpoints(reactor, CONNECT_PATIENCE, tls)
    agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, one_connection(reactor))
    return AdminEndpoint(agent, reactor, url, token, authorities)


def one_connection(reactor: IReactorTime) -> HTTPConnectionPool:
    """Return a pool that keeps one connection, so that events are taken in the order they were sent."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = 1
    pool.cachedConnectionTimeout = _KEEP_ALIVE
    pool.retryAutomatically = False
    return pool


@implementer(IBodyProducer)
class _Body:
    """A request's body that is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to produce."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class _Answer(Protocol):
    """Collects an answer's body, of which only the beginning matters."""

    def __init__(self, whole: Deferred[bytes]) -> None:
        self._whole = whole
        self._body = b""

    def dataReceived(self, data: bytes) -> None:
        if len(self._body) < _LONGEST_ANSWER:
            self._body += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._whole.called:
            return
        # PotentialDataLoss: the answer has no length, its end is the connection's.
        if reason.check(ResponseDone, PotentialDataLoss):
            self._whole.callback(self._body)
        else:
            self._whole.errback(reason)


def _read(response: IResponse) -> Deferred[bytes]:
    # Twisted's own readBody warns, each time, of what a pooled connection has not.
    whole: Deferred[bytes] = Deferred()
    response.deliverBody(_Answer(whole))
    return whole


def _reason(response: IResponse, answer: bytes) -> str:
    (location,) = response.headers.getRawHeaders("Location", [None])[:1]
    phrase = response.phrase.decode("latin-1")
    return stated_error(answer) or http_reason(response.code, phrase, location, answer)
