"""The user at the other end of a local connection."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.doctor import port_owner
from airyd.doctor.port_owner import owner_of_peer


class PortOwnerTests(SynchronousTestCase):
    """Both ends are of this process."""

    def owner(self, listener: socket.socket, host: str | None = None) -> int | None:
        """Return the owner of a listening socket's end of a connection to it."""
        self.addCleanup(listener.close)
        with socket.socket(socket.AF_INET if host is not None else listener.family) as client:
            address = listener.getsockname()
            client.connect((host, address[1]) if host is not None else address)
            accepted, _ = listener.accept()
            with accepted:
                return owner_of_peer(client)

    def test_ipv4(self) -> None:
        self.assertEqual(self.owner(socket.create_server(("127.0.0.1", 0))), os.geteuid())

    def test_ipv6(self) -> None:
        self.assertEqual(self.owner(socket.create_server(("::1", 0), family=socket.AF_INET6)), os.geteuid())

    def test_both(self) -> None:
        """A socket of IPv6 that also takes IPv4, as airyd's on ``::`` does."""
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.assertEqual(self.owner(listener, "127.0.0.1"), os.geteuid())

    def test_unix(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(folder.name) / "socket"))
        listener.listen()
        self.assertEqual(self.owner(listener), os.geteuid())

    def test_unknown(self) -> None:
        """Without the kernel's tables nobody is taken for the owner."""
        self.patch(port_owner, "_TABLES", ("/proc/net/none",))
        self.assertIsNone(self.owner(socket.create_server(("127.0.0.1", 0))))
