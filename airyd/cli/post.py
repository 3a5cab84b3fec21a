"""A request to the admin endpoint, and its answer."""

from __future__ import annotations

import json
from typing import Final, NamedTuple, NoReturn, TypeVar

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from airyd import __version__

_T = TypeVar("_T")

#: Seconds to wait for an answer.
_ANSWER_PATIENCE: Final = 30.0
#: Seconds that an idle connection is used again: less than servers keep one open.
_KEEP_ALIVE: Final = 15
#: Bytes of an answer, and characters of a reason that isn't airyd's, that are looked at.
_LONGEST_ANSWER: Final = 64 * 1024
_LONGEST_REASON: Final = 300


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
    """

    def __init__(self, agent: IAgent, clock: IReactorTime, url: str, token: str | None = None) -> None:
        self._agent = agent
        self._clock = clock
        self._base = url
        self._token = token

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
        except (ConnectError, DNSLookupError) as error:
            raise PostFailed(f"cannot reach {self._base}: {_first_line(error)}") from error
        except TimeoutError as error:
            raise PostFailed(f"no answer within {_ANSWER_PATIENCE:.0f} s; {unsure}") from error
        except (ResponseFailed, RequestTransmissionFailed, ConnectionClosed) as error:
            raise PostFailed(f"the connection was lost before the answer; {unsure}") from error
        return Reply(response.code, _parsed(answer), _reason(response, answer))

    async def _in_time(self, waiting: Deferred[_T]) -> _T:
        return await waiting.addTimeout(_ANSWER_PATIENCE, self._clock, _too_late)


def _too_late(_result: object, seconds: float) -> NoReturn:
    # An Agent whose request is cancelled reports a lost connection.
    raise TimeoutError(seconds)


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
    match _parsed(answer):
        case {"error": str(reason)}:
            return reason
    text = " ".join(answer.decode("utf-8", "replace").split())
    phrase = f"{response.code} {response.phrase.decode('latin-1')}".strip()
    return f"{phrase}: {text[:_LONGEST_REASON]}" if text and not text.startswith("<") else phrase


def _parsed(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
