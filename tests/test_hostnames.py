"""Host names: airyd connects to every name that the resolver knows, and an unknown one is an error."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, cast

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet import reactor as installed
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from airyd.hostnames import AnyNameEndpoint, AnyNameEndpoints, tls_options
from tests.sources.redis.certificates import Certificates


@implementer(IHostnameResolver)
class _Resolver:
    """A resolver that knows some names.

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
    """Connections to a loopback port by the names that a resolver knows."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = cast(Any, installed)
        self.resolver = _Resolver()
        before = self.reactor.installNameResolver(self.resolver)
        self.addCleanup(self.reactor.installNameResolver, before)

    async def connect(self, host: str, port: int | None = None) -> None:
        """Connect by this name to a listening port, and disconnect."""
        listening = self.reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        endpoint = AnyNameEndpoint(self.reactor, host, port or listening.getHost().port, 5)
        protocol = await endpoint.connect(Factory.forProtocol(Protocol))
        cast(Any, protocol).transport.abortConnection()

    async def test_names_that_dns_forbids(self) -> None:
        for name in ("my_redis", "-odd-"):
            await self.connect(name)
        self.assertEqual(self.resolver.asked, ["my_redis", "-odd-"])

    async def test_the_second_address(self) -> None:
        """All addresses of a name are tried."""
        await self.connect("two_hosts")

    async def test_addresses(self) -> None:
        await self.connect("127.0.0.1")

    async def test_unknown_names(self) -> None:
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


class Page(Resource):
    """The page of the servers."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """See ``Resource``."""
        return b"here"


class TlsTests(TestCase):
    """TLS servers with certificates of the tests, under names that Twisted's TLS refuses."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = cast(Any, installed)
        before = self.reactor.installNameResolver(_Resolver())
        self.addCleanup(self.reactor.installNameResolver, before)
        folder = Path(self.mktemp())
        folder.mkdir()
        self.files = Certificates(folder)

    async def fetch(self, host: str, *names: str, ca: str | None = None) -> int:
        """Request a page from a server whose certificate has these names; return the status."""
        certificate, key = self.files.issue("server", *names)
        context = ssl.DefaultOpenSSLContextFactory(key, certificate)
        site = Site(Page())
        listening = self.reactor.listenSSL(0, site, context, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(Path(ca or self.files.ca).read_bytes())])
        endpoints = AnyNameEndpoints(self.reactor, 5, lambda name: tls_options(name, trust))
        agent = Agent.usingEndpointFactory(self.reactor, endpoints)
        url = f"https://{host}:{listening.getHost().port}/".encode()
        response = await agent.request(b"GET", url)
        return cast(int, response.code)

    async def test_certificate_for_the_name(self) -> None:
        self.assertEqual(await self.fetch("my_redis", "my_redis"), 200)
        self.assertEqual(await self.fetch("-odd-", "-odd-"), 200)

    async def test_certificate_for_another_name(self) -> None:
        for name in ("another_redis", "host.invalid", "localhost"):
            fetching = Deferred.fromCoroutine(self.fetch("my_redis", name))
            failed: Any = await self.assertFailure(fetching, ResponseNeverReceived)
            self.assertTrue(failed.reasons[0].check(VerificationError), failed.reasons)

    async def test_unknown_authority(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        fetching = Deferred.fromCoroutine(self.fetch("my_redis", "my_redis", ca=Certificates(folder).ca))
        failed: Any = await self.assertFailure(fetching, ResponseNeverReceived)
        self.assertTrue(failed.reasons[0].check(SSLError), failed.reasons)

    def test_no_name(self) -> None:
        for name in ("a..b", "a" * 64):
            self.assertRaises(ValueError, tls_options, name)
