"""Programs whose standard output fails: its reader has gone, as after ``| head -1``, or a disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import TWISTD, environment
from tests.patience import PATIENCE

_AIRYD: Final = ("-m", "airyd.cli")
_TWISTD: Final = ("-c", TWISTD, "airyd")
_NO_PORTS: Final = ("--listen=tcp:0:interface=127.0.0.1", "--admin=none")
#: All texts that a program prints and then exits.
_PROGRAMS: Final[Sequence[Sequence[str]]] = [
    *((*_AIRYD, word) for word in ("--help", "--version")),
    *((*_AIRYD, command, "--help") for command in ("tail", "publish", "token", "revoke", "config", "doctor", "serve")),
    *((*_AIRYD, "serve", word) for word in ("--version", "--help-sources", "--help-auth")),
    (*_AIRYD, "completion", "bash"),
    (*_AIRYD, "config", "show"),
    (*_AIRYD, "asyncapi"),
    (*_AIRYD, "openapi"),
    (*_AIRYD, "doctor", "--help-sources"),
    (*_AIRYD, "doctor", "--source=memory:", *_NO_PORTS),
    (*_AIRYD, "token", "--secret-env=SECRET", "ann"),
    *((*_TWISTD, word) for word in ("--help", "--version", "--help-sources", "--help-auth")),
    ("-m", "airyd", "--help"),
]


@pytest.mark.integration
class ClosedOutputTests(SynchronousTestCase):
    """Each program ends without a traceback; with and without Python's buffer for standard output."""

    def run_into(self, output: int, program: Sequence[str], unbuffered: str) -> tuple[int, str]:
        """Return the exit status and standard error of a program with this standard output."""
        variables: Mapping[str, str] = {**environment(), "SECRET": "x" * 32, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            [sys.executable, "-W", "error", *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=variables,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stderr.decode()

    def test_reader_has_gone(self) -> None:
        """Nothing is said: the reader has what it wanted."""
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        for program in _PROGRAMS:
            self.assertEqual(self.run_into(writing, program, ""), (1, ""), program)
        self.assertEqual(self.run_into(writing, _PROGRAMS[0], "1"), (1, ""))
        self.assertEqual(self.run_into(writing, (*_TWISTD, "--help"), "1"), (1, ""))

    def test_full_disk(self) -> None:
        """One line says that the text could not be written."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        for program in [(*_AIRYD, "--help"), (*_AIRYD, "tail", "--version"), (*_TWISTD, "--help")]:
            status, said = self.run_into(full, program, "")
            self.assertEqual(status, 1)
            self.assertRegex(said, r"\Aairyd[a-z ]*: cannot write: [^\n]+\n\Z")
