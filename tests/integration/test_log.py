"""How much airyd logs: lines of the chosen level, and no more for a hundred clients than for one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import cast

from twisted.logger import ILogObserver, LogEvent, eventAsText
from zope.interface import implementer

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon, command, environment
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

CLIENTS = 40


class LogTests(DaemonTestCase):
    """Daemons with various levels."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def fuss(self, daemon: Daemon) -> None:
        """Let many clients be refused, get an ERROR, or be connected at the stop."""
        for _ in range(CLIENTS):
            client = self.connect(daemon=daemon)
            client.send("NONSENSE")
            client.error()
            self.assertEqual(daemon.post("/queue/message", b"nonsense")[0], 400)
            refused = self.open_refused(daemon)
            self.assertIn(b" 404 ", refused)
        staying = [self.connect(daemon=daemon) for _ in range(CLIENTS)]
        self.assertEqual(daemon.stop(), 0)
        for client in staying:
            self.assertEqual(client.close_code(), 1012)

    def open_refused(self, daemon: Daemon) -> bytes:
        """Request an unknown path; return the status line of the response."""
        with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as client:
            client.sendall(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return client.recv(200).partition(b"\r\n")[0]

    def test_info(self) -> None:
        """``info`` is the default; the option only replaces the tests' own level."""
        daemon = self.own_daemon("--log-level=info")
        self.fuss(daemon)
        # If a minute passes meanwhile, there is one more line.
        for line in ("gets ERROR", "opening handshake refused with 404", "refused an event"):
            self.assertIn(line, daemon.log)
            self.assertLess(daemon.log.count(line), CLIENTS / 2, line)
        for line in ("restarting", "Port", "starting on"):
            self.assertNotIn(line, daemon.log)
        self.assertIn("airyd serves ws://", daemon.log)
        self.assertIn(f"airyd closes its connections: {CLIENTS}", daemon.log)
        self.assertLess(len(daemon.log.splitlines()), CLIENTS)

    def test_debug(self) -> None:
        daemon = self.own_daemon()
        self.fuss(daemon)
        for line in ("gets ERROR unknown_command", "refused with 404", "refused an event", "gets ERROR restarting"):
            self.assertEqual(daemon.log.count(line), CLIENTS, line)
        self.assertIn("starting on", daemon.log)

    def test_workers(self) -> None:
        """Each worker applies the limit of one line a minute."""
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        daemon = self.own_daemon("--log-level=info", "--workers=2", source)
        self.fuss(daemon)
        for line in ("gets ERROR", "refused with 404"):
            self.assertRegex(daemon.log, f"worker [12]: .*{line}")
            self.assertLess(daemon.log.count(line), CLIENTS, line)
        self.assertNotIn("restarting", daemon.log)

    def test_a_logger_of_somebody_else(self) -> None:
        """twistd's ``--logger`` gets the same lines as ``--logfile`` and standard output: here warnings and above."""
        arguments = command("--listen=tcp:0:interface=127.0.0.1", "--admin=none", "--log-level=warn")
        place = arguments.index("--nodaemon")
        process = subprocess.Popen(
            [
                *arguments[:place],
                "--logger=tests.integration.test_log.printing",
                *arguments[place:],
                "--source=redis://127.0.0.1:1",
            ],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual({line[:16] for line in (first + rest).splitlines()}, {"warn: not connec"})
        self.assertEqual(process.returncode, 0)


def printing() -> ILogObserver:
    """Return a log observer that prints the level and the text of each event."""

    @implementer(ILogObserver)
    def show(event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        os.write(1, f"{event['log_level'].name}: {text}\n".encode())

    return cast(ILogObserver, show)
