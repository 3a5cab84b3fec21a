"""Count the instructions of a delivery with Callgrind: figures without noise, and limits for them.

The counts depend on how Python was compiled; their ratio to a bare loop of ``socket.send`` hardly does. Two builds of
3.11 differed by 11 % in the counts, and by 1.5 % in the ratio. So the ratios are stored (``instructions.json``) and
compared. The kernel's instructions are not counted: they are the same for every program that calls ``send``.

Exit status: 0, 1 (more than the limit), 2 (can't count here, or wrong arguments).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.counted import FLOOR, MARK
from bench.servers import ROOT

LIMITS: Final = ROOT / "bench" / "instructions.json"
#: How far a ratio may be above the stored one: more than builds of Python differ, less than the 5 % to be noticed.
ALLOWED: Final = 1.03
#: Seconds after which the count is given up; an idle machine needs 15, a busy one may take very long.
PATIENCE: Final = 3600.0

_RENEWAL: Final = (
    "After a change that is meant to cost or to save instructions: python -m bench.instructions --renew, then "
    "python -m bench.page for docs/performance.rst; and say in the commit why they changed."
)
_SUMMARY: Final = re.compile(r"^summary: (\d+)$", re.MULTILINE)


class CannotCount(Exception):
    """Counting failed; the text says why in one line."""


def count() -> dict[str, float]:
    """Return the instructions per piece of each kind (``bench.counted``).

    :raises CannotCount: there is no Valgrind, or the program failed
    """
    if shutil.which("valgrind") is None:
        raise CannotCount("the program valgrind is missing")
    with tempfile.TemporaryDirectory(prefix="airyd-bench-") as directory:
        out = Path(directory, "out")
        command = [
            *("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"),
            *(sys.executable, "-m", "bench.counted"),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        try:
            done = subprocess.run(  # noqa: S603  # no shell
                command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=True
            )
        except subprocess.TimeoutExpired:
            raise CannotCount(f"it did not end within {PATIENCE:.0f} s") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
            raise CannotCount(f"it ended with status {error.returncode}: {said[-1]}") from None
        pieces = json.loads(done.stdout)
        # One file for each mark, in order; the second mark of each pair has the counts of the pieces.
        dumps = [Path(f"{out}.{2 * number}").read_text() for number in range(1, len(pieces) + 1)]
    return {name: instructions(dump) / pieces[name] for name, dump in zip(pieces, dumps, strict=True)}


def instructions(dump: str) -> int:
    """Return the sum of instructions in a dump of Callgrind (its manual, "Callgrind Format").

    :raises CannotCount: it is not such a dump
    """
    found = _SUMMARY.search(dump)
    if found is None:
        raise CannotCount("Callgrind wrote no summary")
    return int(found[1])


def ratios(counts: Mapping[str, float]) -> dict[str, float]:
    """Return the counts as multiples of a bare send."""
    return {name: number / counts[FLOOR] for name, number in counts.items() if name != FLOOR}


def kept() -> dict[str, float]:
    """Return the ratios that are stored in the tree."""
    limits: dict[str, float] = json.loads(LIMITS.read_text())["ratios"]
    return limits


def exceeded(found: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """Return one line for each ratio that is above its limit, or has no counterpart."""
    lines = [f"{name}: only counted or only kept" for name in sorted(found.keys() ^ limits.keys())]
    for name in limits:
        if name in found and found[name] > limits[name] * ALLOWED:
            more = 100 * (found[name] / limits[name] - 1)
            lines.append(f"{name}: {found[name]:.3f} bare sends, {more:.1f} % more than the {limits[name]:.3f} kept")
    return lines


def table(counts: Mapping[str, float], limits: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of a table for people."""
    yield f"{'':36}{'instructions':>12}{'x bare send':>14}{'kept':>10}"
    found = ratios(counts)
    for name, number in counts.items():
        line = f"{name:36}{number:12,.0f}"
        if name in found:
            line += f"{found[name]:14.3f}"
        if name in found and name in limits:
            line += f"{limits[name]:10.3f}{100 * (found[name] / limits[name] - 1):+8.1f} %"
        yield line


def _renew(found: Mapping[str, float]) -> None:
    kept = {"renew": _RENEWAL, "python": platform.python_version(), "ratios": found}
    LIMITS.write_text(json.dumps(kept, indent=1) + "\n")


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(line.rstrip() + "\n" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Count, print and compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description="Count instructions.")
    parser.add_argument("--renew", action="store_true", help="store these ratios, to compare later ones with")
    wanted = parser.parse_args(arguments)
    try:
        counts = count()
    except CannotCount as error:
        sys.stderr.write(f"bench.instructions: {error}\n")
        return 2
    _print(table(counts, kept()))
    if wanted.renew:
        _renew({name: round(ratio, 4) for name, ratio in ratios(counts).items()})
        return 0
    too_much = exceeded(ratios(counts), kept())
    _print(f"MORE THAN ALLOWED: {line}" for line in too_much)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
