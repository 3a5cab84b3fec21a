"""The completions that zsh gets."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.main import main
from airyd.cli.options import COMMANDS
from tests.cli.test_wrong_values import all_options


class CompletionTests(SynchronousTestCase):
    """The answer to Twisted's function ``_twisted``."""

    def answer(self, *words: str) -> str:
        """Return what is printed for a command line that ends with an empty word."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        status = self.assertRaises(SystemExit, main, [*words, "--_shell-completion", f"zsh:{len(words) + 2}"]).code
        self.assertEqual(0, status)
        self.assertTrue(out.getvalue().startswith("#compdef "))
        return out.getvalue()

    def test_commands(self) -> None:
        self.assertIn(f"'1:command:({' '.join(COMMANDS)})'", self.answer())

    def test_options(self) -> None:
        """Each option has its help, whatever was typed before."""
        for (name, option), takes_value in all_options().items():
            for typed in ([], ["--no-such"], ["/queue/message"]) if name else ([],):
                answer = self.answer(*filter(None, [name]), *typed)
                self.assertRegex(answer, rf"'(\(-\w\)|\*)?--{option}{'=' if takes_value else ''}\[\w")

    def test_files(self) -> None:
        self.assertRegex(self.answer("publish"), r"'--ca-file=\[.*\]:FILE:_files'")
