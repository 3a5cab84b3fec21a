"""A small document from an HTTP server, within bounds of time and size."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn

from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from airyd import __version__

#: Seconds that the whole may take, and bytes that the document may have.
PATIENCE: Final = 10.0
MOST_BYTES: Final = 256 * 1024


class FetchFailed(Exception):
    """The document can't be had; the text says why in one line."""


def make_agent(reactor: IReactorTime, ca_file: str | None) -> IAgent:
    """Return what fetches, and verifies servers of ``https:`` by the system's authorities, or those of a PEM file.

    Raises ``ValueError`` or ``OSError`` if there are none in the file.
    """
    if ca_file is None:
        return Agent(reactor, BrowserLikePolicyForHTTPS(), connectTimeout=PATIENCE)
    end = b"-----END CERTIFICATE-----"
    blocks = Path(ca_file).read_bytes().split(end)[:-1]
    if not blocks:
        raise ValueError("there is no certificate in it")
    trust = trustRootFromCertificates([Certificate.loadPEM(block + end) for block in blocks])
    return Agent(reactor, BrowserLikePolicyForHTTPS(trust), connectTimeout=PATIENCE)


async def fetch(agent: IAgent, clock: IReactorTime, url: str) -> bytes:
    """Return the document at a URL. Redirections are not followed: whoever set the URL up knows where it is.

    Errors: :class:`FetchFailed`; ``CancelledError`` if it is cancelled.
    """
    fetching = Deferred.fromCoroutine(_fetch(agent, url))
    try:
        return await fetching.addTimeout(PATIENCE, clock, _too_late)
    except TimeoutError:
        raise FetchFailed(f"it did not come within {PATIENCE:.0f} s") from None
    except (ConnectError, DNSLookupError) as error:
        raise FetchFailed(f"cannot connect: {' '.join(str(error).split())[:200]}") from None
    except (ResponseFailed, RequestTransmissionFailed) as error:
        raise FetchFailed(f"the connection failed: {', '.join(map(_cause, error.reasons))}") from None
    except ConnectionClosed:
        raise FetchFailed("the connection was lost") from None


def _cause(failure: Failure) -> str:
    match failure.value:
        case SSLError(args=([*errors],)):
            return ", ".join(str(error[-1]) for error in errors)  # as OpenSSL has it: (library, function, reason) each
        case error:
            return type(error).__name__


def _too_late(result: object, seconds: float) -> NoReturn:
    # An Agent whose request is cancelled reports a lost connection.
    raise TimeoutError(seconds)


async def _fetch(agent: IAgent, url: str) -> bytes:
    headers = Headers({"Accept": ["application/json"], "User-Agent": [f"airyd/{__version__}"]})
    response: IResponse = await agent.request(b"GET", url.encode("ascii"), headers, None)
    body = _Body()
    if response.code != HTTPStatus.OK:
        body.abort(FetchFailed(f"the server answers with {response.code}"))
    response.deliverBody(body)
    return await body.whole


class _Body(Protocol):
    """Collects a body within the bound.

    :ivar whole: fires with it; when cancelled, the connection goes
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self.abort(CancelledError()))
        self._data = bytearray()

    def connectionMade(self) -> None:
        """Begin, if anybody wants it."""
        if self.whole.called:
            self.abort(FetchFailed())

    def dataReceived(self, data: bytes) -> None:
        """Take a piece."""
        self._data += data
        if len(self._data) > MOST_BYTES:
            self.abort(FetchFailed(f"it has more than {MOST_BYTES} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Learn that the body has ended."""
        if self.whole.called:
            return
        # PotentialDataLoss: the answer has no length, its end is the connection's.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._data))
        else:
            self.whole.errback(FetchFailed("the connection was lost in the middle of it"))

    def abort(self, error: Exception) -> None:
        """Want no more of it."""
        if not self.whole.called:
            self.whole.errback(error)
        if self.transport is not None:
            self.transport.loseConnection()
