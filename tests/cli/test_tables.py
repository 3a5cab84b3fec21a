"""Tables for a terminal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.tables import TableColumn, byte_size, cut, duration, rate, table_lines, width_of


class TableTests(SynchronousTestCase):
    """Columns."""

    def test_columns(self) -> None:
        columns = (TableColumn("name"), TableColumn("n", is_number=True), TableColumn("text", widest=5))
        lines = list(table_lines(columns, [["a", "1", "b\n"], ["你好", "100", "abcdef"]]))
        self.assertEqual(lines, ["name    n  text", "a       1  b\\n", "你好  100  abcd…"])

    def test_no_rows(self) -> None:
        self.assertEqual(list(table_lines((TableColumn("a"), TableColumn("b")), [])), ["a  b"])

    def test_cut(self) -> None:
        for text, width, expected in (
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("你好吗", 4, "你…"),
            ("你好吗", 5, "你好…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ):
            self.assertEqual(cut(text, width), expected)
            self.assertLessEqual(width_of(cut(text, width)), width)

    def test_width(self) -> None:
        for text, width in (("abc", 3), ("é", 1), ("e\u0301", 1), ("🎉", 2), ("你", 2)):
            self.assertEqual(width_of(text), width)


class FigureTests(SynchronousTestCase):
    """Short forms."""

    def test_bytes(self) -> None:
        for number, text in ((None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB")):
            self.assertEqual(byte_size(number), text)

    def test_duration(self) -> None:
        for seconds, text in ((None, "-"), (0.0, "0 s"), (1.26, "1.3 s"), (59, "59 s"), (90, "2 min"), (7200, "2 h")):
            self.assertEqual(duration(seconds), text)
        self.assertEqual(duration(3 * 86400), "3 d")

    def test_rate(self) -> None:
        for number, text in ((None, "-"), (0.0, "0"), (0.5, "0.5"), (12.34, "12.3"), (123456.7, "123,457")):
            self.assertEqual(rate(number), text)
