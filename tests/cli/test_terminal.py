"""What reaches standard output and standard error."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.terminal import OutputClosed, visible
from tests.cli.fakes import Screen


class VisibleTests(SynchronousTestCase):
    """What a terminal may be sent."""

    def test_table(self) -> None:
        for text, expected in [
            ("plain: ~", "plain: ~"),
            ("naïve 你好 🎉", "naïve 你好 🎉"),
            ("\x1b[31m", r"\x1b[31m"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
            ("\u202egnp\u2066", r"\u202egnp\u2066"),
            ("\u2028\u2029", r"\u2028\u2029"),
            ("\ud800", r"\ud800"),
        ]:
            self.assertEqual(expected, visible(text))


class ConsoleTests(SynchronousTestCase):
    """Results, and the rest."""

    def test_colour(self) -> None:
        for terminal, environ, expected in [
            (True, {"TERM": "xterm"}, True),
            (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
            (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
            (True, {"TERM": "dumb"}, False),
            (True, {}, False),
            (False, {"TERM": "xterm"}, False),
        ]:
            self.assertEqual(expected, Screen(terminal=terminal, environ=environ).console.colour, environ)

    def test_encoding_of_the_terminal(self) -> None:
        """What it can't show is escaped, and nothing fails."""
        screen = Screen(encoding="ascii")
        screen.console.show("ä")
        self.assertEqual("\\xe4\n", screen.out.text)

    def test_say(self) -> None:
        screen = Screen("airyd tail")
        screen.console.say("one\x1b\ntwo")
        self.assertEqual("airyd tail: one\\x1b\\ntwo\n", screen.err.text)

    def test_progress_in_a_pipe(self) -> None:
        screen = Screen()
        screen.console.progress("5 published")
        self.assertEqual("", screen.err.text)

    def test_progress_makes_way(self) -> None:
        """Whatever else is written does not stand behind the progress."""
        screen = Screen(follows=True)
        screen.console.progress("5 published")
        screen.console.write(b"id\n")
        screen.console.progress("6 published")
        screen.console.say("line 7: refused")
        self.assertEqual(
            "\r\x1b[Kairyd: 5 published\r\x1b[K\r\x1b[Kairyd: 6 published\r\x1b[Kairyd: line 7: refused\n",
            screen.err.text,
        )

    def test_broken_pipe(self) -> None:
        screen = Screen()
        screen.out.broken = BrokenPipeError()
        self.assertEqual("", self.assertRaises(OutputClosed, screen.console.write, b"x").reason)

    def test_nobody_hears_errors(self) -> None:
        screen = Screen()
        screen.err.broken = BrokenPipeError()
        screen.console.say("hello")
        screen.console.write(b"x\n")
        self.assertEqual("x\n", screen.out.text)
