"""The unit that runs airyd under systemd, and its file of options."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import LONGEST_DRAIN
from airyd.workers.supervisor import END_PATIENCE

ETC = Path(__file__).parent.parent / "etc"
UNIT = ETC / "systemd/airyd.service"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze without colours and a pager."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def option_sets(text: str) -> list[list[str]]:
    """Return the words of each ``AIRYD_OPTIONS`` in a file, split as systemd does; commented examples count, too."""
    uncommented = re.sub(r"^#(?=AIRYD|    )", "", text, flags=re.MULTILINE)
    return [shlex.split(value) for value in re.findall(r"^AIRYD_OPTIONS='([^']*)'$", uncommented, flags=re.MULTILINE)]


@pytest.mark.integration
class UnitTests(SynchronousTestCase):
    """The unit as systemd checks it."""

    def machine(self) -> Path:
        """Make a root directory with systemd's units, and with airyd where the unit's comment says."""
        root = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, root)
        units = next(path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.is_dir())
        # Both places: the distribution decides which of them systemd reads.
        for place in ("usr/lib/systemd/system", "lib/systemd/system"):
            shutil.copytree(units, root / place, symlinks=True)
        (root / "etc/systemd/system").mkdir(parents=True)
        shutil.copy(UNIT, root / "etc/systemd/system")
        for program in ("opt/airyd/bin/twistd", "bin/kill"):
            path = root / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        return root

    def test_verify(self) -> None:
        """``systemd-analyze verify`` is silent once airyd is installed."""
        done = analyze("verify", "--recursive-errors=no", f"--root={self.machine()}", UNIT.name)
        self.assertEqual(("", 0), (done.stdout, done.returncode))

    def test_verify_can_fail(self) -> None:
        """``systemd-analyze verify`` reports an unknown directive and a missing program."""
        root = self.machine()
        (root / "opt/airyd/bin/twistd").unlink()
        unit = root / "etc/systemd/system" / UNIT.name
        unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))
        done = analyze("verify", "--recursive-errors=no", f"--root={root}", UNIT.name)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("PrivateTemp", done.stdout)
        self.assertIn("/opt/airyd/bin/twistd", done.stdout)

    def test_exposure_as_stated(self) -> None:
        """The unit's exposure is at most the one in its comment."""
        stated = re.search(r"exposure (\d+)\.(\d)", UNIT.read_text())
        assert stated is not None
        done = analyze("security", "--offline=true", f"--threshold={''.join(stated.groups())}", str(UNIT))
        self.assertEqual(0, done.returncode, done.stdout)

    def test_time_to_drain(self) -> None:
        """systemd waits longer than the longest time that airyd may take to end."""
        (seconds,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", UNIT.read_text())
        self.assertGreaterEqual(int(seconds), LONGEST_DRAIN + END_PATIENCE + 10)

    def test_group_for_secrets(self) -> None:
        """The commented line is valid, and docs/installing.rst makes the group that it names."""
        (line, group) = re.findall(r"(?m)^#(SupplementaryGroups=(\S+))$", UNIT.read_text())[0]
        root = self.machine()
        (root / "etc/systemd/system" / UNIT.name).write_text(UNIT.read_text().replace(f"#{line}", line))
        done = analyze("verify", "--recursive-errors=no", f"--root={root}", UNIT.name)
        self.assertEqual(("", 0), (done.stdout, done.returncode))
        self.assertIn(f"$ groupadd --system {group}\n", (ETC.parent / "docs/installing.rst").read_text())

    def test_restart_after_sighup(self) -> None:
        """An end by SIGHUP is clean for systemd; the unit restarts airyd nevertheless."""
        self.assertRegex(UNIT.read_text(), r"(?m)^RestartForceExitStatus=SIGHUP$")

    def test_credential_of_the_example(self) -> None:
        """systemd accepts the commented line for a password file, and the options name that file."""
        unit = UNIT.read_text()
        line = re.search(r"^#(LoadCredential=(\S+):\S+)$", unit, flags=re.MULTILINE)
        assert line is not None
        root = self.machine()
        (root / "etc/systemd/system" / UNIT.name).write_text(unit.replace(line[0], line[1]))
        done = analyze("verify", "--recursive-errors=no", f"--root={root}", UNIT.name)
        self.assertEqual(("", 0), (done.stdout, done.returncode))
        options = (ETC / "airyd.env").read_text()
        self.assertIn(f"?password-file=/run/credentials/{UNIT.name}/{line[2]}", options)


class OptionsFileTests(SynchronousTestCase):
    """The file of options for the unit."""

    def test_each_is_understood(self) -> None:
        """airyd accepts each set of options in the file, commented or not."""
        from airyd.config.command_line import Options

        sets = option_sets((ETC / "airyd.env").read_text())
        self.assertEqual(10, len(sets))
        for words in sets:
            Options().parseOptions(words)

    def test_the_unit_reads_it(self) -> None:
        """The unit runs airyd with the file's variable, split into words."""
        unit = UNIT.read_text()
        self.assertRegex(unit, r"(?m)^EnvironmentFile=-?/etc/airyd\.env$")
        self.assertRegex(unit, r"(?m)^ExecStart=.* airyd \$AIRYD_OPTIONS$")
