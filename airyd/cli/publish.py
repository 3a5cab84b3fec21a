"""Events to the admin endpoint, one after another over one connection (the work of ``airyd publish``)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote

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
from airyd.cli.console import Console, OutputClosed, visible
from airyd.cli.lines import Line, LineTooLong

_T = TypeVar("_T")

#: Seconds to wait for an answer.
_ANSWER_PATIENCE: Final = 30.0
#: Seconds that an idle connection is used again: less than servers keep one open.
_KEEP_ALIVE: Final = 15
#: Seconds between two looks at the progress.
_PROGRESS_EVERY: Final = 0.1
#: What the server may say of one event; any other refusal would meet every event.
_EVENT_REFUSALS: Final = frozenset((400, 413, 422))
#: Bytes of an answer, and characters of a reason that isn't airyd's, that are looked at.
_LONGEST_ANSWER: Final = 64 * 1024
_LONGEST_REASON: Final = 300
_UNSURE: Final = "the event may have been published or not"


class Refused(Exception):
    """The server does not take this event; the text is its reason."""


class PublishFailed(Exception):
    """Nothing more can be published; the text says why in one line."""


class Publisher:
    """Posts events of one destination and gives back their ids.

    :param agent: sends the requests; with the pool of :func:`one_connection`
    :param url: the admin endpoint, such as ``http://127.0.0.1:8081``
    :param token: what it asks for; None for nothing
    """

    def __init__(
        self, agent: IAgent, clock: IReactorTime, url: str, destination: str, token: str | None = None
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._base = url
        self._token = token
        self._url = f"{url.rstrip('/')}/publish/{quote(destination.removeprefix('/'))}".encode("ascii")

    async def publish(self, body: bytes) -> str:
        """Post one event and return its ``message-id``.

        Never repeated by itself: a second try could publish the event twice.

        Errors: :class:`Refused`, :class:`PublishFailed`.
        """
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": [f"airyd/{__version__}"]})
        if self._token is not None:
            headers.addRawHeader("Authorization", f"Bearer {self._token}")
        try:
            response = await self._in_time(self._agent.request(b"POST", self._url, headers, _Body(body)))
            answer = await self._in_time(_read(response))
        except (ConnectError, DNSLookupError) as error:
            raise PublishFailed(f"cannot reach {self._base}: {_first_line(error)}") from error
        except TimeoutError as error:
            raise PublishFailed(f"no answer within {_ANSWER_PATIENCE:.0f} s; {_UNSURE}") from error
        except (ResponseFailed, RequestTransmissionFailed, ConnectionClosed) as error:
            raise PublishFailed(f"the connection was lost before the answer; {_UNSURE}") from error
        return _id_of(response, answer)

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


async def publish_lines(
    publisher: Publisher, next_line: Callable[[], Awaitable[Line | None]], console: Console, clock: IReactorTime
) -> int:
    """Publish line after line, saying ids and refusals; return the exit status.

    :param next_line: gives the next event, or None when there is no more
    """
    report = _Report(console, clock)
    try:
        while (line := await next_line()) is not None:
            report.at = line
            try:
                report.published(await publisher.publish(line.text))
            except Refused as refusal:
                report.refused(str(refusal))
    except PublishFailed as error:
        report.failed(f"{report.where()}{error}")
    except (LineTooLong, OSError) as error:
        report.failed(f"cannot read on: {error}")
    except OutputClosed as closed:
        report.failed(closed.reason or "nobody reads the ids any more; stopped")
    finally:
        report.end()
    return report.status


class _Report:
    """What a person or a program is told of the publishing."""

    def __init__(self, console: Console, clock: IReactorTime) -> None:
        self._console = console
        self._clock = clock
        self._started = self._looked = clock.seconds()
        self._published = 0
        self._refused = 0
        self.at: Line | None = None
        self.status = 0

    def where(self) -> str:
        return "" if self.at is None or self.at.number is None else f"line {self.at.number}: "

    def published(self, event_id: str) -> None:
        self._published += 1
        if self._console.terminal:
            self._console.show(visible(event_id))
        else:
            self._console.write(json.dumps({"id": event_id}).encode() + b"\n")
        self._progress()

    def refused(self, reason: str) -> None:
        self._refused += 1
        self.status = 1
        self._console.say(f"{self.where()}refused: {reason}")
        self._progress()

    def failed(self, reason: str) -> None:
        self.status = 1
        self._console.say(reason)

    def end(self) -> None:
        """Sum up, unless there was just the one event of the command line."""
        self._console.clear_progress()
        if self.at is None or self.at.number is not None:
            self._console.say(self._count())

    def _progress(self) -> None:
        now = self._clock.seconds()
        if self.at is not None and self.at.number is not None and now - self._looked >= _PROGRESS_EVERY:
            self._looked = now
            self._console.progress(self._count())

    def _count(self) -> str:
        took = self._clock.seconds() - self._started
        rate = f", {self._published / took:.0f}/s" if took > 0 else ""
        refused = f", {self._refused} refused" if self._refused else ""
        return f"{self._published} published{refused}{rate}"


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


def _id_of(response: IResponse, answer: bytes) -> str:
    """Return the id that a good answer holds."""
    if response.code == 200:
        match _parsed(answer):
            case {"id": str(event_id)}:
                return event_id
        raise PublishFailed("the answer holds no id: is this airyd's admin endpoint?")
    reason = _reason(response, answer)
    if response.code in _EVENT_REFUSALS or response.code >= 500:
        raise Refused(reason)
    raise PublishFailed(reason)


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
