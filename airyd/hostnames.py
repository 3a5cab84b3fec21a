"""Client endpoints that connect to any host name the resolver accepts, such as ``my_redis``, with and without TLS."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, cast

from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

#: Stands in for a name that Twisted's TLS refuses; no certificate has it (RFC 6761, section 6.4).
_NO_NAME: Final = "host.invalid"


@implementer(IStreamClientEndpoint)
class AnyNameEndpoint:
    """Connects like ``HostnameEndpoint``, and also to names that this refuses, such as Docker Compose's ``my_redis``.

    :param timeout: seconds that an attempt to connect may take
    """

    def __init__(self, reactor: IReactorCore, host: str, port: int, timeout: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``.

        Errors: ``ConnectError``; ``DNSLookupError`` if the name can't be looked up.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        try:
            return await self._attempt(self._host, factory)
        except ValueError:  # HostnameEndpoint accepts internet names only (RFC 5890)
            addresses = await look_up(self._reactor, self._host, self._port)
        trouble: ConnectError | DNSLookupError = DNSLookupError()
        for address in addresses:
            try:
                return await self._attempt(address, factory)
            except ConnectError as error:
                trouble = error
        raise trouble

    def _attempt(self, host: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return HostnameEndpoint(self._reactor, host, self._port, self._timeout).connect(factory)


def look_up(reactor: IReactorCore, host: str, port: int = 0) -> Deferred[list[str]]:
    """Return a Deferred of a name's addresses, in the resolver's order; empty if the name can't be looked up.

    Errors: ``DNSLookupError`` for a name that no host can have.
    """
    found: Deferred[list[str]] = Deferred()
    addresses: list[str] = []

    @implementer(IResolutionReceiver)
    class Receiver:
        def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
            """See ``IResolutionReceiver``."""

        def addressResolved(self, address: IAddress) -> None:
            if isinstance(address, IPv4Address | IPv6Address):
                addresses.append(address.host)

        def resolutionComplete(self) -> None:
            found.callback(addresses)

    try:
        host.encode("idna")  # the resolver does it in a thread and would never report an error
    except UnicodeError:
        raise DNSLookupError from None
    resolver = cast(IReactorPluggableNameResolver, reactor).nameResolver
    resolver.resolveHostName(Receiver(), host, port)
    return found


@implementer(IAgentEndpointFactory)
class AnyNameEndpoints:
    """Connects Twisted's ``Agent`` to the server of a URL, without log lines for each connection.

    :param timeout: seconds that an attempt to connect may take
    :param tls: returns the TLS connection creator for a host, for ``https:``
    """

    def __init__(
        self,
        reactor: IReactorTime,
        timeout: float,
        tls: Callable[[str], IOpenSSLClientConnectionCreator] | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._tls = tls or tls_options

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See ``IAgentEndpointFactory``."""
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint = AnyNameEndpoint(IReactorCore(self._reactor), host, uri.port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls(host), endpoint)
        return _QuietEndpoint(endpoint)


@implementer(IStreamClientEndpoint)
class _QuietEndpoint:
    """An endpoint that logs nothing; Twisted logs two lines for each connection."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        if isinstance(factory, Factory):
            factory.noisy = False
        return self._endpoint.connect(factory)


def why_not_connected(error: BaseException, host: str) -> str:
    """Return one line that says why the connection to a host failed."""
    match error:
        case DNSLookupError():
            return f"the name {host} cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectTimeout():
            return "no answer to the attempt to connect"
        case ConnectError(osError=int(number)):
            return os.strerror(number)
        case ConnectError(osError=OSError(strerror=str(text))):
            return text
    return one_line(error)


def one_line(error: BaseException | None) -> str:
    """Return the text of an error on one line, or the name of its type if it has no text."""
    return " ".join((str(error) or type(error).__name__).split())


def tls_options(host: str, trust: Any = None, own: Any = None) -> IOpenSSLClientConnectionCreator:
    """Return a creator of TLS connections to a host that checks that the server's certificate is for this host.

    :param trust: Twisted's trust root; None for the system's authorities
    :param own: arguments of Twisted's ``CertificateOptions``, such as a client's certificate

    Raises ``ValueError`` if no certificate can have such a name.
    """
    try:
        return optionsForClientTLS(host, trustRoot=trust, extraCertificateOptions=own)
    except UnicodeError:
        pass  # Twisted accepts internet names only
    host.encode("idna")  # ValueError: a part of it is empty or too long
    return _AnyNameTLS(host, optionsForClientTLS(_NO_NAME, trustRoot=trust, extraCertificateOptions=own))


@implementer(IOpenSSLClientConnectionCreator)
class _AnyNameTLS:
    """Checks certificates as Twisted does, but for a name such as ``my_redis``.

    :param creator: creates connections that check certificates for another name
    """

    def __init__(self, host: str, creator: IOpenSSLClientConnectionCreator) -> None:
        self._id = DNS_ID(host)
        self._creator = creator

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        connection: Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        connection.set_tlsext_host_name(self._id.hostname)

        def verify(_: Connection, certificate: X509, error: int, depth: int, is_trusted: int) -> bool:
            if depth == 0:
                try:
                    verify_service_identity(extract_patterns(certificate), [self._id], [])
                except VerificationError:
                    tlsProtocol.failVerification(Failure())
                    return False
            return bool(is_trusted)

        connection.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection
