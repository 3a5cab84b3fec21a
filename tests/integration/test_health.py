"""``airyd health`` as a process, with the real daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from tempfile import mkdtemp

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import read_until, start_twistd
from tests.integration.test_cli import run


class HealthTests(DaemonTestCase):
    """A node that is ready, drains, hangs, and one with a unix socket."""

    def test_ready_then_draining(self) -> None:
        """A node that drains is not ready, but alive; no token is needed to ask."""
        token = Path(self.mktemp())
        token.write_text("a-token-of-the-test\n")
        daemon = self.own_daemon(f"--admin-token-file={token.absolute()}")
        url = f"http://127.0.0.1:{daemon.admin_port}"
        self.assertEqual(run("health", url), (0, f"{url} is ready\n", ""))
        self.assertEqual(run("drain", "--token-file", str(token), "--admin", url, "on")[0], 0)
        self.assertEqual(run("health", url), (1, "", f"airyd health: {url}: not ready: draining\n"))
        self.assertEqual(run("health", "--live", url), (0, f"{url} is alive\n", ""))

    def test_hangs(self) -> None:
        """A process that is stopped is not alive, and the command says so in time."""
        daemon = self.own_daemon()
        url = f"http://127.0.0.1:{daemon.admin_port}"
        os.kill(daemon.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, daemon.pid, signal.SIGCONT)
        self.assertEqual(run("health", "--live", url), (1, "", f"airyd health: {url}: no answer within 4 s\n"))

    def test_unix_socket(self) -> None:
        folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        url = f"unix:{folder / 'admin.sock'}"
        daemon = start_twistd("--source=memory:", "--listen=tcp:0:interface=127.0.0.1", f"--admin={url}")
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.terminate)
        read_until(daemon, re.compile("airyd serves"))
        self.assertEqual(run("health", url), (0, f"{url} is ready\n", ""))
