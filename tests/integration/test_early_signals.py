"""SIGHUP and SIGTERM while airyd starts, from the moment on when twistd loads the plugin."""

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

#: The moments: the plugin is loaded; twistd has the options; the service has been started, but not the reactor.
MOMENTS: Final = (
    "from twisted.plugins import airyd_plugin; happens()",
    "from airyd import tap; m = tap.makeService; tap.makeService = lambda options: (happens(), m(options))[1]",
    "from airyd import service; s = service.Airyd.startService; "
    "service.Airyd.startService = lambda self: (s(self), happens())[0]",
)
#: A parent has no such service.
MOMENTS_OF_WORKERS: Final = (
    *MOMENTS[:2],
    "from airyd.workers import parent; s = parent.Parent.startService; "
    "parent.Parent.startService = lambda self: (s(self), happens())[0]",
)


def program(signal_name: str, moment: str, before: str = "pass") -> str:
    """Return twistd, to which a signal comes at a moment, right after something else was done."""
    happens = f"def happens():\n    {before}\n    os.kill(os.getpid(), signal.{signal_name})\n"
    return f"import os, signal\n{happens}\n{moment}\n{TWISTD}"


class EarlySignalTests(DaemonTestCase):
    """Each with daemons of its own."""

    def setUp(self) -> None:
        """No shared daemon is needed; but a directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "destinations"
        self.workers = ("--workers=2", f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}")

    def test_sighup(self) -> None:
        """It is followed when the start is over: what the file has by then can be published to."""
        for options, moments in (((), MOMENTS), (self.workers, MOMENTS_OF_WORKERS)):
            for moment in moments:
                self.path.write_text("/queue/first\n")
                add = f"open({str(self.path)!r}, 'a').write('/queue/late\\n')"
                daemon = self.own_daemon(
                    f"--destinations-file={self.path}", *options, program=program("SIGHUP", moment, add)
                )
                daemon.publish("/queue/late", b"{}")
                self.assertEqual(daemon.stop(), 0)

    def test_sighup_as_soon_as_it_serves(self) -> None:
        daemon = self.own_daemon()
        os.kill(daemon.pid, signal.SIGHUP)
        self.assertEqual(daemon.request("GET", "/healthz"), (200, b"ok"))
        self.assertEqual(daemon.stop(), 0)

    def test_sigterm(self) -> None:
        """It ends the process with status 0, as at any later time."""
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
        """What was started in it ends, as ever."""
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
        """Their signals are their own, although twistd loads this plugin, too."""
        program = (
            "import signal, sys; before = signal.getsignal(signal.SIGHUP); from twisted.plugins import airyd_plugin; "
            "sys.exit(signal.getsignal(signal.SIGHUP) is not before)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "web"], env=environment(), cwd=self.path.parent, check=False
        )
        self.assertEqual(done.returncode, 0)
