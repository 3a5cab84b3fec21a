"""Run the tests and show how much of each folder's lines and branches they reach: ``python -m tests.coverage``.

Arguments go to pytest: ``python -m tests.coverage -m 'not long and not integration'`` runs the unit tests alone.
Processes that the tests start are measured, too. ``.coverage/html/index.html`` shows the lines.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
_REPORT: Final = ROOT / ".coverage/report.json"
#: All tests but the long ones.
_DEFAULT: Final = ("-m", "not long", "-n", "4")


class Reached(NamedTuple):
    """How many lines and branches the tests reach, and how many there are."""

    lines: int = 0
    of_lines: int = 0
    branches: int = 0
    of_branches: int = 0

    def plus(self, other: Reached) -> Reached:
        """Return the sum of both."""
        return Reached(*(one + more for one, more in zip(self, other, strict=True)))


def by_room(files: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Reached]:
    """Return the coverage of each folder, and of everything.

    :param files: from the JSON report of coverage.py: each file's ``summary``
    """
    rooms: dict[str, Reached] = defaultdict(Reached)
    for name, file in sorted(files.items()):
        found = file["summary"]
        reached = Reached(
            found["covered_lines"], found["num_statements"], found["covered_branches"], found["num_branches"]
        )
        for room in (str(Path(name).parent), "all"):
            rooms[room] = rooms[room].plus(reached)
    return rooms


def table(rooms: Mapping[str, Reached]) -> str:
    """Return a line for each folder; the last line is the total."""
    lines = [f"{'':<22}{'lines':>20}{'branches':>20}"]
    for room in sorted(rooms, key=lambda name: (name == "all", name)):
        reached = rooms[room]
        lines.append(
            f"{room:<22}{_part(reached.lines, reached.of_lines)}{_part(reached.branches, reached.of_branches)}"
        )
    return "\n".join(lines)


def _part(reached: int, total: int) -> str:
    # Rounded down, so that 100 % means every line.
    percent = f"{reached * 1000 // total / 10 if total else 100:.1f} %"
    return f"{reached}/{total}".rjust(12) + percent.rjust(8)


def main(arguments: Sequence[str]) -> None:
    """Run the tests, combine what all processes measured, and print the table."""

    def coverage(*words: str) -> int:
        return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode

    shutil.rmtree(_REPORT.parent, ignore_errors=True)
    _REPORT.parent.mkdir()
    status = coverage("run", "-m", "pytest", *(arguments or _DEFAULT))
    if coverage("combine", "--quiet") or coverage("json", "--quiet", "-o", str(_REPORT)):
        raise SystemExit("nothing was measured")
    coverage("html", "--quiet", "--directory", str(_REPORT.with_name("html")))
    print(table(by_room(json.loads(_REPORT.read_text())["files"])))
    raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
