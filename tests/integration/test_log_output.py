"""The output of the log: pipes that nobody reads, and closed descriptors."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import COMPLAINTS, TWISTD, command, environment
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import RawClient
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

_SERVES: Final = re.compile(rb"airyd serves ws://127\.0\.0\.1:(\d+)/")
_ADMIN: Final = re.compile(rb"airyd admin at http://127\.0\.0\.1:(\d+)/")
_DROPPED: Final = re.compile(rb"(\d+) log lines were dropped")
#: The code of a twistd whose log queue is short.
SHORT: Final = f"import airyd.runtime.log_writer as w; w.MOST_WAITING = 4096; {TWISTD}"


class UnreadLogCase(SynchronousTestCase):
    """Standard output is a pipe of one page, which the test reads or doesn't."""

    def start(self, *options: str) -> None:
        """Start a daemon, and read its log until it serves."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.reader, pipe = os.pipe()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            command(
                "--listen=tcp:0:interface=127.0.0.1",
                "--admin=tcp:0:interface=127.0.0.1",
                "--log-level=debug",
                *options,
                program=SHORT,
            ),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            cwd=directory.name,
            env=environment(),
        )
        self.addCleanup(os.close, self.reader)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        os.close(pipe)
        self.log = b""
        self.admin_port = int(self.wait_for_log(_ADMIN)[1])
        self.port = 0
        if "--workers=2" not in options:
            self.port = int(self.wait_for_log(_SERVES)[1])
        else:
            self.port = int(self.wait_for_log(re.compile(_SERVES.pattern + rb".*airyd runs with 2", re.DOTALL))[1])

    def wait_for_log(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Continue to read until the log has the pattern."""
        while (match := pattern.search(self.log)) is None:
            data = os.read(self.reader, 4096)
            self.assertTrue(data, self.log.decode())
            self.log += data
        return match

    def page(self) -> str:
        """Return the page of metrics."""
        admin = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        self.addCleanup(admin.close)
        admin.request("GET", "/metrics")
        return admin.getresponse().read().decode()

    def dropped(self) -> int:
        """Return the metric of dropped lines."""
        text = self.page()
        found = re.search(r"^airyd_log_lines_dropped_total (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return int(float(found[1]))

    def make_noise(self) -> None:
        """Cause log lines until more of them are dropped."""
        before = self.dropped()
        while self.dropped() == before:
            for _ in range(50):
                client = RawClient(self.port, path="/nothing")
                client.ask()
                client.abort()


class UnreadLogTests(UnreadLogCase):
    """Clients notice nothing, and the log says later what is missing."""

    def check(self, *options: str) -> None:
        """Check that clients notice nothing of a reader that hangs, and that the log later counts the dropped lines."""
        self.start("--auth=anonymous:send", *options)
        client = RawClient(self.port)
        self.addCleanup(client.abort)
        client.handshake()
        client.connect()
        client.subscribe(MESSAGE, "0")
        self.make_noise()
        client.send("SEND", destination=MESSAGE, body=body(MESSAGE, 1))
        self.assertEqual(number_of(client.message().body), 1)
        self.assertGreaterEqual(int(self.wait_for_log(_DROPPED)[1]), 1)
        self.make_noise()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.close_code(), 1012)
        self.assertEqual(self.process.wait(PATIENCE), 0)

    def test_one_process(self) -> None:
        self.check()

    def test_workers(self) -> None:
        """The workers' lines go through the parent."""
        self.check("--workers=2", f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}")

    def test_last_lines(self) -> None:
        """A reader gets all lines up to the last one, whichever signal ends the process."""
        for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)):
            self.start()
            self.process.send_signal(number)
            while data := os.read(self.reader, 4096):
                self.log += data
            self.assertEqual(self.process.wait(PATIENCE), status)
            self.assertIn(b"airyd has stopped", self.log)
            self.assertIn(b"Server Shut Down", self.log)


class ClosedTests(DaemonTestCase):
    """Some supervisors start airyd with closed descriptors 0 to 2."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_closed(self) -> None:
        """Files that get these descriptors stay intact; the log goes nowhere, or to its file."""
        with tempfile.TemporaryDirectory() as directory:
            admin = Path(directory) / "admin"
            redis = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
            for options, logfile in (((), False), ((), True), (("--workers=2", redis), False)):
                log = Path(directory) / "log"
                listen = ["--listen=tcp:0:interface=127.0.0.1", f"--admin=unix:{admin}", *options]
                *start, _, _, name = command()
                words = [*start, "--nodaemon", "--pidfile=", *([f"--logfile={log}"] if logfile else []), name, *listen]
                process = subprocess.Popen(
                    ["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *words], cwd=directory, env=environment()
                )
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
                self.assertEqual(self.wait_until_ready(admin, process), 200)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(PATIENCE), 0)
                if logfile:
                    self.assertIn("airyd has stopped", log.read_text())
                    self.assertIsNone(COMPLAINTS.search(log.read_text()))

    def wait_until_ready(self, admin: Path, process: subprocess.Popen[bytes]) -> int:
        """Request ``/readyz`` until it returns 200 or time is up; return the last status."""
        deadline = time.monotonic() + PATIENCE
        status = 0
        while status != 200 and time.monotonic() < deadline and process.poll() is None:
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.connect(str(admin))
                client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                status = int(client.recv(1000).split()[1])
        return status
