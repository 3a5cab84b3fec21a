"""Pictures of a run, as SVG: latency percentiles, deliveries/s by subscribers, memory by connections.

The same results give the same bytes: no dates, no random ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from bench.report import spread
from bench.results import Results
from bench.scenarios import AIRYD, AUTOBAHN, C_COALESCE, C_EACH, CROWDS, FULL, LATENCIES, MEMORY, RATE_FIGURE, Figure

#: The colours of contenders, which the colour-blind can tell apart. Contenders that share no scenario come last.
_COLOURS: Final = {AIRYD: "#0072b2", AUTOBAHN: "#d55e00", C_EACH: "#009e73", C_COALESCE: "#56b4e9"}
_OTHER: Final = "#cc79a7"
_STYLE: Final[Any] = {  # matplotlib's type has all parameters
    "svg.hashsalt": "airyd",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
}
#: If latencies differ by more than this factor, their axis is logarithmic.
_WIDE: Final = 30
#: The scenarios whose latencies are drawn, with their titles.
_LATENCY_PANELS: Final = {
    "light": "1,000 subscribers, 10 events/s",
    "slow-readers": "50 events/s, with slow readers",
    "storm-beside": "500 subscribers beside a storm",
}


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw all pictures for which there are measurements; return their files."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, picture in PICTURES.items():
            canvas = picture(results)
            if canvas is not None:
                path = directory / f"{name}.svg"
                canvas.savefig(path, metadata={"Date": None, "Creator": None})
                # matplotlib writes spaces at the ends of lines.
                path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
                drawn.append(path)
    return drawn


def _latency(results: Results) -> Canvas | None:
    panels = {name: title for name, title in _LATENCY_PANELS.items() if name in results.scenarios}
    if not panels:
        return None
    canvas = Canvas(figsize=(3.2 * len(panels), 3.2), layout="constrained")
    for number, (name, title) in enumerate(panels.items(), 1):
        axes = canvas.add_subplot(1, len(panels), number)
        for contender, runs in results.scenarios[name].items():
            points = {figure.title.split()[1].rstrip(","): spread(figure, runs) for figure in LATENCIES}
            known = {label: point.median for label, point in points.items() if point is not None}
            axes.plot(list(known), list(known.values()), marker="o", label=contender, color=_colour(contender))
        axes.set_title(title, fontsize=9)
        least, greatest = axes.dataLim.intervaly
        if greatest > _WIDE * least:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
        else:
            axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        axes.set_ylabel("latency, ms" if number == 1 else "")
    return canvas


def _rate(results: Results) -> Canvas | None:
    lines = _by_number(results, [(crowd, f"saturated-{crowd}") for crowd in CROWDS], RATE_FIGURE)
    if not lines:
        return None
    canvas, axes = _single()
    for contender, points in lines.items():
        axes.plot(list(points), list(points.values()), marker="o", label=contender, color=_colour(contender))
    axes.set(xscale="log", yscale="log", xlabel="subscribers", ylabel="deliveries/s, 16 events in flight")
    axes.set_xticks(CROWDS)
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, place: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.legend(frameon=False)
    return canvas


def _memory(results: Results) -> Canvas | None:
    figure = Figure(MEMORY, "memory per connection, KiB")
    lines = _by_number(results, [(number, f"idle-{number}") for number in FULL.idle], figure)
    if not lines:
        return None
    canvas, axes = _single()
    for contender, points in lines.items():
        mebibytes = [number * each / 1024 for number, each in points.items()]
        axes.plot([0, *points], [0.0, *mebibytes], marker="o", label=contender, color=_colour(contender))
    axes.set(xlabel="idle connections, four subscriptions each", ylabel="memory beyond the start, MiB")
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return canvas


#: The pictures by file name.
PICTURES: Final[Mapping[str, Callable[[Results], Canvas | None]]] = MappingProxyType(
    {"latency": _latency, "deliveries": _rate, "memory": _memory}
)


def _by_number(results: Results, scenarios: list[tuple[int, str]], figure: Figure) -> dict[str, dict[int, float]]:
    """Return a figure's medians by contender, and then by the number in the scenario."""
    lines: dict[str, dict[int, float]] = {}
    for number, name in scenarios:
        for contender, runs in results.scenarios.get(name, {}).items():
            found = spread(figure, runs)
            if found is not None:
                lines.setdefault(contender, {})[number] = found.median
    return lines


def _single() -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(5.5, 3.6), layout="constrained")
    return canvas, canvas.add_subplot()


def _colour(contender: str) -> str:
    return _COLOURS.get(contender, _OTHER)


def _thousands(value: float, place: object) -> str:
    return f"{value:,.0f}"
