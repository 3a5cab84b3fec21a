"""Clients without heart-beats: TCP keep-alive, pings, and the close of clients that don't answer."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import MESSAGE
from tests.integration.raw import RawClient
from tests.integration.wire import PING, PONG, decode
from tests.patience import PATIENCE

#: The number of the timer that TCP keep-alive has in /proc/net/tcp (``tcp_states`` of the kernel's documentation).
KEEP_ALIVE = "02"


def timers(port: int) -> set[str]:
    """Return the kernel's timers of the server's sockets that are connected to a port of 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = f"0100007F:{port:04X}"
    return {row[5].partition(":")[0] for row in rows if row[1] == here and row[3] == "01"}


class PingTests(DaemonTestCase):
    """The interval is a second. The grace is longer, since this process may wait for a busy machine."""

    options = ("--ping-interval=1", "--heart-beat-grace=5")

    def test_keep_alive(self) -> None:
        """Each connection has TCP keep-alive, also those of the admin page."""
        for port in (self.daemon.port, self.daemon.admin_port):
            client = RawClient(port)
            self.addCleanup(client.abort)
            deadline = time.monotonic() + PATIENCE
            while timers(port) != {KEEP_ALIVE}:  # another timer may run for a moment
                self.assertLess(time.monotonic(), deadline, timers(port))

    def test_a_client_that_answers(self) -> None:
        """A client that answers pings stays connected; one that doesn't is closed."""
        for version, heart_beat in (("1.0", "1000,1000"), ("1.2", "0,0")):
            silent, answering = self.open(), self.open()
            silent.connect(version, heart_beat=heart_beat)
            answering.connect(version, heart_beat=heart_beat)
            answering.subscribe(MESSAGE, "0")
            pings = 0
            while (told := silent.frame()).opcode == PING:
                pings += 1
                frame = answering.frame()
                self.assertEqual((frame.opcode, frame.payload), (PING, b""))
                answering.send_frame(PONG)
            self.assertGreaterEqual(pings, 2)
            error = decode(told.payload, told.opcode, version)
            self.assertEqual((error.command, error.headers["message"]), ("ERROR", "no heart-beat in time"))
            self.assertEqual(silent.close_code(), 1008)
            answering.disconnect()
