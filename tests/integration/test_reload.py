"""SIGHUP with a configuration file, in one process and with workers: what changes, and what does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

from tests.auth.case import token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.payloads import MESSAGE, body
from tests.integration.test_tokens import fresh
from tests.integration.test_workers import WorkersCase
from tests.leaks import MARK
from tests.sources.redis.server import own_prefix, shared_server

SECRET = f"a-secret-of-32-bytes-or-more-{MARK}"
PAGE = "https://chat.example.org"


class ReloadTests(WorkersCase):
    """One process, and two workers."""

    def setUp(self) -> None:
        """Write the files."""
        self.path = Path(self.mktemp()).absolute()
        self.admin = Path(self.mktemp()).absolute()
        self.admin.write_text(f"the-first-admin-token-{MARK}")
        self.write("log-level = 'debug'")

    def write(self, *lines: str) -> None:
        """Write the configuration file."""
        self.path.write_text("\n".join(["destination = ['/queue/tags']", *lines, ""]))

    def daemons(self) -> list[Daemon]:
        """Start both kinds."""
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        return [self.own_daemon(f"--config={self.path}", source, *more) for more in ((), ("--workers=2",))]

    def reload(self, daemon: Daemon) -> str:
        """Reload; return the line that says what has changed, or why nothing has."""
        start = len(daemon.log)
        os.kill(daemon.pid, signal.SIGHUP)
        return daemon.wait_for_log(re.compile(r"(?:settings|nothing was) reloaded: (.*)\n"), start)[1]

    def test_new_settings(self) -> None:
        """Connections that were open keep their limits; all processes apply the new ones to new connections."""
        for daemon in self.daemons():
            self.write("log-level = 'debug'")
            old = [self.connect(daemon=daemon) for _ in range(8)]
            self.assertEqual(self.reload(daemon), "nothing has changed")
            self.write(f"origin = ['{PAGE}']", "log-level = 'warn'", "[limits]", "subscriptions = 1")
            self.assertEqual(self.reload(daemon), "changed: --origin, --log-level, --subscriptions")
            quiet = len(daemon.log)
            for client in old:
                client.subscribe(MESSAGE, "a")
                client.subscribe("/queue/tags", "b")
            for _ in range(8):
                client = self.connect(daemon=daemon, headers={"Origin": PAGE})
                client.subscribe(MESSAGE, "a")
                client.send("SUBSCRIBE", id="b", destination="/queue/tags")
                self.assertEqual(client.error()[0].headers["message"], "too many subscriptions")
            daemon.publish(MESSAGE, body(MESSAGE, 1))
            for client in old:
                self.assertEqual(client.message("a").body, body(MESSAGE, 1))
            # At warn there is no line about the ERRORs.
            self.assertEqual(daemon.log[quiet:], "")

    def test_all_or_nothing(self) -> None:
        """What is invalid for a start is invalid for a reload, also of a worker."""
        for daemon in self.daemons():
            self.write()
            before = daemon.log.count("is process")
            self.write("origin = ['nowhere']", "log-level = 'warn'")
            said = self.reload(daemon)
            daemon.wait_for_metrics(reload_success=0)
            self.assertTrue(said.startswith(f"{self.path}: line 2: origin: 'nowhere' is not an origin"), said)
            self.write("destination = ['/queue/more']")
            self.assertIn(f"{self.path}: line 2", self.reload(daemon))
            self.path.unlink()
            self.assertIn("there is no such file", self.reload(daemon))
            self.connect(daemon=daemon).subscribe("/queue/tags", "a")
            self.assertEqual(daemon.post("/queue/more", body("/queue/more", 1))[0], 404)
            self.assertEqual(daemon.log.count("is process"), before)
            self.write("log-level = 'debug'")
            self.assertEqual(self.reload(daemon), "nothing has changed")
            daemon.wait_for_metrics(reload_success=1)


class OtherUserTests(DaemonTestCase):
    """twistd gives up root's rights (``--uid``) after the start, which could read more."""

    def setUp(self) -> None:
        """Make a folder that every user can enter, with the configuration and a secret that only the first user reads.

        Tests that do not run as root can't change the user, so the file gets the rights of nobody after the start.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.path, self.secret = self.folder / "airyd.toml", self.folder / "secret"
        self.secret.write_text(SECRET)
        self.secret.chmod(0o600)

    def test_files_that_can_not_be_read_any_more(self) -> None:
        """Nothing changes, and one line says which file and which user; what can be read again is applied."""
        auth = f"auth = 'jwt:secret-file={self.secret}'\n"
        self.path.write_text(auth)
        switch = "import sys; sys.argv[1:1] = ['--uid=65534', '--gid=65534']; " if os.geteuid() == 0 else ""
        daemon = self.own_daemon(f"--config={self.path}", program=switch + TWISTD)
        self.secret.chmod(0o600 if switch else 0)
        self.path.write_text(f"destination = ['/queue/tags']\n{auth}")
        user = 65534 if switch else os.geteuid()
        self.assertEqual(
            self.reload(daemon),
            f"nothing was reloaded: {self.path}: line 2: auth jwt: secret-file {self.secret}: the user that airyd runs "
            f"as (number {user}) may not read it",
        )
        self.assertEqual(daemon.post("/queue/tags", body("/queue/tags", 1))[0], 404)
        shown = token(fresh(), SECRET.encode())
        client = self.open(daemon)
        client.connect(Authorization=f"Bearer {shown}")
        client.subscribe(MESSAGE, "a")
        self.secret.chmod(0o644)
        self.assertEqual(self.reload(daemon), "settings reloaded: destinations added: /queue/tags")
        self.assertEqual(daemon.post("/queue/tags", body("/queue/tags", 1))[0], 200)

    def reload(self, daemon: Daemon) -> str:
        """Reload; return the line about it."""
        start = len(daemon.log)
        os.kill(daemon.pid, signal.SIGHUP)
        return daemon.wait_for_log(re.compile(r"((?:settings|nothing was) reloaded: .*)\n"), start)[1]
