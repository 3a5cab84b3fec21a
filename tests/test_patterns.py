"""Patterns that match destinations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import AIRY_DESTINATIONS, DESTINATION
from airyd.patterns import Pattern

#: ``(pattern, destinations that it matches, destinations that it does not)``
TABLE = (
    ("/queue/message", ["/queue/message"], ["/queue/messages", "/queue", "/queue/message/x", "/queueXmessage"]),
    ("/queue/*", ["/queue/message", "/queue/a.b"], ["/queue", "/queue/", "/queue/channel/connected", "/topic/message"]),
    ("/queue/**", ["/queue/message", "/queue/channel/connected", "/queue/a/b/c"], ["/queue", "/queue/", "/queues/a"]),
    ("/queue/*/connected", ["/queue/channel/connected"], ["/queue/connected", "/queue/a/b/connected"]),
    ("/*/*", ["/queue/message"], ["/events", "/queue/channel/connected"]),
    ("/*", ["/events"], ["/queue/message"]),
    ("/**", ["/events", *AIRY_DESTINATIONS], ["/"]),
    ("/a.c", ["/a.c"], ["/abc"]),
    ("/a/", ["/a/"], ["/a", "/a/b"]),
)
WRONG = ("", "*", "queue/*", "/queue/a*", "/queue/*a", "/**/connected", "/queue/***", "/a b", "/a:b", "/a\n", "/ü")


class PatternTests(SynchronousTestCase):
    """What a pattern matches."""

    def test_table(self) -> None:
        for text, meant, others in TABLE:
            pattern = Pattern(text)
            self.assertEqual(pattern.text, text)
            self.assertEqual([name for name in meant + others if pattern.matches(name)], meant, text)

    def test_wrong(self) -> None:
        for text in WRONG:
            said = str(self.assertRaises(ValueError, Pattern, text))
            self.assertIn(repr(text), said)
            self.assertEqual(len(said.splitlines()), 1)

    def test_long(self) -> None:
        """A refusal quotes only the beginning of a long pattern."""
        self.assertLess(len(str(self.assertRaises(ValueError, Pattern, "/" + "!" * 10_000))), 500)

    @given(st.from_regex(DESTINATION, fullmatch=True))
    def test_a_destination_is_a_pattern(self, name: str) -> None:
        """A destination matches only itself, and ``/**`` matches it."""
        self.assertTrue(Pattern(name).matches(name))
        self.assertTrue(Pattern("/**").matches(name))
        self.assertFalse(Pattern(name).matches(f"{name}x"))
