"""Tests of ``airyd.stomp.recent``."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from airyd.stomp import recent
from airyd.stomp.recent import RecentNames


class RecentNamesTests(SynchronousTestCase):
    """Only the names added last are known."""

    def known(self, names: RecentNames, count: int) -> list[int]:
        """Return which of the numbers below ``count`` are known."""
        return [number for number in range(count) if ("a", number) in names]

    def test_the_last_ones(self) -> None:
        names = RecentNames(4)
        for count in range(20):
            self.assertEqual(self.known(names, 25), list(range(max(count - 4, 0), count)))
            names.add(("a", count))

    def test_memory(self) -> None:
        names = RecentNames(1000)
        for number in range(10_000):
            names.add(("a" * 100, number))
        self.assertLess(sys.getsizeof(names._hashes), 10_000)

    def test_names_of_any_kind(self) -> None:
        names = RecentNames(10)
        for name in (None, "", "a", ("a", 1), -1):
            self.assertNotIn(name, names)
            names.add(name)
            self.assertIn(name, names)

    def test_two_hashes_that_hold_another_between_them(self) -> None:
        hashes = {"a": b"12345678", "b": b"9abcdefg", "between": b"56789abc", "last": b"abcdefg1"}
        self.patch(recent, "_hash", lambda name: hashes[name])
        names = RecentNames(3)
        for name in ("a", "b"):
            names.add(name)
        self.assertNotIn("between", names)
        self.assertNotIn("last", names)
        names.add("between")
        self.assertIn("between", names)
