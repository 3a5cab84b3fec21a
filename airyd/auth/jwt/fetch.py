"""An HTTP client that fetches a JWK Set, with a timeout and a size limit."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NoReturn
from urllib.parse import urlsplit

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from airyd import __version__
from airyd.auth.jwt.keys import MOST_BYTES
from airyd.hostnames import AnyNameEndpoints, tls_options, why_not_connected
from airyd.openssl import TlsFault, openssl_reason, tls_fault, trust_root

#: Seconds that a fetch may take.
PATIENCE: Final = 10.0
#: The usual causes of TLS errors, in words for the operator.
_TLS_CAUSES: Final[Mapping[TlsFault, str]] = {
    TlsFault.UNTRUSTED: "the server's certificate is signed by an authority that is not trusted here (ca-file= "
    "names others), or it has expired",
    TlsFault.NO_TLS: "the server doesn't speak TLS",
    TlsFault.OTHER_NAME: "the server's certificate is for another host name",
}


class FetchFailed(Exception):
    """The document cannot be fetched; the text says why in one line."""


def make_agent(reactor: IReactorTime, url: str, authorities: bytes | None) -> IAgent:
    """Return an HTTP client for a URL with ``http:`` or ``https:``.

    :param authorities: the trusted certificate authorities, as PEM; None for the system's

    Raises ``ValueError`` with a text of one line.
    """
    trust = None if authorities is None else trust_root(authorities)

    def options(host: str) -> IOpenSSLClientConnectionCreator:
        return tls_options(host, trust)

    place = urlsplit(url)
    if place.scheme == "https":
        try:
            options(str(place.hostname))
        except ValueError:
            raise ValueError(f"{place.hostname} is not a host name: a part of it is empty or too long") from None
    agent: IAgent = Agent.usingEndpointFactory(reactor, AnyNameEndpoints(reactor, PATIENCE, options))
    return agent


async def fetch(agent: IAgent, clock: IReactorTime, url: str) -> bytes:
    """Return the document at a URL; redirects are not followed.

    Errors: :class:`FetchFailed`; ``CancelledError`` if the fetch is cancelled.
    """
    fetching = Deferred.fromCoroutine(_fetch(agent, url))
    try:
        return await fetching.addTimeout(PATIENCE, clock, _too_late)
    except TimeoutError:
        raise FetchFailed(f"the document did not arrive within {PATIENCE:.0f} s") from None
    except (ConnectError, DNSLookupError) as error:
        raise FetchFailed(f"cannot connect: {why_not_connected(error, str(urlsplit(url).hostname))}") from None
    except (ResponseFailed, RequestTransmissionFailed) as error:
        if any(reason.check(CancelledError) for reason in error.reasons):
            raise CancelledError from None
        raise FetchFailed(", ".join(dict.fromkeys(map(_cause, error.reasons)))) from None
    except ConnectionClosed:
        raise FetchFailed("the connection was lost") from None


def _cause(failure: Failure) -> str:
    match failure.value:
        case SSLError() | VerificationError() as error:
            known = _TLS_CAUSES.get(tls_fault(error))
            return f"TLS: {known or openssl_reason(error)}"
        case ConnectionClosed():
            return "the server closed the connection"
        case error:
            return f"the server's answer cannot be read as HTTP ({type(error).__name__})"


def _too_late(result: object, seconds: float) -> NoReturn:
    # Without this, a cancelled request of an Agent is reported as a lost connection.
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
    """Collects a response body of at most ``MOST_BYTES``.

    :ivar whole: fires with the body; cancelling it closes the connection
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self.abort(CancelledError()))
        self._data = bytearray()

    def connectionMade(self) -> None:
        """Close the connection if the body has been aborted (``IProtocol``)."""
        if self.whole.called:
            self.abort(FetchFailed())

    def dataReceived(self, data: bytes) -> None:
        """Collect a part of the body (``IProtocol``)."""
        self._data += data
        if len(self._data) > MOST_BYTES:
            self.abort(FetchFailed(f"it has more than {MOST_BYTES} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire ``whole``: the body has ended (``IProtocol``)."""
        if self.whole.called:
            return
        # PotentialDataLoss: the response has no length, and ends with the connection.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._data))
        else:
            self.whole.errback(FetchFailed("the connection was lost before the end of the document"))

    def abort(self, error: Exception) -> None:
        """Fail ``whole`` and close the connection."""
        if not self.whole.called:
            self.whole.errback(error)
        if self.transport is not None:
            self.transport.loseConnection()
