"""Plays systemd's side: starts the real twistd as a unit of ``etc/systemd`` says, and reads its notifications."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.integration.daemon import TREE, TWISTD, command, environment
from tests.patience import PATIENCE

ETC: Final = TREE / "etc"
#: The seconds of ``WatchdogSec=`` in place of the unit's, so that a test need not wait for long.
WATCHDOG: Final = 1.0
#: A program that passes on the descriptors that it was given, as systemd does, and then becomes twistd.
_HAND_OVER: Final = """
import fcntl, os
given = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in {descriptors}]
for number, each in enumerate(given, 3):
    os.dup2(each, number)
    os.close(each)
if given:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES={names!r})
os.environ["WATCHDOG_PID"] = str(os.getpid())
{twistd}
"""
_CREDENTIALS: Final = struct.Struct("3i")


def assignments(path: Path) -> dict[str, str]:
    """Return the assignments of a unit, each with its last value."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))


class Unit:
    """One unit of ``etc/systemd`` with its sockets, in a temporary directory.

    :param options: those of ``AIRYD_OPTIONS``, in place of the file's
    :param sockets: the listening sockets of a socket unit, by name
    :param credentials: the files of ``LoadCredential=``, by name

    :ivar heard: all notifications so far
    """

    def __init__(
        self,
        options: str,
        path: Path = ETC / "systemd/airyd.service",
        sockets: Mapping[str, socket.socket] = MappingProxyType({}),
        credentials: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.values = assignments(path)
        self._directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self._log_path = self._directory / "log"
        self._sockets = sockets
        self._credentials = self._directory / "credentials"
        self._credentials.mkdir(0o700)
        for name, text in credentials.items():
            (self._credentials / name).write_text(text)
            (self._credentials / name).chmod(0o400)
        self._options = options.replace("/run/credentials/airyd.service", str(self._credentials))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notify.bind(str(self._directory / "notify"))
        self._process: subprocess.Popen[bytes] | None = None
        self.heard: list[dict[str, str]] = []

    def start(self) -> None:
        """Start the program of ``ExecStart=``."""
        program, *words = shlex.split(self.values["ExecStart"].replace("$AIRYD_OPTIONS", self._options))
        assert Path(program).name == "twistd"
        assert words[:3] == ["--nodaemon", "--pidfile=", "airyd"]
        descriptors = [each.fileno() for each in self._sockets.values()]
        hand_over = _HAND_OVER.format(descriptors=descriptors, names=":".join(self._sockets), twistd=TWISTD)
        if self._process is not None:
            self.silence(0)  # nothing of the process before
        self.heard.clear()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command(*words[3:], program=hand_over),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                pass_fds=descriptors,
                env={
                    **environment(),
                    "NOTIFY_SOCKET": str(self._directory / "notify"),
                    "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
                    "CREDENTIALS_DIRECTORY": str(self._credentials),
                },
            )

    @property
    def pid(self) -> int:
        """The id of the main process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """The log so far."""
        return self._log_path.read_text("utf-8", "replace")

    def wait_for(self, is_wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Wait for a notification that has not been waited for yet, and return its assignments.

        Raises ``AssertionError`` if a process other than the main one sends one (``NotifyAccess=main``).
        """
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            found = self._next(left)
            if found is not None and is_wanted(found):
                return found
        raise AssertionError(f"no such notification; {self.heard[-20:]}\n{self.log[-4000:]}")

    def wait_for_state(self, name: str) -> dict[str, str]:
        """Wait for an assignment such as ``READY=1``."""
        return self.wait_for(lambda each: each.get(name) == "1")

    def wait_for_status(self, pattern: str) -> None:
        """Wait for a status that has the pattern in it."""
        self.wait_for(lambda each: re.search(pattern, each.get("STATUS", "")) is not None)

    def silence(self, seconds: float) -> bool:
        """Return whether there is no notification for so long; those that have come before are read first."""
        while self._next(0) is not None:
            pass
        return self._next(seconds) is None

    def _next(self, seconds: float) -> dict[str, str] | None:
        self._notify.settimeout(seconds)
        try:
            return self._read()
        except (TimeoutError, BlockingIOError):
            return None

    def _read(self) -> dict[str, str]:
        data, ancillary, _, _ = self._notify.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        ((_, _, credentials),) = ancillary
        sender, _, _ = _CREDENTIALS.unpack(credentials)
        assert sender == self.pid, (data, sender, self.pid)
        self.heard.append(dict(line.partition("=")[::2] for line in data.decode().split("\n")))
        return self.heard[-1]

    def kill(self, name: str) -> None:
        """Send the main process a signal, such as that of ``KillSignal=``."""
        os.kill(self.pid, signal.Signals[name])

    def wait(self) -> int:
        """Wait for the end of the main process; return its exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Kill what still runs, and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._notify.close()
        shutil.rmtree(self._directory)


def options_of_example(word: str) -> str:
    """Return the first ``AIRYD_OPTIONS`` of ``etc/airyd.env``, also of a comment, that contains a word."""
    text = re.sub(r"^#(?=AIRYD|    )", "", (ETC / "airyd.env").read_text(), flags=re.MULTILINE)
    found: Sequence[str] = re.findall(r"^AIRYD_OPTIONS='([^']*)'$", text, re.MULTILINE)
    return next(options for options in found if word in options)
