"""TCP keep-alive: connections inherit it from the listening socket of every kind of endpoint."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor, tcp
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from airyd.listening.endpoint_strings import read_endpoint
from airyd.listening.endpoints import ListeningEndpoint
from airyd.trusted_proxies import TrustedProxies
from airyd.workers.sockets import ListeningSockets
from tests.sources.redis.certificates import Certificates


def keeps_alive(listening: socket.socket) -> bool:
    """Say whether a connection that is accepted there is probed by the kernel, within the hour that is its default."""
    client = socket.create_connection(listening.getsockname()[:2])
    listening.setblocking(True)
    accepted, _ = listening.accept()
    with client, accepted:
        idle = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        every = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        probes = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        return bool(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) and idle + every * probes <= 120


class KeepAliveTests(TestCase):
    """On sockets of the loopback interface."""

    def listen(self, description: str) -> tcp.Port:
        """Listen on an endpoint, and accept nothing by the reactor."""
        return self.listen_at(ListeningEndpoint.read("--listen", description, reactor, TrustedProxies(["127.0.0.1"])))

    def listen_at(self, place: ListeningEndpoint) -> tcp.Port:
        """Listen there, and accept nothing by the reactor."""
        port = cast(tcp.Port, place.listen(Factory()))
        self.addCleanup(port.stopListening)
        port.stopReading()
        return port

    def test_tcp(self) -> None:
        for description in ("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1"):
            self.assertTrue(keeps_alive(cast(Any, self.listen(description)).socket), description)

    def test_tls(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        files = Certificates(Path(directory.name))
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}"
        self.assertTrue(keeps_alive(cast(Any, self.listen(endpoint)).socket))

    def test_folder_of_certificates(self) -> None:
        """A plugin's endpoint listens on TCP, too."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        files = Certificates(Path(directory.name))
        folder = Path(directory.name) / "all"
        folder.mkdir()
        both = Path(files.server).read_text() + Path(files.server_key).read_text()
        (folder / "localhost.pem").write_text(both)
        port = self.listen(f"tls:{folder}:0:interface=127.0.0.1")
        self.flushWarnings()  # Twisted's own
        self.assertTrue(keeps_alive(cast(Any, port).socket))

    def test_behind_haproxy(self) -> None:
        self.assertTrue(keeps_alive(cast(Any, self.listen("haproxy:tcp:0:interface=127.0.0.1")).socket))

    def test_handed_over_by_systemd(self) -> None:
        description = "systemd:domain=INET:index=0"
        handed_over = socket.create_server(("127.0.0.1", 0)).detach()  # the endpoint closes it
        endpoint = AdoptedStreamServerEndpoint(reactor, handed_over, socket.AF_INET)
        port = self.listen_at(ListeningEndpoint("--listen", description, read_endpoint(description), endpoint))
        self.assertTrue(keeps_alive(cast(Any, port).socket))

    def test_workers(self) -> None:
        sockets = ListeningSockets(2)
        port = cast(Any, ListeningEndpoint.read("--listen", "tcp:0:interface=127.0.0.1", sockets).listen(Factory()))
        self.addCleanup(port.stopListening)
        first, second = port.sockets
        second.close()  # all clients come to the first
        self.assertTrue(keeps_alive(first))

    def test_unix(self) -> None:
        """They have none, and need none."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "socket"
        self.listen(f"unix:{path}:lockfile=0")
        self.assertTrue(path.exists())
