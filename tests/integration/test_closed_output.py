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
from tests.integration.forking import CommandLine, run_forked
from tests.patience import PATIENCE

_AIRYD: Final = ("-m", "airyd.cli")
_TWISTD: Final = ("-c", TWISTD, "airyd")
_NO_PORTS: Final = ("--listen=tcp:0:interface=127.0.0.1", "--admin=none")
#: The environment of all programs.
_VARIABLES: Final = {"SECRET": "x" * 32}
#: All texts that a program prints and then exits.
_PROGRAMS: Final[Sequence[tuple[str, Sequence[str]]]] = [
    *(("airyd", (word,)) for word in ("--help", "--version")),
    *(
        ("airyd", (command, "--help"))
        for command in ("tail", "publish", "token", "revoke", "config", "doctor", "serve")
    ),
    *(("airyd", ("serve", word)) for word in ("--version", "--help-sources", "--help-auth")),
    ("airyd", ("completion", "bash")),
    ("airyd", ("config", "show")),
    ("airyd", ("asyncapi",)),
    ("airyd", ("openapi",)),
    ("airyd", ("doctor", "--help-sources")),
    ("airyd", ("doctor", "--source=memory:", *_NO_PORTS)),
    ("airyd", ("token", "--secret-env=SECRET", "ann")),
    *(("twistd", ("airyd", word)) for word in ("--help", "--version", "--help-sources", "--help-auth")),
    ("python -m airyd", ("--help",)),
]


@pytest.mark.integration
class ClosedOutputTests(SynchronousTestCase):
    """Each program ends without a traceback; with and without Python's buffer for standard output."""

    def run_into(self, output: int, program: Sequence[str], unbuffered: str) -> tuple[int, str]:
        """Return the exit status and standard error of a program with this standard output."""
        variables: Mapping[str, str] = {**environment(), **_VARIABLES, "PYTHONUNBUFFERED": unbuffered}
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
        commands = [CommandLine(words, program, _VARIABLES) for program, words in _PROGRAMS]
        results = run_forked(commands, output=writing, flags=("-W", "error"), to_the_end=True)
        for command, result in zip(commands, results, strict=True):
            self.assertEqual(result, (1, ""), command)
        self.assertEqual(self.run_into(writing, (*_AIRYD, "--help"), "1"), (1, ""))
        self.assertEqual(self.run_into(writing, (*_TWISTD, "--help"), "1"), (1, ""))

    def test_full_disk(self) -> None:
        """One line says that the text could not be written."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        for program in [(*_AIRYD, "--help"), (*_AIRYD, "tail", "--version"), (*_TWISTD, "--help")]:
            status, said = self.run_into(full, program, "")
            self.assertEqual(status, 1)
            self.assertRegex(said, r"\Aairyd[a-z ]*: cannot write: [^\n]+\n\Z")
