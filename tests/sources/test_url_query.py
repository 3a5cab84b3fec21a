"""The parameters of a source URL."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.sources.url_query import Query


class QueryTests(SynchronousTestCase):
    """Parameters are read strictly, and each error is one line."""

    def refused(self, function: Callable[..., object], *arguments: object) -> str:
        """Require that the call fails with a ``ConfigurationError``; return its text."""
        text = str(self.assertRaises(ConfigurationError, function, *arguments))
        self.assertEqual(text.splitlines(), [text])
        self.assertTrue(text.startswith("x: "), text)
        return text

    def test_none(self) -> None:
        for url in ("x:", "x:?", "x"):
            query = Query(url)
            self.assertIsNone(query.text("a"))
            self.assertEqual(query.integer("b", 7, 0, 10), 7)
            self.assertEqual(query.number("c", 0.5, 0.1, 10), 0.5)
            self.assertIs(query.flag("d"), False)
            self.assertEqual(query.choice("e", ("one", "two")), "one")
            query.finish()

    def test_values(self) -> None:
        query = Query("x:?text=a%20b%26%3D+c=d&number=-3&decimal=.25&on=1&off=0&empty=&choice=two")
        self.assertEqual(query.text("text"), "a b&=+c=d")
        self.assertEqual(query.integer("number", 7, -3, 10), -3)
        self.assertEqual(query.number("decimal", 1, 0.1, 10), 0.25)
        self.assertIs(query.flag("on"), True)
        self.assertIs(query.flag("off"), False)
        self.assertEqual(query.text("empty"), "")
        self.assertEqual(query.choice("choice", ("one", "two")), "two")
        query.finish()

    def test_not_printable(self) -> None:
        """Such characters are left out by some parsers, so that the host would be another one."""
        for url in ("x://h\n0/0", "x://h\x7f", "x:?a=1\t"):
            self.assertIn("not printable", self.refused(Query, url))

    def test_part_of_a_password(self) -> None:
        """A text without an equals sign may be a piece of a password with an ampersand: no error quotes it."""
        self.assertNotIn("swordfish", self.refused(Query, "x:?a=1&swordfish"))

    def test_unknown(self) -> None:
        query = Query("x:?histroy=5")
        query.integer("history", 7, 0, 10)
        query.text("file")
        self.assertEqual(
            self.refused(query.finish),
            "x: unknown parameter 'histroy'; did you mean history? These are known here: history, file",
        )

    def test_known_elsewhere(self) -> None:
        query = Query("x:?maxlen=5")
        query.text("history")
        self.assertEqual(
            self.refused(query.finish, {"maxlen": "mode=stream"}),
            "x: unknown parameter 'maxlen'; it is for mode=stream. These are known here: history",
        )

    def test_an_address(self) -> None:
        self.assertEqual(self.refused(Query("x://host?").finish), "x: nothing may stand between ':' and '?'")

    def test_twice(self) -> None:
        self.assertEqual(self.refused(Query("x:?a=1&%61=2").text, "a"), "x: parameter 'a' is given twice")

    def test_not_a_pair(self) -> None:
        for url in ("x:?a", "x:?a=1&", "x:?=1", "x:?&", "x:?a=1&&b=2"):
            self.refused(Query, url)

    def test_not_utf8(self) -> None:
        self.assertEqual(self.refused(Query, "x:?a=%ff"), "x: parameter 'a' is not UTF-8")

    def test_not_a_whole_number(self) -> None:
        for value in ("", "x", "1.0", "1e3", "1_0", "%201", "%2B1", "--1", "-", "64MiB", "\u0661", "9" * 5000):
            text = self.refused(Query(f"x:?n={value}").integer, "n", 7, 0, 10)
            self.assertIn("'n' must be a whole number from 0 to 10", text)

    def test_out_of_range(self) -> None:
        for value in ("-1", "11"):
            self.refused(Query(f"x:?n={value}").integer, "n", 7, 0, 10)

    def test_not_a_number(self) -> None:
        for value in ("", "x", "0", "0.09", "-1", "nan", "inf", "1e999", "10.1"):
            text = self.refused(Query(f"x:?n={value}").number, "n", 7, 0.1, 10)
            self.assertIn("'n' must be a number from 0.1 to 10", text)

    def test_not_a_flag(self) -> None:
        for value in ("", "yes", "true", "2"):
            self.refused(Query(f"x:?f={value}").flag, "f")

    def test_not_a_choice(self) -> None:
        for value in ("", "three", "ONE"):
            text = self.refused(Query(f"x:?c={value}").choice, "c", ("one", "two"))
            self.assertEqual(text, f"x: parameter 'c' must be one or two, not '{value}'")
