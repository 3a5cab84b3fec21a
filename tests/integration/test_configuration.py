"""The daemon with a configuration file, the environment and the command line, and in the foreground."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import COMPLAINTS, environment, read_until, start_twistd
from tests.integration.forking import CommandLine, run_forked
from tests.leaks import MARK, leaks
from tests.patience import PATIENCE

LISTEN = "tcp:0:interface=127.0.0.1"
SERVES = re.compile(r"airyd serves ws://127\.0\.0\.1:\d+(/\S+)")
#: The programs that run the daemon in the foreground.
FOREGROUND = (
    ("-c", "from airyd.cli.main import main; main()", "serve"),
    ("-m", "airyd"),
)


class ConfigurationCase(SynchronousTestCase):
    """Starts daemons in a folder of the test's own."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, content: str) -> str:
        """Write the configuration file; return its path."""
        path = self.folder / "airyd.toml"
        path.write_text(content)
        return str(path)

    def start(
        self, *words: str, environ: Mapping[str, str] = MappingProxyType({}), program: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start twistd, or another program, in the folder."""
        if program:
            process = subprocess.Popen(
                [sys.executable, *program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.folder,
                env={**environment(), **environ},
            )
        else:
            process = start_twistd(*words, directory=self.folder, environ=environ)
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """End a process that the test has not ended."""
        process.kill()
        process.communicate()

    def stopped(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
        """Stop a daemon, which must end with status 0, or by SIGINT; return the rest of its log."""
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0 if number == signal.SIGTERM else -number, said)
        return said


class WaysTests(ConfigurationCase):
    """The three ways, with the real twistd."""

    def test_a_later_way_wins(self) -> None:
        file = self.file(f"""
            listen = "{LISTEN}"
            admin = "none"
            path = ["/of.the.file", "/also.of.the.file"]
            log-level = "error"
        """)
        environ = {"AIRYD_PATH": "/of.the.environment", "AIRYD_CONFIG": file, "AIRYD_LOG_LEVEL": "warn"}
        process = self.start("--log-level=info", environ=environ)
        found, log = read_until(process, SERVES)
        self.assertEqual(found[1], "/of.the.environment")
        log += self.stopped(process)
        self.assertEqual(len(SERVES.findall(log)), 1)
        self.assertNotIn("airyd admin at", log)

    def test_tables(self) -> None:
        """A secret in the file, or in the environment, is in no line of the log, at any level, and in no list."""
        (self.folder / "secret").write_text("s" * 40)
        file = self.file(f"""
            listen = "{LISTEN}"
            admin = "none"
            log-level = "debug"

            [[source]]
            url = "redis://u:{MARK}@127.0.0.1:1/0"
            prefix = "a b:"

            [[auth]]
            kind = "jwt"
            secret-file = "{self.folder}/secret"
        """)
        refused = re.compile("not connected to redis://")
        for words, environ in (
            ((f"--config={file}",), {}),
            ((), {"AIRYD_CONFIG": file}),
            (
                (f"--listen={LISTEN}", "--admin=none", "--log-level=debug"),
                {"AIRYD_SOURCE": f"redis://u:{MARK}@127.0.0.1:1/0"},
            ),
        ):
            process = self.start(*words, environ=environ)
            _, log = read_until(process, refused)
            listing = Path(f"/proc/{process.pid}/cmdline").read_text()
            log += self.stopped(process)
            self.assertEqual((leaks(log), leaks(listing), COMPLAINTS.findall(log)), ([], [], []), log)

    def test_wrong(self) -> None:
        """One line with the place of the mistake, and status 1."""
        for content, environ, expected in (
            ("log-levle = 1", {}, "airyd: {file}: line 1: log-levle: there is no such option; did you mean log-level?"),
            ("[[source]]\nurl='memory:'\nx=1", {}, "airyd: {file}: line 3: [[source]] x memory: unknown parameter 'x'"),
            ("", {"AIRYD_WORKERS": "0"}, "airyd: AIRYD_WORKERS 0: give a number from 1 to 64, or auto"),
            ("", {"AIRYD_LISTEN": "tcp:x"}, "airyd: AIRYD_LISTEN tcp:x: "),
            ("workers = 2", {}, "airyd: {file}: line 1: workers 2: with --source memory:"),
            (
                "listen = 'tcp:1:interface=192.0.2.1'\nauth = 'anonymous:public'",
                {},
                "airyd: {file}: line 1: listen tcp:1",
            ),
        ):
            file = self.file(content)
            words = [f"--config={file}"]
            ways = [
                CommandLine(["-n", "--pidfile=", "airyd", *words], "twistd", environ),
                CommandLine(["serve", *words], "airyd", environ),
                CommandLine(words, "python -m airyd", environ),
            ]
            for status, said in run_forked(ways, self.folder):
                self.assertEqual((status, len(said.splitlines())), (1, 1), said)
                self.assertTrue(said.startswith(expected.format(file=file)), said)


class ForegroundTests(ConfigurationCase):
    """``airyd serve`` and ``python -m airyd``."""

    def test_serve_and_stop(self) -> None:
        """The log is on standard output, the folder stays empty, and Ctrl-C and SIGTERM end the daemon cleanly."""
        for program in FOREGROUND:
            for number in (signal.SIGTERM, signal.SIGINT):
                process = self.start(f"--listen={LISTEN}", "--admin=none", program=program)
                _, log = read_until(process, SERVES)
                log += self.stopped(process, number)
                self.assertIn("airyd has stopped", log)
                self.assertEqual((COMPLAINTS.findall(log), list(self.folder.iterdir())), ([], []))

    def test_two_in_one_folder(self) -> None:
        """There is no file for the PID that the second one would find."""
        processes = [self.start(f"--listen={LISTEN}", "--admin=none", program=FOREGROUND[0]) for _ in range(2)]
        for process in processes:
            read_until(process, SERVES)
        for process in processes:
            self.stopped(process)

    def test_help(self) -> None:
        for program, name in zip(FOREGROUND, ("airyd serve", "python -m airyd"), strict=True):
            for word, first in (("--help", f"Usage: {name} [options]"), ("--version", "airyd ")):
                process = self.start(word, program=program)
                said, _ = process.communicate(timeout=PATIENCE)
                self.assertEqual(process.returncode, 0, said)
                self.assertTrue(said.startswith(first), said)
