"""From measurements to a table: spread over the rounds, ratios between the servers, bounds kept or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Measurement
from bench.scenarios import Bound, Figure, Scenario, Target

#: The measurements of a scenario: those of each server, by its name, in the order of the rounds.
Measurements = Mapping[str, Sequence[Measurement]]

#: What the others are compared with.
_REFERENCES = ("autobahn", "C each", "C coalesce", "redis-py")
_TITLE_WIDTH = 32


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest value of a figure over the rounds."""

    least: float
    median: float
    greatest: float


def spread(figure: Figure, measurements: Sequence[Measurement]) -> Spread | None:
    """Return the spread of ``figure`` over the runs without faults, in the figure's unit; None without any."""
    values = [m.values[figure.key] * figure.scale for m in measurements if not m.faults and figure.key in m.values]
    return Spread(min(values), median(values), max(values)) if values else None


def ratio(of: Spread | None, to: Spread | None) -> float | None:
    """Return the ratio of two medians; None where there is none."""
    return of.median / to.median if of and to and to.median else None


def table(scenario: Scenario, measurements: Measurements) -> str:
    """Return the scenario's table for people: a line for each figure and server, then remarks and bounds."""
    compared = [name for name in _REFERENCES if name in measurements]
    columns = "".join(f"{'x ' + name:>14}" for name in compared)
    lines = [
        f"{scenario.name}: {scenario.title}",
        f"  {'':{_TITLE_WIDTH}}{'':12}{'min':>12}{'median':>12}{'max':>12}{columns}",
    ]
    for figure in scenario.figures:
        spreads = {name: spread(figure, runs) for name, runs in measurements.items()}
        title = figure.title
        for name, found in spreads.items():
            ratios = [ratio(found, spreads[reference]) if name != reference else None for reference in compared]
            lines.append(f"  {title:{_TITLE_WIDTH}}{name:12}" + _cells(figure, found, ratios))
            title = ""
    lines += [f"  ! {remark}" for remark in _remarks(measurements)]
    lines += [f"  {verdict}" for bound in scenario.bounds if (verdict := _verdict(scenario, bound, measurements))]
    lines += [f"  {verdict}" for target in scenario.targets if (verdict := _reached(scenario, target, measurements))]
    return "\n".join(line.rstrip() for line in lines)


def _cells(figure: Figure, found: Spread | None, ratios: Sequence[float | None]) -> str:
    numbers = (found.least, found.median, found.greatest) if found else (None, None, None)
    cells = [f"{'-' if number is None else format(number, f',.{figure.digits}f'):>12}" for number in numbers]
    return "".join(cells) + "".join(f"{'' if r is None else format(r, '.2f'):>14}" for r in ratios)


def _remarks(measurements: Measurements) -> Iterator[str]:
    for name, runs in measurements.items():
        for number, run in enumerate(runs, 1):
            yield from (f"{name}, round {number}: left out: {fault}" for fault in run.faults)
            yield from (f"{name}, round {number}: {doubt}" for doubt in run.doubts)


def _verdict(scenario: Scenario, bound: Bound, measurements: Measurements) -> str | None:
    figure = _figure(scenario, bound.key)
    found = ratio(spread(figure, measurements.get("airyd", ())), spread(figure, measurements.get(bound.against, ())))
    if found is None:
        return None
    kept = "kept" if found <= bound.at_most else "NOT KEPT"
    return f"bound {kept}: {figure.title}: {found:.2f}x of {bound.against}, at most {bound.at_most:.2f}x"


def _reached(scenario: Scenario, target: Target, measurements: Measurements) -> str | None:
    figure = _figure(scenario, target.key)
    found = spread(figure, measurements.get(target.server, ()))
    if found is None:
        return None
    is_reached = found.median >= target.value if target.is_least else found.median <= target.value
    verdict = "reached" if is_reached else "NOT REACHED"
    least_or_most = "least" if target.is_least else "most"
    number, wanted = (format(value, f",.{figure.digits}f") for value in (found.median, target.value))
    return f"target {verdict}: {target.server}: {figure.title}: {number}, at {least_or_most} {wanted}"


def _figure(scenario: Scenario, key: str) -> Figure:
    return next(figure for figure in scenario.figures if figure.key == key)
