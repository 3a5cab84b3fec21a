"""Tests for bench.run: what it says where it can't measure."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import run
from bench.run import main


class EquipmentTests(SynchronousTestCase):
    """The load generator is a program of its own, which may not be there."""

    def run_with(self, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
        """Run the benchmarks; return the exit status and what went to standard error."""
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            status = main(["--quick", *arguments], environment)
        return status, errors.getvalue()

    def test_without_the_variable_it_says_so_in_a_line(self) -> None:
        status, said = self.run_with({})
        self.assertEqual(status, 2)
        self.assertEqual(said.count("\n"), 1)
        self.assertIn("AIRYD_WSLOAD_DIR is not set", said)

    def test_a_directory_without_the_program_is_said(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        status, said = self.run_with({"AIRYD_WSLOAD_DIR": str(directory)})
        self.assertEqual(status, 2)
        self.assertEqual(said.count("\n"), 1)
        self.assertIn("without the program wsload", said)

    def test_the_intake_without_redis_server_is_said(self) -> None:
        self.patch(run, "missing", lambda: "the program redis-server is missing")
        status, said = self.run_with({}, "--scenario", "intake")
        self.assertEqual((status, said), (2, "bench: the program redis-server is missing\n"))

    def test_without_redis_server_the_others_still_run(self) -> None:
        self.patch(run, "missing", lambda: "the program redis-server is missing")
        _, said = self.run_with({})
        self.assertEqual(said.splitlines()[0], "bench: intake is left out: the program redis-server is missing")
