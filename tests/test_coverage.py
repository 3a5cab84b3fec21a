"""The table of ``make coverage``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.coverage import by_room, table


class TableTests(SynchronousTestCase):
    """coverage.py's report on files becomes a line for each folder."""

    def test_rooms_and_the_whole(self) -> None:
        files = {
            f"airyd/{name}.py": {
                "summary": {
                    "covered_lines": lines,
                    "num_statements": 100,
                    "covered_branches": branches,
                    "num_branches": 10,
                }
            }
            for name, lines, branches in (("hub/one", 100, 10), ("hub/two", 99, 5), ("tap", 50, 10))
        }
        found = [" ".join(line.split()) for line in table(by_room(files)).splitlines()]
        expected = [
            "lines branches",
            "airyd 50/100 50.0 % 10/10 100.0 %",
            "airyd/hub 199/200 99.5 % 15/20 75.0 %",
            "all 249/300 83.0 % 25/30 83.3 %",
        ]
        self.assertEqual(expected, found)
