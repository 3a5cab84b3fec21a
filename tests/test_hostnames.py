"""Names of hosts: every one that the resolver takes leads somewhere, and what it can't look up is an error."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, cast

from twisted.internet import reactor as installed
from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from airyd.hostnames import AnyNameEndpoint


@implementer(IHostnameResolver)
class _Resolver:
    """Knows some names.

    :ivar asked: the names that it was asked for
    """

    KNOWN: Final = {"my_redis": ["127.0.0.1"], "two_hosts": ["127.0.0.2", "127.0.0.1"], "-odd-": ["127.0.0.1"]}

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See ``IHostnameResolver``."""
        resolution = cast(IHostResolution, self)
        resolutionReceiver.resolutionBegan(resolution)
        if not isIPAddress(hostName):
            self.asked.append(hostName)
        for each in [hostName] if isIPAddress(hostName) else self.KNOWN.get(hostName, []):
            resolutionReceiver.addressResolved(IPv4Address("TCP", each, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


class NamesTests(TestCase):
    """Against a port of the loopback interface, with a resolver that knows some names."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = cast(Any, installed)
        self.resolver = _Resolver()
        before = self.reactor.installNameResolver(self.resolver)
        self.addCleanup(self.reactor.installNameResolver, before)

    async def connect(self, host: str, port: int | None = None) -> None:
        """Connect to a port that listens, by this name, and leave again."""
        listening = self.reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        endpoint = AnyNameEndpoint(self.reactor, host, port or listening.getHost().port, 5)
        protocol = await endpoint.connect(Factory.forProtocol(Protocol))
        cast(Any, protocol).transport.abortConnection()

    async def test_names_that_are_no_internet_names(self) -> None:
        for name in ("my_redis", "-odd-"):
            await self.connect(name)
        self.assertEqual(self.resolver.asked, ["my_redis", "-odd-"])

    async def test_the_second_address(self) -> None:
        """As many as there are, are tried."""
        await self.connect("two_hosts")

    async def test_addresses(self) -> None:
        await self.connect("127.0.0.1")

    async def test_what_can_not_be_looked_up(self) -> None:
        for name in ("no_such", "nosuch", "h..x", "x" * 64, "a b"):
            await self.assertFailure(self.ensure(self.connect(name)), DNSLookupError)

    async def test_nobody_listens(self) -> None:
        free = self.reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        port = free.getHost().port
        await free.stopListening()
        await self.assertFailure(self.ensure(self.connect("my_redis", port)), ConnectionRefusedError)

    def ensure(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Return the Deferred of a coroutine."""
        return Deferred.fromCoroutine(coroutine)
