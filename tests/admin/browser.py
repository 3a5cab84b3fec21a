"""An admin page without a network, and its client."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from airyd.admin.login import AdminTokens
from airyd.admin.server import admin_site
from airyd.errors import Refusal
from airyd.interfaces import Readiness
from airyd.management.queries import ManagementQuery, ManagementReply, TraceLine, TraceQuery
from airyd.metrics import Metrics, make_registry
from airyd.revocation import Revocation, RevocationKind

LOCAL = IPv4Address("TCP", "127.0.0.1", 8081)
PEER = IPv4Address("TCP", "127.0.0.1", 50000)
LIMIT = 1000
LISTENERS = ("ws://127.0.0.1:8080/ws.communication",)
JSON = {"Content-Type": "application/json"}


@dataclass
class Response:
    """One answer as it was read from the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's value, or fail unless it is declared to be JSON."""
        if self.headers["content-type"] != "application/json":
            raise AssertionError(f"not JSON: {self.headers}")
        return json.loads(self.body)


class _Transport(StringTransportWithDisconnection):
    """One that may be TLS."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is slow here; twisted.web asks whatever says that it is TLS."""

    def loseConnection(self) -> None:
        """Close; like a real transport, let the protocol see that it must not read on."""
        self.disconnecting = True
        super().loseConnection()


class Connection:
    """One TCP connection to the page."""

    def __init__(self, case: AdminCase, local: IAddress) -> None:
        self.transport = _Transport(hostAddress=local, peerAddress=PEER)
        if case.by_tls:
            alsoProvides(self.transport, ISSLTransport)
        protocol = case.site.buildProtocol(PEER)
        assert protocol is not None
        self.protocol = protocol
        self.transport.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes to the page."""
        self.protocol.dataReceived(data)

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send one request; ``Host`` and ``Content-Length`` are added unless given."""
        lines = {"Host": "127.0.0.1:8081", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def read(self, head_only: bool = False) -> Response:
        """Take one whole answer from what the page has sent."""
        head, _, rest = self.transport.value().partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if head_only else int(headers.get("content-length", "0"))
        if len(rest) < length:
            raise AssertionError(f"the answer breaks off: {rest!r}")
        self.transport.clear()
        self.transport.write(rest[length:])
        version, status = status_line.split(" ")[:2]
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise AssertionError(status_line)
        return Response(int(status), headers, rest[:length])

    @property
    def silent(self) -> bool:
        """Whether the page has sent nothing (more)."""
        return not self.transport.value()


class FakeTrace:
    """A trace that sends what a test wants."""

    def __init__(self, query: TraceQuery, on_lines: Callable[[Sequence[TraceLine]], None]) -> None:
        self.query = query
        self.on_lines = on_lines
        self.ended: Deferred[str] = Deferred()
        self.stopped = 0

    def stop(self) -> None:
        """Note that."""
        self.stopped += 1


class AdminCase(SynchronousTestCase):
    """Has an admin page whose ``publish`` notes what it gets and answers with ``outcomes``, then with ``outcome``."""

    #: What the page asks for, if anything.
    token: str | None = None
    read_token: str | None = None
    #: Whether there is a demo page.
    has_demo = False
    #: Whether connections come by TLS.
    by_tls = False

    def setUp(self) -> None:
        """Make the page."""
        self.clock = Clock()
        self.metrics = Metrics()
        self.reasons: list[str] = []
        self.warnings: list[str] = []
        self.published: list[tuple[str, bytes]] = []
        self.outcome: Deferred[str] = succeed("0c1d2e3f-7-1")
        self.outcomes: list[Deferred[str]] = []
        self.revoked: list[tuple[RevocationKind, str]] = []
        self.kept: Deferred[Revocation] | None = None
        self.queries: list[ManagementQuery] = []
        self.reply: ManagementReply | Refusal | None = None
        self.traces: list[FakeTrace] = []
        self.trace_class = FakeTrace
        self.listeners: Sequence[str] = LISTENERS
        registry = make_registry(self.metrics)
        self.site = admin_site(
            reactor=self.clock,
            metrics=self.metrics,
            scrape=lambda: succeed(registry),
            ready=lambda: succeed(Readiness(self.reasons, self.warnings)),
            publish=self.publish,
            revoke=self.revoke,
            ask=self.answer,
            trace=self.begin_trace,
            body_limit=LIMIT,
            tokens=AdminTokens(self.token, self.read_token),
            listeners=lambda: self.listeners,
            has_demo=lambda: self.has_demo,
        )

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Stand in for the hub."""
        self.published.append((destination, body))
        return self.outcomes.pop(0) if self.outcomes else self.outcome

    def revoke(self, kind: RevocationKind, name: str) -> Deferred[Revocation]:
        """Stand in for what keeps revocations."""
        self.revoked.append((kind, name))
        return self.kept or succeed(Revocation(kind, name, 1.5, 2.5))

    def answer(self, query: ManagementQuery) -> Deferred[ManagementReply]:
        """Stand in for the manager."""
        self.queries.append(query)
        if isinstance(self.reply, Refusal):
            return fail(self.reply)
        assert self.reply is not None, query
        return succeed(self.reply)

    def begin_trace(self, query: TraceQuery, on_lines: Callable[[Sequence[TraceLine]], None]) -> FakeTrace:
        """Stand in for the traces."""
        if isinstance(self.reply, Refusal):
            raise self.reply
        self.traces.append(self.trace_class(query, on_lines))
        return self.traces[-1]

    def connect(self, local: IAddress = LOCAL) -> Connection:
        """Open a connection to the page's address ``local``."""
        return Connection(self, local)

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        local: IAddress = LOCAL,
    ) -> Response:
        """Ask on a new connection and return the answer."""
        connection = self.connect(local)
        connection.ask(method, target, headers, body)
        return connection.read(head_only=method == "HEAD")
