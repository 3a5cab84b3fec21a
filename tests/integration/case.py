"""The base of the integration tests: a daemon, clients, and the check that the daemon logged no complaint."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import TWISTD, Daemon
from tests.integration.raw import RawClient
from tests.integration.wire import VERSIONS

_shared: dict[tuple[str, ...], Daemon] = {}


def _shared_daemon(options: tuple[str, ...]) -> Daemon:
    """Return the shared daemon with these options; a start takes about a second, so classes share it.

    It is stopped when the test process ends (``atexit``).
    """
    daemon = _shared.get(options)
    if daemon is None or not daemon.running:
        daemon = _shared[options] = Daemon(*options)
    return daemon


@pytest.mark.integration
class DaemonTestCase(SynchronousTestCase):
    """A test with a daemon that has :attr:`options`; tests that stop their daemon use :meth:`own_daemon`.

    A test fails if a daemon that it used died or logged a complaint.
    """

    options: ClassVar[tuple[str, ...]] = ("--auth=anonymous:send",)
    daemon: Daemon

    def setUp(self) -> None:
        self.daemon = _shared_daemon(self.options)
        self._watch(self.daemon)

    def _watch(self, daemon: Daemon) -> None:
        start = len(daemon.log)

        def check() -> None:
            self.assertEqual(daemon.complaints(start), [], daemon.log[start:][-6000:])
            self.assertTrue(daemon.running, daemon.log[-6000:])

        self.addCleanup(check)

    def own_daemon(self, *options: str, port: int = 0, admin_port: int = 0, program: str = TWISTD) -> Daemon:
        """Start a daemon for this test alone; it may end, but must not log a complaint."""
        daemon = Daemon(*options, port=port, admin_port=admin_port, program=program)
        self.addCleanup(daemon.kill)
        self.addCleanup(lambda: self.assertEqual(daemon.complaints(), [], daemon.log[-6000:]))
        return daemon

    def open(self, daemon: Daemon | None = None, **options: Any) -> RawClient:
        """Open a WebSocket to the daemon, and send nothing on it."""
        client = RawClient((daemon or self.daemon).port, **options)
        self.addCleanup(client.abort)
        client.handshake()
        return client

    def connect(self, version: str = "1.2", daemon: Daemon | None = None, **options: Any) -> RawClient:
        """Open a WebSocket with a STOMP session of this version."""
        self.assertIn(version, VERSIONS)
        client = self.open(daemon, **options)
        client.connect(version)
        return client
