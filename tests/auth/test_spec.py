"""The words of an ``--auth``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.auth.spec import Words
from airyd.errors import ConfigurationError
from tests.leaks import MARK


class WordsTests(SynchronousTestCase):
    """Words are read strictly, and errors quote no value."""

    def refused(self, arguments: str) -> str:
        """Return the error of a parser that knows three words."""
        words = Words("x", arguments)

        def read() -> None:
            words.has("on")
            words.text("file")
            words.number("rate", 1, 0, 10)
            words.finish()

        text = str(self.assertRaises(ConfigurationError, read))
        self.assertTrue(text.startswith("--auth x: "), text)
        self.assertNotIn(MARK, text)
        return text

    def test_values(self) -> None:
        """A colon in a value is written with a backslash, unless a slash or a digit follows."""
        words = Words("x", r"on:file=a=b\:c:url=http://h:80/")
        self.assertTrue(words.has("on"))
        self.assertFalse(words.has("off"))
        self.assertEqual((words.text("file"), words.text("url"), words.text("no")), ("a=b:c", "http://h:80/", None))
        words.finish()

    def test_wrong(self) -> None:
        for arguments, said in (
            ("on=1", "parameter 'on' takes no value"),
            ("on=", "parameter 'on' takes no value"),
            ("file", "parameter 'file' needs a value: file=..."),
            ("file=", "parameter 'file' needs a value: file=..."),
            ("on:on", "parameter 'on' is given twice"),
            (f"rate={MARK}", "parameter 'rate' must be a number from 0 to 10"),
            ("flie=x", "unknown parameter 'flie'; did you mean file? These are known here: on, file=, rate="),
            ("colour=x", "unknown parameter 'colour'. These are known here: "),
            ("on:", "parameter 2 is empty"),
            (f"file=a:{MARK}", "parameter 2 is unknown (a colon within a value is written \\:)"),
            (f"{MARK}:{MARK}", "parameter 1 is unknown"),
        ):
            self.assertIn(said, self.refused(arguments))
