"""The real ``twistd airyd`` as a process that a test starts, watches and stops."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.leaks import leaks
from tests.patience import PATIENCE

TREE: Final = Path(__file__).resolve().parents[2]
#: Patterns that no log may contain, whatever a client does.
COMPLAINTS: Final = re.compile(
    r"Traceback \(most recent call last\)|Unhandled [Ee]rror|^.*(?:ResourceWarning|DeprecationWarning).*$", re.MULTILINE
)
_SERVES: Final = re.compile(r"airyd serves ws://127\.0\.0\.1:(\d+)/")
_ADMIN: Final = re.compile(r"airyd admin at http://127\.0\.0\.1:(\d+)/")
#: The code of the program ``twistd``.
TWISTD: Final = "from twisted.scripts.twistd import run; run()"


def command(*options: str, program: str = TWISTD, home: Path | None = None) -> list[str]:
    """Return the command line of ``twistd -n airyd`` with these options, for the Python that runs the tests.

    :param program: the code to run in place of twistd's
    :param home: an installation, whose program ``twistd`` is run in place of the tree's
    """
    twistd = [sys.executable, "-c", program] if home is None else [str(home / "bin/twistd")]
    return [*twistd, "--nodaemon", "--pidfile=", "airyd", *options]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def environment() -> dict[str, str]:
    """Return an environment in which a process finds the tree's package and plugin from any directory."""
    return {**os.environ, "PYTHONPATH": str(TREE), "PYTHONUNBUFFERED": "1"}


def start_twistd(
    *options: str,
    program: str = TWISTD,
    directory: Path | None = None,
    stderr: int = subprocess.STDOUT,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Start ``twistd -n airyd`` with these options and with its output in a pipe.

    :param directory: its working directory; by default the temporary folder, where it may leave nothing
    :param environ: additional environment variables
    """
    return subprocess.Popen(
        command(*options, program=program),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=directory or tempfile.gettempdir(),
        env={**environment(), **environ},
    )


def read_until(process: subprocess.Popen[str], pattern: re.Pattern[str]) -> tuple[re.Match[str], str]:
    """Read a process's output until the pattern matches; return the match and all output so far.

    Raises ``AssertionError`` with the output if the process ends before.
    """
    assert process.stdout is not None
    log = ""
    while (found := pattern.search(log)) is None:
        line = process.stdout.readline()
        assert line, log
        log += line
    return found, log


class Daemon:
    """One airyd on free ports of the loopback interface, in a temporary directory.

    Raises ``AssertionError`` with the log if it does not start, or if its log has complaints.

    :param home: an installation that it runs from, in place of the tree
    :ivar port: where it serves WebSocket clients
    :ivar admin_port: where the admin page is
    :ivar headers: headers of all requests to the admin page, such as a token
    """

    def __init__(
        self, *options: str, port: int = 0, admin_port: int = 0, program: str = TWISTD, home: Path | None = None
    ) -> None:
        self.headers: dict[str, str] = {}
        self._directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self._log_path = self._directory / "log"
        listening = [
            f"--{name}=tcp:{given}:interface=127.0.0.1" for name, given in (("listen", port), ("admin", admin_port))
        ]
        arguments = [*listening, *options]
        if not any(option.startswith(("--log-level", "--config")) for option in options):
            arguments.append("--log-level=debug")  # no line may contain a secret
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command(*arguments, program=program, home=home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment() if home is None else {**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        atexit.register(self.kill)
        try:
            self.port = int(self.wait_for_log(_SERVES)[1])
            self.admin_port = int(self.wait_for_log(_ADMIN)[1])
            self._wait_until_ready()
            self._workers_show = self._workers_listed()  # not its own command line, which the test chose
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        """The WebSocket URL."""
        return f"ws://127.0.0.1:{self.port}/ws.communication"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def listing(self) -> str:
        """The command lines of the process and its workers, which every user of the machine can see."""
        return f"{_command_line(self.pid)}\n{self._workers_listed()}"

    def _workers_listed(self) -> str:
        shown = []
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # a worker may end at any moment
                shown.append(_command_line(int(pid)))
        return "\n".join(shown)

    @property
    def running(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The whole log so far."""
        return self._log_path.read_text("utf-8", "replace") if self._log_path.exists() else ""

    def complaints(self, start: int = 0) -> list[str]:
        """Return what the log must not contain from this offset on: tracebacks, errors, warnings, secrets.

        Secrets in its workers' command lines count, too, and in the metrics while the process runs.
        """
        log, metrics = self.log, b""
        if self.running:
            with contextlib.suppress(OSError, http.client.HTTPException):  # the process may be stopping
                _, metrics = self.request("GET", "/metrics")
        found = [match[0] for match in COMPLAINTS.finditer(log, start)]
        return found + leaks(log, start) + leaks(self._workers_show) + leaks(metrics.decode())

    def wait_for_log(self, pattern: re.Pattern[str], start: int = 0) -> re.Match[str]:
        """Wait until the log contains the pattern from this offset on; return the match."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = not self.running
            if match := pattern.search(self.log, start):
                return match
            if ended or time.monotonic() > deadline:
                how = f"ended with {self._process.returncode}" if ended else "said nothing of the kind"
                raise AssertionError(f"airyd {how} (wanted: {pattern.pattern}); its log:\n{self.log[-4000:]}")
            time.sleep(0.01)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (answer := self.request("GET", "/readyz"))[0] != 200:
            if time.monotonic() > deadline:
                raise AssertionError(f"airyd is not ready: {answer}")
            time.sleep(0.02)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request to the admin page; return the status and the body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, destination: str, body: bytes) -> tuple[int, bytes]:
        """Publish through the admin page; return the status and the body of the response."""
        return self.request(
            "POST", f"/publish/{destination.removeprefix('/')}", body, {"Content-Type": "application/json"}
        )

    def publish(self, destination: str, body: bytes) -> str:
        """Publish an event that must be accepted; return its ``message-id``."""
        status, answer = self.post(destination, body)
        if status != 200:
            raise AssertionError(f"POST /publish{destination} gave {status}: {answer!r}")
        return str(json.loads(answer)["id"])

    def metrics(self) -> str:
        """Return the text of ``/metrics``."""
        status, text = self.request("GET", "/metrics")
        if status != 200:
            raise AssertionError(f"GET /metrics gave {status}")
        return text.decode()

    def sums(self, *names: str) -> dict[str, int]:
        """Return the sums over all labels of these metrics (without ``airyd_``)."""
        sums = dict.fromkeys(names, 0)
        for line in self.metrics().splitlines():
            name = line.partition(" ")[0].partition("{")[0].removeprefix("airyd_")
            if name in sums:
                sums[name] += int(float(line.rpartition(" ")[2]))
        return sums

    def wait_for_metrics(self, **wanted: int) -> None:
        """Wait until the sums over all labels of these metrics (without ``airyd_``) have these values."""
        deadline = time.monotonic() + PATIENCE
        while True:
            sums = self.sums(*wanted)
            if sums == wanted:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"wanted {wanted}, counted {sums}")
            time.sleep(0.02)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the process's end; return its exit status."""
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """Stop the process by SIGTERM; return its exit status. The log is kept until :meth:`kill`."""
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """Kill the process if it still runs and remove its directory; harmless when repeated."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.kill)
