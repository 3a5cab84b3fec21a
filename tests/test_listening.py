"""Where airyd listens, and what connections have from there."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor, tcp
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from airyd.listening import Place
from airyd.workers.sockets import Sockets
from tests.redis.certificates import Certificates


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
    """TCP keep-alive, on sockets of the loopback interface."""

    def listen(self, description: str) -> tcp.Port:
        """Listen on an endpoint, and accept nothing by the reactor."""
        port = cast(tcp.Port, Place.read("--listen", description, reactor).listen(Factory()))
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

    def test_workers(self) -> None:
        sockets = Sockets(2)
        port = cast(Any, Place.read("--listen", "tcp:0:interface=127.0.0.1", sockets).listen(Factory()))
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
