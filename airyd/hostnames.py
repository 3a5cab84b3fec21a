"""Connecting to a host by any name that the resolver takes."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class AnyNameEndpoint:
    """Twisted's ``HostnameEndpoint``, and what it refuses: names such as ``my_redis``, which Docker Compose gives.

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
        except ValueError:  # it is no internet name (RFC 5890), which HostnameEndpoint asks for
            addresses = await self._look_up()
        trouble: ConnectError | DNSLookupError = DNSLookupError()
        for address in addresses:
            try:
                return await self._attempt(address, factory)
            except ConnectError as error:
                trouble = error
        raise trouble

    def _attempt(self, host: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return HostnameEndpoint(self._reactor, host, self._port, self._timeout).connect(factory)

    def _look_up(self) -> Deferred[list[str]]:
        """Fires with the addresses of the name, in the resolver's order."""
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
            self._host.encode("idna")  # as the resolver does, in a thread that would never tell of this
        except UnicodeError:
            raise DNSLookupError from None
        resolver = cast(IReactorPluggableNameResolver, self._reactor).nameResolver
        resolver.resolveHostName(Receiver(), self._host, self._port)
        return found
