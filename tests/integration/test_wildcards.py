"""SUBSCRIBE with a pattern, and a catalogue that grows on SIGHUP."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path
from typing import Final

from airyd.events import AIRY_DESTINATIONS
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import RawClient
from tests.sources.redis.server import own_prefix, shared_server

_ADDED: Final = re.compile(r"reloaded: destinations added: /queue/more\n")
_REFUSED: Final = re.compile(r"nothing was reloaded: .*line 3: 'nonsense'")
_NOT_REMOVED: Final = re.compile(r"reloaded: only a restart can remove /queue/tags\n")


class WildcardCase(DaemonTestCase):
    """Starts daemons with a file of destinations."""

    def setUp(self) -> None:
        """Write the file; start no shared daemon."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "destinations"
        self.file.write_text("/queue/tags\n")

    def redis(self, mode: str = "") -> str:
        """Return the option for streams, or channels, with their own prefix."""
        return f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}{mode}"

    def started(self, *options: str) -> Daemon:
        """Start a daemon with the file."""
        return self.own_daemon(f"--destinations-file={self.file}", *options)

    def everything(self, daemon: Daemon) -> RawClient:
        """Return a client that is subscribed to all destinations by one SUBSCRIBE."""
        client = self.connect(daemon=daemon)
        receipt = client.subscribe("/queue/**", "all")
        self.assertNotIn("last-message-id", receipt.headers)
        return client

    def assert_comes(self, daemon: Daemon, destination: str, number: int, *clients: RawClient) -> None:
        """Publish, and check that each client gets the event with its real destination."""
        published = daemon.publish(destination, body(destination, number))
        for client in clients:
            message = client.message()
            told = (message.headers["subscription"], message.headers["destination"], message.headers["message-id"])
            self.assertEqual(told, ("all", destination, published))
            self.assertEqual(number_of(message.body), number)

    def assert_grows(self, daemon: Daemon, *clients: RawClient) -> None:
        """Check that a wildcard gets all destinations, and a new one after SIGHUP; a wrong file changes nothing."""
        for number, destination in enumerate([*AIRY_DESTINATIONS, "/queue/tags"]):
            self.assert_comes(daemon, destination, number, *clients)
        self.assertEqual(daemon.post("/queue/more", body("/queue/more", 1))[0], 404)

        self.file.write_text("/queue/more\n/queue/tags\n")
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(_ADDED)
        self.assertIn('airyd_events_received_total{destination="/queue/more"', daemon.metrics())  # all workers have it
        for client in clients:  # its RECEIPT shows that the wildcard has the part, too
            client.subscribe("/queue/more", "more")
        published = daemon.publish("/queue/more", body("/queue/more", 7))
        for client in clients:
            messages = [client.message() for _ in range(2)]
            self.assertEqual({each.headers["subscription"] for each in messages}, {"all", "more"})
            self.assertEqual({each.headers["message-id"] for each in messages}, {published})

        self.file.write_text("/queue/more\n/queue/even-more\nnonsense\n")
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(_REFUSED)
        self.assertEqual(daemon.post("/queue/even-more", body("/queue/even-more", 1))[0], 404)
        self.file.write_text("/queue/more\n")
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(_NOT_REMOVED)
        for client in clients:
            client.send("UNSUBSCRIBE", id="more", receipt="gone")
            client.receipt("gone")
        self.assert_comes(daemon, "/queue/tags", 8, *clients)
        self.assert_comes(daemon, MESSAGE, 9, *clients)


class WildcardTests(WildcardCase):
    """Wildcards with each kind of source."""

    def test_memory(self) -> None:
        daemon = self.started()
        self.assert_grows(daemon, self.everything(daemon), self.everything(daemon))

    def test_pubsub(self) -> None:
        daemon = self.started(self.redis("&mode=pubsub"))
        self.assert_grows(daemon, self.everything(daemon))

    def test_workers(self) -> None:
        """The parent tells its workers of new destinations, also a worker that starts later."""
        daemon = self.started("--workers=2", self.redis())
        self.assert_grows(daemon, *(self.everything(daemon) for _ in range(8)))
        pid = int(re.findall(r"worker 1 is process (\d+)", daemon.log)[-1])
        start = len(daemon.log)
        os.kill(pid, signal.SIGKILL)
        daemon.wait_for_log(re.compile(r"worker 1 is process \d+"), start)
        daemon.wait_for_metrics(workers=2)
        late = [self.everything(daemon) for _ in range(8)]
        self.assert_comes(daemon, "/queue/more", 10, *late)

    def test_sighup_without_a_file(self) -> None:
        """SIGHUP without any file changes nothing: ``systemctl reload`` is always safe."""
        daemon = self.own_daemon()
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for_log(re.compile("reloaded: nothing has changed"))
        self.assertEqual(daemon.request("GET", "/healthz")[0], 200)
