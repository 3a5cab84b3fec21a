"""The checks of twistd's files: a missing folder, a pid file of another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.runtime.twistd_files import check_twistd_files


class TwistdFilesTests(SynchronousTestCase):
    """Refusals in one line, which name twistd's option."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "file"
        self.file.write_text("not a folder")

    def check(self, **options: Any) -> None:
        """Check with these options of twistd's, and the defaults of the others."""
        defaults = {
            "pidfile": "",
            "logfile": None,
            "logger": None,
            "syslog": 0,
            "nodaemon": 1,
            "debug": False,
            "rundir": ".",
            "chroot": None,
        }
        check_twistd_files({**defaults, **options})

    def refusal(self, **options: Any) -> str:
        """Return the error."""
        said = str(self.assertRaises(ConfigurationError, self.check, **options))
        self.assertEqual(len(said.splitlines()), 1)
        return said

    def test_good(self) -> None:
        self.check()
        self.check(pidfile=str(self.folder / "pid"))
        for log in ("log", "file"):
            self.check(logfile=str(self.folder / log))
            self.check(logfile=str(self.folder / log), nodaemon=0)
        self.check(logfile="-")
        self.check(logfile=os.devnull)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["file"])  # nothing is left there

    def test_no_folder(self) -> None:
        for missing in (self.folder / "missing/file", self.file / "file"):
            for option in ("pidfile", "logfile"):
                said = self.refusal(**{option: str(missing)})
                self.assertIn(f"--{option} {missing}: there is no folder {missing.parent}", said)

    def test_a_folder(self) -> None:
        for option in ("pidfile", "logfile"):
            self.assertIn(f"--{option} {self.folder}: ", self.refusal(**{option: str(self.folder)}))

    def test_a_folder_without_rights(self) -> None:
        self.patch(os, "access", lambda path, mode: not mode & os.W_OK)
        self.assertIn("--pidfile twistd.pid: airyd may not write", self.refusal(pidfile="twistd.pid"))
        self.assertIn("--logfile twistd.log: airyd may not write", self.refusal(nodaemon=0))
        self.file.touch()
        said = self.refusal(nodaemon=0, logfile=str(self.file))
        self.assertIn(f"airyd may not write to {self.file};", said)
        self.check()  # to standard output

    def test_run_folder(self) -> None:
        for folder in (self.folder / "missing", self.file):
            self.assertIn(f"--rundir {folder}: there is no folder", self.refusal(rundir=str(folder)))

    def test_another_root(self) -> None:
        """Files below the new root can't be checked."""
        self.check(chroot="/x", pidfile="/nothing/there", rundir="/nothing")

    def test_logs_elsewhere(self) -> None:
        self.check(syslog=1, logfile="/nothing/there/log")
        self.check(logger="some.observer", logfile="/nothing/there/log")
        self.assertIn("--logfile -", self.refusal(logfile="-", nodaemon=0))

    def test_a_log_that_is_no_file(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.assertIn("cannot write the log there", self.refusal(logfile=f"/dev/fd/{writing}"))

    def test_no_process_number(self) -> None:
        for content in ("", "abc", "-1", "0", "9" * 30, "1\n2", "\xff"):
            self.file.write_text(content)
            self.assertIn("it holds no PID", self.refusal(pidfile=str(self.file)))

    @pytest.mark.integration
    def test_a_process_that_runs(self) -> None:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.communicate)
        self.file.write_text(str(process.pid))
        said = self.refusal(pidfile=str(self.file))
        self.assertIn(f"process {process.pid} (", said)
        self.assertIn("is running", said)

    @pytest.mark.integration
    def test_a_process_that_has_ended(self) -> None:
        """twistd itself removes the file."""
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        self.file.write_text(str(process.pid))
        self.check(pidfile=str(self.file))

    def test_the_same_number(self) -> None:
        """In a container each airyd has the number of the one before, which left its file when it was killed."""
        self.file.write_text(str(os.getpid()))
        self.check(pidfile=str(self.file))
        self.assertFalse(self.file.exists())
