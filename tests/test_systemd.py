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

ETC = Path(__file__).parent.parent / "etc"
UNIT = ETC / "airyd.service"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, without its terminal habits."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def option_sets(text: str) -> list[list[str]]:
    """Return the words of each ``AIRYD_OPTIONS`` of a file, examples too, as systemd would take them apart."""
    uncommented = re.sub(r"^#(?=AIRYD|    )", "", text, flags=re.MULTILINE)
    return [shlex.split(value) for value in re.findall(r"^AIRYD_OPTIONS='([^']*)'$", uncommented, flags=re.MULTILINE)]


@pytest.mark.integration
class UnitTests(SynchronousTestCase):
    """systemd's own judgement on the unit."""

    def machine(self) -> Path:
        """Lay out a root directory with systemd's units, and airyd where the unit's comment says."""
        root = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, root)
        units = next(path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.is_dir())
        # Two places: which of them systemd looks at depends on how the distribution built it.
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

    def test_nothing_to_complain_about(self) -> None:
        """``systemd-analyze verify`` is silent once airyd is installed."""
        done = analyze("verify", "--recursive-errors=no", f"--root={self.machine()}", UNIT.name)
        self.assertEqual(("", 0), (done.stdout, done.returncode))

    def test_complaints_are_heard(self) -> None:
        """It is not silent about a directive that it doesn't know, nor about a program that isn't there."""
        root = self.machine()
        (root / "opt/airyd/bin/twistd").unlink()
        unit = root / "etc/systemd/system" / UNIT.name
        unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))
        done = analyze("verify", "--recursive-errors=no", f"--root={root}", UNIT.name)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("PrivateTemp", done.stdout)
        self.assertIn("/opt/airyd/bin/twistd", done.stdout)

    def test_exposure_as_stated(self) -> None:
        """The unit's exposure is not above what its comment says."""
        stated = re.search(r"exposure (\d+)\.(\d)", UNIT.read_text())
        assert stated is not None
        done = analyze("security", "--offline=true", f"--threshold={''.join(stated.groups())}", str(UNIT))
        self.assertEqual(0, done.returncode, done.stdout)

    def test_death_by_sighup_is_no_end(self) -> None:
        """systemd takes it for a clean one; it starts airyd again nevertheless."""
        self.assertRegex(UNIT.read_text(), r"(?m)^RestartForceExitStatus=SIGHUP$")

    def test_the_credential_that_it_offers(self) -> None:
        """The line for a password file is one that systemd takes, and it is the file that the options name."""
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
    """The file of options that the unit reads."""

    def test_each_is_understood(self) -> None:
        """Each set of options in it, commented or not, is one that airyd takes."""
        from airyd.config.options import Options

        sets = option_sets((ETC / "airyd.env").read_text())
        self.assertEqual(9, len(sets))
        for words in sets:
            Options().parseOptions(words)

    def test_the_unit_reads_it(self) -> None:
        """The unit runs airyd with the variable that the file sets, taken apart into words."""
        unit = UNIT.read_text()
        self.assertRegex(unit, r"(?m)^EnvironmentFile=-?/etc/airyd\.env$")
        self.assertRegex(unit, r"(?m)^ExecStart=.* airyd \$AIRYD_OPTIONS$")
