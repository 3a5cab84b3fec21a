"""Write a run into docs/performance.rst: the tables and pictures, and the run's data, so that a test can compare them.

``python -m bench.page FILE`` takes the results of an earlier ``make bench``; ``make bench ARGS=--write-docs`` takes its
own.

Exit status: 0, 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import instructions
from bench.catalogue import scenarios
from bench.measure import Measurement
from bench.pictures import draw
from bench.profile import ENTRY
from bench.report import number, ratio, references, spread, verdicts
from bench.results import Results, read
from bench.scenarios import SIZES, Scenario
from bench.servers import ROOT

PAGE: Final = ROOT / "docs" / "performance.rst"
#: The folder of the run and its pictures.
KEPT: Final = ROOT / "docs" / "performance"
RUN: Final = KEPT / "run.json"
#: How many functions of a profile are shown.
_FUNCTIONS: Final = 6

_Rows = Sequence[Sequence[str]]


def sections(results: Results, limits: Mapping[str, float]) -> dict[str, str]:
    """Return the generated parts of the page by the names of their markers.

    :param limits: the stored ratios of ``bench.instructions``
    """
    known = [scenario for scenario in scenarios(SIZES[results.size]) if scenario.name in results.scenarios]
    judged = [verdict for scenario in known for verdict in verdicts(scenario, results.scenarios)]
    targets = [(v.figure, v.found, v.wanted, "kept" if v.is_kept else "**not kept**") for v in judged]
    machine = [("measured", results.at), ("size", results.size), *results.machine.items()]
    return {
        "machine": _table(("What", "Which"), machine),
        "targets": _table(("Figure", "Measured", "Target", ""), targets),
        "figures": "\n".join(_scenario(scenario, results) for scenario in known),
        "profile": _profile(results),
        "instructions": _table(
            ("Piece of work", "Instructions, as multiples of a bare send"),
            [(name, format(limit, ",.2f")) for name, limit in limits.items()],
        ),
    }


def _scenario(scenario: Scenario, results: Results) -> str:
    found = results.scenarios[scenario.name]
    compared = [name for name in references(scenario) if name in found]
    rows = []
    for figure in scenario.figures:
        spreads = {name: spread(figure, runs) for name, runs in found.items()}
        for name, each in spreads.items():
            ratios = [ratio(each, spreads[other]) if name != other else None for other in compared]
            extremes = f"{number(figure, each.least)} to {number(figure, each.greatest)}" if each else ""
            cells = [figure.title, name, number(figure, each.median if each else None), extremes]
            rows.append([*cells, *("" if r is None else f"{r:.2f}" for r in ratios)])
    head = ("Figure", "Of", "Median", "Least to greatest", *(f"x {name}" for name in compared))
    rounds = max((len(runs) for runs in found.values()), default=0)
    title = f"``{scenario.name}``: {scenario.title}. Rounds: {rounds}."
    return f"{title}\n\n{_table(head, rows)}"


def _profile(results: Results) -> str:
    rows = []
    for name, runs in results.scenarios.get("profile", {}).items():
        for run in runs:
            entries = [(key.removeprefix(ENTRY), share) for key, share in run.values.items() if key.startswith(ENTRY)]
            rows += [(name, f"``{function}``", f"{share:.1f}") for function, share in entries[:_FUNCTIONS]]
    return _table(("Load", "Function", "Per cent of the time, in itself"), rows)


def _table(head: Sequence[str], rows: _Rows) -> str:
    """Return a list-table; an empty text if there are no rows."""
    if not rows:
        return "Not measured in this run.\n"
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for place, cell in enumerate(row):
            lines.append(f"   {'* -' if not place else '  -'} {cell}".rstrip())
    return "\n".join([*lines, ""])


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with these parts between their markers, ``.. begin NAME`` and ``.. end NAME``.

    :raises ValueError: a marker is missing or repeated
    """
    for name, part in parts.items():
        begin, end = f".. begin {name}\n", f".. end {name}\n"
        if (page.count(begin), page.count(end)) != (1, 1):
            raise ValueError(f"the page needs exactly one pair of markers for {name}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return page


def slim(results: Results) -> Results:
    """Return the results reduced to the figures that are shown, with their faults and doubts."""
    shown: dict[str, dict[str, list[Measurement]]] = {}
    for scenario in scenarios(SIZES[results.size]):
        keys = {*(figure.key for figure in scenario.figures), "server_cpu_pct", "client_cpu_pct", "machine_steal_pct"}
        for name, runs in results.scenarios.get(scenario.name, {}).items():
            slimmed = [
                replace(run, values={k: v for k, v in run.values.items() if k in keys or k.startswith(ENTRY)})
                for run in runs
            ]
            shown.setdefault(scenario.name, {})[name] = slimmed
    return replace(results, scenarios=shown)


def write(path: Path) -> list[Path]:
    """Put the run in ``path`` into the documents; return the files that were written."""
    results = slim(read(path))
    results.write(RUN)
    PAGE.write_text(filled(PAGE.read_text(), sections(results, instructions.kept())))
    return [RUN, PAGE, *draw(results, KEPT)]


def main(arguments: Sequence[str]) -> int:
    """Write the run that ``arguments`` name; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description="Write a run into docs/performance.rst.")
    parser.add_argument("run", type=Path, nargs="?", default=RUN, help="default: the run that is stored there")
    for path in write(parser.parse_args(arguments).run):
        sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
