"""airyd as systemd runs it: its notifications, its watchdog, and the sockets and secrets that it is given."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.service_manager import STOP_PATIENCE, VARIABLES
from tests.integration.daemon import COMPLAINTS
from tests.integration.raw import RawClient
from tests.integration.systemd import ETC, WATCHDOG, Unit, assignments, options_of_example
from tests.patience import PATIENCE
from tests.sources.redis.server import RedisServer

LISTEN: Final = "--listen tcp:0:interface=127.0.0.1 --admin none"
SECRET: Final = "s3cret-of-a-credential"
_SERVES: Final = re.compile(r"airyd serves ws://127\.0\.0\.1:(\d+)/")
_WORKER: Final = re.compile(r"worker (\d) is process (\d+)")


@pytest.mark.integration
class UnitTestCase(SynchronousTestCase):
    """Starts units."""

    def unit(self, options: str, **others: Any) -> Unit:
        """Start a unit; its log must have no complaint."""
        unit = Unit(options, **others)
        self.addCleanup(unit.close)
        self.addCleanup(lambda: self.assertEqual([], COMPLAINTS.findall(unit.log)))
        self.addCleanup(lambda: self.assertNotIn(SECRET, unit.log + str(unit.heard)))
        unit.start()
        return unit

    def redis(self, *options: str) -> RedisServer:
        """Start a Redis."""
        server = RedisServer(*options)
        self.addCleanup(server.close)
        return server

    def connect(self, port: int) -> RawClient:
        """Open a STOMP session."""
        client = RawClient(port)
        self.addCleanup(client.abort)
        client.handshake()
        client.connect()
        return client

    def stop(self, unit: Unit) -> None:
        """Stop a unit as ``systemctl stop`` does."""
        unit.kill(unit.values["KillSignal"])
        unit.wait_for_state("STOPPING")
        self.assertEqual(0, unit.wait())


class NotifyTests(UnitTestCase):
    """Each state is reported when it begins."""

    def test_redis_away_at_boot(self) -> None:
        """The start ends although Redis is away; the status says so, and when Redis is there."""
        server = self.redis()
        server.stop()
        for path in (ETC / "systemd/airyd.service", ETC / "systemd/user/airyd.service"):
            unit = self.unit(f"{LISTEN} --source redis://127.0.0.1:{server.port}/0", path=path)
            self.assertEqual(("notify", "main"), (unit.values["Type"], unit.values["NotifyAccess"]))
            unit.wait_for_state("READY")
            found = _SERVES.search(unit.log)
            assert found is not None
            socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE).close()
            unit.wait_for_status(rf"^not ready for clients: .*redis://127\.0\.0\.1:{server.port}")
            server.start()
            unit.wait_for_status("^ready for clients$")
            server.stop()
            unit.wait_for_status("^not ready for clients: ")
            self.stop(unit)
            self.assertEqual(1, [each.get("READY") for each in unit.heard].count("1"))

    def test_reload(self) -> None:
        """A reload begins and ends, also one that is refused; the status says that."""
        path = Path(self.mktemp()).absolute()
        path.write_text("log-level = 'info'\n")
        unit = self.unit(f"{LISTEN} --config {path}")
        unit.wait_for_state("READY")
        present = "^ready for clients$"
        for text, status in (
            ("log-level = 'warn'\n", "^ready for clients$"),
            ("log-level = 'nonsense'\n", "^ready for clients; warning: the last reload failed"),
            ("log-level = 'info'\n", "^ready for clients$"),
        ):
            path.write_text(text)
            before = time.monotonic()
            self.assertRegex(unit.values["ExecReload"], r"kill -HUP \$MAINPID$")
            unit.kill("SIGHUP")
            begun = unit.wait_for_state("RELOADING")
            self.assertTrue(before <= int(begun["MONOTONIC_USEC"]) / 1e6 <= time.monotonic())
            unit.wait_for_state("READY")
            if status != present:
                unit.wait_for_status(status)
            present = status
        self.stop(unit)

    def test_drain(self) -> None:
        """A stop asks for the time that it takes, and ends in it."""
        unit = self.unit(f"{LISTEN} --drain-notice 1 --drain-seconds 250")
        unit.wait_for_state("READY")
        found = _SERVES.search(unit.log)
        assert found is not None
        client = self.connect(int(found[1]))
        unit.kill(unit.values["KillSignal"])
        stopping = unit.wait_for_state("STOPPING")
        self.assertEqual(int((251 + STOP_PATIENCE) * 1e6), int(stopping["EXTEND_TIMEOUT_USEC"]))
        self.assertEqual("stopping: closes the connections of all clients within 251 s", stopping["STATUS"])
        self.assertEqual(1012, client.close_code())
        self.assertEqual(0, unit.wait())
        self.assertTrue(unit.silence(0))
        after = unit.heard[unit.heard.index(stopping) + 1 :]
        self.assertEqual([], [each for each in after if each != {"WATCHDOG": "1"}])


class WatchdogTests(UnitTestCase):
    """The signs of life come from the reactor."""

    def test_hang(self) -> None:
        """A process that hangs sends none. SIGABRT makes it write where it hangs."""
        unit = self.unit(LISTEN)
        unit.wait_for_state("READY")
        unit.wait_for_state("WATCHDOG")
        unit.kill("SIGSTOP")
        os.waitid(os.P_PID, unit.pid, os.WSTOPPED | os.WNOWAIT)
        self.assertTrue(unit.silence(2 * WATCHDOG))
        unit.kill("SIGCONT")
        unit.wait_for_state("WATCHDOG")
        unit.kill("SIGSTOP")
        before = len(unit.log)
        unit.kill("SIGABRT")
        unit.kill("SIGCONT")
        self.assertEqual(-signal.SIGABRT, unit.wait())
        self.assertIn("twisted/internet", unit.log[before:])

    def test_worker_that_hangs(self) -> None:
        """The parent alone speaks; it goes on, and the status has the worker, which is not systemd's to end."""
        unit = self.unit(f"{LISTEN} --workers 2 --source redis://127.0.0.1:1/0")
        unit.wait_for_state("READY")
        workers = {int(number): int(pid) for number, pid in _WORKER.findall(unit.log)}
        self.assertEqual({1, 2}, workers.keys())
        for pid in workers.values():
            names = {each.partition("=")[0] for each in Path(f"/proc/{pid}/environ").read_text().split("\0")}
            self.assertEqual(set(), names & set(VARIABLES))
            self.assertIn("CREDENTIALS_DIRECTORY", names)
        os.kill(workers[1], signal.SIGSTOP)
        try:
            unit.wait_for_status("warning: worker 1 does not answer")
            for _ in range(3):
                unit.wait_for_state("WATCHDOG")
        finally:
            os.kill(workers[1], signal.SIGCONT)
        unit.wait_for(lambda each: "STATUS" in each and "does not answer" not in each["STATUS"])
        self.stop(unit)


class SocketTests(UnitTestCase):
    """etc/systemd/airyd.socket."""

    def socket(self) -> tuple[Mapping[str, socket.socket], int]:
        """Open the socket of the unit, on a free port; return it by its name, and the port."""
        values = assignments(ETC / "systemd/airyd.socket")
        host, _, _ = values["ListenStream"].rpartition(":")
        listening = socket.create_server((host, 0), backlog=int(values["Backlog"]))
        self.addCleanup(listening.close)
        return {values["FileDescriptorName"]: listening}, listening.getsockname()[1]

    def test_restart(self) -> None:
        """A client that connects before the start, or between two, waits and is served."""
        sockets, port = self.socket()
        early = RawClient(port)
        self.addCleanup(early.abort)
        unit = self.unit(f"{options_of_example('systemd:')} --admin none", sockets=sockets)
        early.handshake()
        early.connect()
        unit.wait_for_state("READY")
        self.stop(unit)
        self.assertEqual(1012, early.close_code())
        between = RawClient(port)
        self.addCleanup(between.abort)
        unit.start()
        between.handshake()
        between.connect()
        self.stop(unit)


class CredentialsTests(UnitTestCase):
    """The files of ``LoadCredential=``."""

    def test_password_of_redis(self) -> None:
        """The option of etc/airyd.env names the file that systemd makes, and workers can read it, too."""
        server = self.redis()
        client = server.connect()
        client.call("CONFIG", "SET", "requirepass", SECRET)
        client.close()
        example = options_of_example("/run/credentials/airyd.service/redis-password")
        options = example.replace("rediss://airyd@redis.example.org", f"redis://127.0.0.1:{server.port}")
        options = options.replace("tcp:8080", "tcp:0")
        self.assertNotEqual(example, options)
        for workers in ("", " --workers 2"):
            unit = self.unit(f"{options} --admin none{workers}", credentials={"redis-password": SECRET})
            unit.wait_for_status("^ready for clients$")
            self.assertNotIn(SECRET, Path(f"/proc/{unit.pid}/cmdline").read_text())
            self.stop(unit)
