"""The scripts of ``airyd completion`` in a real bash and a real zsh."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.options import COMMANDS
from airyd.config.options import OPTIONS
from airyd.runtime.log_levels import LEVELS
from tests.integration.daemon import environment
from tests.patience import PATIENCE

#: Completes the words of the command line, the last of which is typed in part.
_BASH = """
source "$1"; shift
function=$1; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$function
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    """Return the script for a shell, as the program prints it."""
    command = [sys.executable, "-m", "airyd.cli", "completion", shell]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


class CompletionCase(SynchronousTestCase):
    """Writes the script into a folder."""

    shell: str

    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "script"
        self.path.write_text(script(self.shell))


class BashTests(CompletionCase):
    """bash."""

    shell = "bash"

    def offered(self, *words: str, function: str = "_airyd") -> list[str]:
        """Return what is offered for the last word. bash makes a word of each equals sign."""
        command = ["bash", "--norc", "-c", _BASH, "bash", str(self.path), function, *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands(self) -> None:
        self.assertEqual(self.offered("airyd", ""), [*COMMANDS, "--help", "-h", "--version"])
        self.assertEqual(self.offered("airyd", "pub"), ["publish"])
        self.assertEqual(self.offered("airyd", "config", ""), ["check", "show"])
        self.assertEqual(self.offered("airyd", "completion", "z"), ["zsh"])

    def test_options(self) -> None:
        self.assertLessEqual({f"--{name}" for name in OPTIONS}, set(self.offered("airyd", "serve", "--")))
        self.assertEqual(self.offered("twistd", "-n", "airyd", "--log-l", function="_twistd_airyd"), ["--log-level"])
        self.assertEqual(self.offered("twistd", "-", function="_twistd_airyd"), [])
        self.assertEqual(self.offered("airyd", "config", "show", "--conf"), ["--config"])
        self.assertEqual(self.offered("airyd", "tail", "--c"), ["--count", "--ca-file"])

    def test_values(self) -> None:
        self.assertEqual(self.offered("airyd", "serve", "--log-level", ""), list(LEVELS))
        self.assertEqual(self.offered("airyd", "serve", "--log-level", "="), list(LEVELS))
        self.assertEqual(self.offered("airyd", "serve", "--log-level", "=", "w"), ["warn"])
        self.assertEqual(self.offered("airyd", "serve", "--config", "=", "sc"), ["script"])
        self.assertEqual(self.offered("airyd", "serve", "--listen", ""), [])


class ZshTests(CompletionCase):
    """zsh."""

    shell = "zsh"

    def completed(self, typed: str) -> str:
        """Return the command line after a tab."""
        pid, terminal = pty.fork()
        if not pid:
            os.chdir(self.folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb"})  # noqa: S606  # a program of the test
        try:
            prepare = f"autoload -Uz compinit; compinit -u -D; source {self.path}; PS1='REA''DY>'\n"
            os.write(terminal, prepare.encode())
            self.read_until(terminal, "READY>")
            # Then Ctrl-A and Ctrl-E: the line becomes the argument of an echo.
            os.write(terminal, f"{typed}\t\x01echo 'S''TART:\x05:E''ND'\n".encode())
            said = self.read_until(terminal, r"START:.*:END\r")
        finally:
            os.close(terminal)  # zsh ends, as with any terminal that is closed
            os.waitpid(pid, 0)
        return said.rpartition("START:")[2].partition(":END")[0]

    def read_until(self, terminal: int, pattern: str) -> str:
        """Read what zsh writes until the pattern matches."""
        said, deadline = "", time.monotonic() + PATIENCE
        while not re.search(pattern, said):
            ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
            self.assertTrue(ready, said)
            said += os.read(terminal, 65536).decode(errors="replace")
        return said

    def test_each(self) -> None:
        for typed, expected in (
            ("airyd pub", "airyd publish"),
            ("airyd serve --log-level=wa", "airyd serve --log-level=warn"),
            ("airyd serve --log-lev", "airyd serve --log-level"),
            ("airyd config ch", "airyd config check"),
            ("airyd tail --cou", "airyd tail --count"),
            ("airyd config show --config=sc", "airyd config show --config=script"),
        ):
            self.assertEqual(self.completed(typed).strip().rstrip("="), expected)
