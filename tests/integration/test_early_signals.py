"""SIGHUP and SIGTERM while airyd starts, after twistd has begun to load the plugin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, command, environment
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

#: The moments: the plugin is loaded; twistd has the options; the service is started, but not the reactor.
MOMENTS: Final = (
    "from twisted.plugins import airyd_plugin; happens()",
    "from airyd import tap; m = tap.makeService; tap.makeService = lambda options: (happens(), m(options))[1]",
    "from airyd import service; s = service.Airyd.startService; "
    "service.Airyd.startService = lambda self: (s(self), happens())[0]",
)
#: With workers, the last moment is the start of the parent.
MOMENTS_OF_WORKERS: Final = (
    *MOMENTS[:2],
    "from airyd.workers import parent; s = parent.Parent.startService; "
    "parent.Parent.startService = lambda self: (s(self), happens())[0]",
)


def program(signal_name: str, moment: str, before: str = "pass") -> str:
    """Return the code of a twistd that gets a signal at this moment, after other code has run."""
    happens = f"def happens():\n    {before}\n    os.kill(os.getpid(), signal.{signal_name})\n"
    return f"import os, signal\n{happens}\n{moment}\n{TWISTD}"


class EarlySignalTests(DaemonTestCase):
    """Daemons that get signals during their start."""

    def setUp(self) -> None:
        """Make a directory; start no shared daemon."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "destinations"
        self.workers = ("--workers=2", f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}")

    def test_sighup(self) -> None:
        """After the start airyd reloads the file, so that its new destinations can be published to."""
        for options, moments in (((), MOMENTS), (self.workers, MOMENTS_OF_WORKERS)):
            for moment in moments:
                self.path.write_text("/queue/first\n")
                add = f"open({str(self.path)!r}, 'a').write('/queue/late\\n')"
                daemon = self.own_daemon(
                    f"--destinations-file={self.path}", *options, program=program("SIGHUP", moment, add)
                )
                daemon.publish("/queue/late", b"{}")
                self.assertEqual(daemon.stop(), 0)

    def test_sigusr2(self) -> None:
        """It does not end the process, and restarts nothing."""
        for options, moments in (((), MOMENTS), (self.workers, MOMENTS_OF_WORKERS)):
            daemon = self.own_daemon(*options, program=program("SIGUSR2", moments[1]))
            self.assertNotIn("rolling restart", daemon.log)
            self.assertEqual(daemon.stop(), 0)

    def test_sighup_as_soon_as_it_serves(self) -> None:
        daemon = self.own_daemon()
        os.kill(daemon.pid, signal.SIGHUP)
        self.assertEqual(daemon.request("GET", "/healthz"), (200, b"ok"))
        self.assertEqual(daemon.stop(), 0)

    def test_sigterm(self) -> None:
        """SIGTERM ends the process with status 0, as it does later."""
        for options, moments in (((), MOMENTS), (self.workers, MOMENTS_OF_WORKERS)):
            for moment in moments:
                done = subprocess.run(
                    command(
                        "--listen=tcp:0:interface=127.0.0.1",
                        "--admin=none",
                        *options,
                        program=program("SIGTERM", moment),
                    ),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    cwd=self.path.parent,
                    env=environment(),
                    timeout=PATIENCE,
                    check=False,
                )
                self.assertEqual(done.returncode, 0, (moment, done.stdout, done.stderr))
                self.assertIn("airyd has stopped", done.stdout)
                self.assertNotIn("Traceback", done.stdout + done.stderr)

    def test_the_terminal_is_closed_meanwhile(self) -> None:
        """airyd ends when its terminal is closed during the start."""
        ours, terminal = os.openpty()
        ready, tell = os.pipe()
        text = program("SIGHUP", MOMENTS[0], f"os.write({tell}, b'!'); os.close({tell}); wait()")
        wait = "def wait():\n    import time\n    while os.isatty(0): time.sleep(0.01)\n"
        process = subprocess.Popen(
            command("--listen=tcp:0:interface=127.0.0.1", "--admin=none", program=f"import os\n{wait}{text}"),
            stdin=terminal,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.path.parent,
            env=environment(),
            pass_fds=[tell],
        )
        self.addCleanup(process.kill)
        for descriptor in (terminal, tell):
            os.close(descriptor)
        os.read(ready, 1)
        os.close(ready)
        os.close(ours)
        self.assertEqual(process.wait(PATIENCE), -signal.SIGHUP)

    def test_other_commands_of_twistd(self) -> None:
        """Other commands handle their signals as usual, although twistd loads this plugin, too."""
        program = (
            "import signal, sys; before = signal.getsignal(signal.SIGHUP); from twisted.plugins import airyd_plugin; "
            "sys.exit(signal.getsignal(signal.SIGHUP) is not before)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "web"], env=environment(), cwd=self.path.parent, check=False
        )
        self.assertEqual(done.returncode, 0)
