"""The admin page's API on real sockets: kicks, changes of the tokens, and where the WebSocket is."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from pathlib import Path
from typing import Any, ClassVar, Final

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.patience import PATIENCE

FULL: Final = "the-full-token-of-a-test"
READ: Final = "the-read-token-of-a-test"
CHANGE: Final = {"X-Airyd-Request": "1"}


class ApiTests(DaemonTestCase):
    """One process; the queries over several have tests of their own."""

    options: ClassVar[tuple[str, ...]] = ("--auth=anonymous:send",)

    def setUp(self) -> None:
        """Start a daemon with both tokens."""
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(FULL)
        read = Path(self.mktemp()).absolute()
        read.write_text(READ)
        self.own = self.own_daemon(f"--admin-token-file={self.path}", f"--admin-read-token-file={read}")

    def ask(self, method: str, target: str, token: str = FULL, **headers: str) -> tuple[int, Any]:
        """Send a request to the API; return the status and the value of the answer."""
        given = {"Authorization": f"Bearer {token}", **CHANGE, **headers}
        status, body = self.own.request(method, f"/api/v1/{target}", None, given)
        return status, json.loads(body)

    def test_kick(self) -> None:
        """The page lists a connection, which the full token ends, and the log says so."""
        client = self.connect(daemon=self.own)
        status, page = self.ask("GET", "connections", READ)
        self.assertEqual((status, page["total"]), (200, 1))
        ident = page["connections"][0]["id"]
        self.assertEqual(self.ask("DELETE", f"connections/{ident}", READ)[0], 403)
        self.assertEqual(self.ask("GET", f"connections/{ident}", READ)[1]["connection"]["state"], "live")
        self.assertEqual(self.ask("DELETE", f"connections/{ident}?reason=bye")[1]["disconnected"], 1)
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("disconnected by operator", 1008))
        self.assertIn(b"bye", error.body)
        self.own.wait_for_log(re.compile(rf"disconnect by full token: connection {re.escape(ident)}, reason bye\n"))

    def test_reload_of_tokens(self) -> None:
        """A session ends when the tokens change."""
        self.assertEqual(self.ask("GET", "session")[1]["level"], "full")
        start = len(self.own.log)
        self.path.write_text("another-full-token-of-a-test")
        os.kill(self.own.pid, signal.SIGHUP)
        self.own.wait_for_log(re.compile("settings reloaded: new: admin token\n"), start)
        self.assertEqual(self.ask("GET", "session")[1]["level"], "none")
        self.assertEqual(self.ask("GET", "session", "another-full-token-of-a-test")[1]["level"], "full")

    def test_stop(self) -> None:
        """An open trace ends with the daemon, which does not wait for it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.own.admin_port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        target = "/api/v1/trace?destination=/queue/message&seconds=600"
        connection.request("GET", target, headers={"Authorization": f"Bearer {READ}"})
        response = connection.getresponse()
        self.assertEqual(response.headers["Content-Type"], "text/event-stream")
        self.own.terminate()
        self.assertTrue(response.read().endswith(b'event: end\ndata: {"reason": "airyd is stopping"}\n\n'))
        self.assertEqual(self.own.wait(), 0)

    def test_listeners(self) -> None:
        """The page learns where the WebSocket is."""
        found = self.ask("GET", "session")[1]
        self.assertEqual(found["listeners"], [self.own.url])
        self.assertFalse(found["demo"])


class SampleTests(DaemonTestCase):
    """With made-up events."""

    def test_demo(self) -> None:
        """The demo page is there only if everybody may see the events."""
        secret = Path(self.mktemp()).absolute()
        secret.write_text("s" * 32)
        for options, expected in (((), True), ((f"--auth=jwt:secret-file={secret}",), False)):
            daemon: Daemon = self.own_daemon("--source=sample:", *options)
            self.assertEqual(json.loads(daemon.request("GET", "/api/v1/session")[1])["demo"], expected)
