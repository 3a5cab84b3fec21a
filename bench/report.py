"""Makes reports of measurements: spread over the rounds, ratios between contenders, and whether bounds are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Measurement
from bench.results import Measurements
from bench.scenarios import AUTOBAHN, C_COALESCE, C_EACH, PICOWS, Bound, Figure, Scenario

#: The contenders with which the others are compared.
_REFERENCES = (AUTOBAHN, PICOWS, C_EACH, C_COALESCE, "redis-py")
_TITLE_WIDTH = 32
_NAME_WIDTH = 16
_NUMBER = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, median and greatest value of a figure over the rounds."""

    least: float
    median: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bound is kept.

    :ivar figure: the figure, the contender and the scenario
    :ivar found: the measured value and the bound, with units
    """

    figure: str
    found: str
    wanted: str
    is_kept: bool

    def __str__(self) -> str:
        return f"bound {'kept' if self.is_kept else 'NOT KEPT'}: {self.figure}: {self.found}, {self.wanted}"


def spread(figure: Figure, measurements: Sequence[Measurement]) -> Spread | None:
    """Return the spread of ``figure`` over the valid runs, in the figure's unit; None if there are none."""
    values = [value for each in measurements if (value := each.value(figure)) is not None]
    return Spread(min(values), median(values), max(values)) if values else None


def ratio(of: Spread | None, to: Spread | None) -> float | None:
    """Return the ratio of two medians; None if one is missing."""
    return of.median / to.median if of and to and to.median else None


def number(figure: Figure, value: float | None) -> str:
    """Return a figure's value in the form for tables."""
    return "-" if value is None else format(value, f",.{figure.digits}f")


def references(scenario: Scenario) -> list[str]:
    """Return the contenders with which the others are compared."""
    names = [contender.name for contender in scenario.contenders]
    known = [name for name in _REFERENCES if name in names]
    return known or (names[:1] if len(names) > 1 else [])


def table(scenario: Scenario, measurements: Measurements) -> str:
    """Return the scenario's table as text: a line for each figure and contender, then remarks."""
    compared = [name for name in references(scenario) if name in measurements]
    columns = "".join(f"{'x ' + name:>14}" for name in compared)
    lines = [
        f"{scenario.name}: {scenario.title}",
        f"  {'':{_TITLE_WIDTH}}{'':{_NAME_WIDTH}}{'min':>12}{'median':>12}{'max':>12}{columns}",
    ]
    for figure in scenario.figures:
        spreads = {name: spread(figure, runs) for name, runs in measurements.items()}
        title = figure.title
        for name, found in spreads.items():
            ratios = [ratio(found, spreads[reference]) if name != reference else None for reference in compared]
            lines.append(f"  {title:{_TITLE_WIDTH}}{name:{_NAME_WIDTH}}" + _cells(figure, found, ratios))
            title = ""
    lines += [f"  ! {remark}" for remark in remarks(measurements)]
    return "\n".join(line.rstrip() for line in lines)


def _cells(figure: Figure, found: Spread | None, ratios: Sequence[float | None]) -> str:
    values = (found.least, found.median, found.greatest) if found else (None, None, None)
    cells = [f"{number(figure, value):>12}" for value in values]
    return "".join(cells) + "".join(f"{'' if r is None else format(r, '.2f'):>14}" for r in ratios)


def remarks(measurements: Measurements) -> Iterator[str]:
    """Yield the remarks about single runs; remarks that differ only in numbers are joined."""
    for name, runs in measurements.items():
        said: dict[str, tuple[str, list[str]]] = {}
        for each, run in enumerate(runs, 1):
            for text in [*(f"left out: {fault}" for fault in run.faults), *run.doubts]:
                said.setdefault(_NUMBER.sub("#", text), (text, []))[1].append(str(each))
        for text, rounds in said.values():
            yield f"{name}, round {', '.join(rounds)}: {text}"


def verdicts(scenario: Scenario, results: Mapping[str, Measurements]) -> Iterator[Verdict]:
    """Yield whether each bound of the scenario is kept; bounds without a figure are skipped."""
    for bound in scenario.bounds:
        figure = scenario.figure(bound.key)
        own = spread(figure, results.get(scenario.name, {}).get(bound.of, ()))
        found = own.median if own else None
        if bound.against is not None:
            other = spread(figure, results.get(bound.beside or scenario.name, {}).get(bound.against, ()))
            found = ratio(own, other)
        if found is not None:
            yield _verdict(scenario, figure, bound, found)


def _verdict(scenario: Scenario, figure: Figure, bound: Bound, found: float) -> Verdict:
    least_or_most = "at least" if bound.is_least else "at most"
    what = f"{scenario.name}: {bound.of}: {figure.title}"
    is_kept = found >= bound.limit if bound.is_least else found <= bound.limit
    if bound.against is None:
        shown = _shown(found, bound.limit, figure.digits, is_kept)
        return Verdict(what, shown, f"{least_or_most} {number(figure, bound.limit)}", is_kept)
    against = bound.against if bound.beside is None else f"{bound.against} in {bound.beside}"
    shown = _shown(found, bound.limit, 2, is_kept)
    return Verdict(what, f"{shown}x of {against}", f"{least_or_most} {bound.limit:g}x", is_kept)


def _shown(found: float, limit: float, digits: int, is_kept: bool) -> str:
    """Return the value with ``digits`` decimals, or with more if a missed bound would otherwise look kept."""
    while not is_kept and round(found, digits) == round(limit, digits):
        digits += 1
    return format(found, f",.{digits}f")
