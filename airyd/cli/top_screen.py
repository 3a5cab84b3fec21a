"""The screen of ``airyd top``: what stands on it, and curses, which draws it and reads the keys."""

from __future__ import annotations

import curses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol, TextIO

from airyd.cli.connections import COLUMNS, SORT_KEYS, list_cells
from airyd.cli.nodes import Node
from airyd.cli.tables import UNKNOWN, TableColumn, byte_size, cut, duration, rate, table_lines
from airyd.cli.terminal import Console, visible
from airyd.cli.top import NodeSample, NodeWatch, Wanted, stop_all
from airyd.cli.urls import node_name
from airyd.management.queries import ConnectionRow, ConnectionState, SortKey

#: What ``s`` sorts by, one after the other.
SORTS: Final = (SortKey.BUFFERED, SortKey.LAG, SortKey.DELIVERIES, SortKey.AGE)
#: Milliseconds between two checks whether there is something new to draw.
_TICK: Final = 100
#: The most connections that a node is asked for.
_MOST_ROWS: Final = 200
_NODE_COLUMNS: Final = (
    TableColumn("node"),
    TableColumn("state"),
    TableColumn("connections", is_number=True),
    TableColumn("slow", is_number=True),
    TableColumn("catching up", is_number=True),
    TableColumn("events/s", is_number=True),
    TableColumn("deliveries/s", is_number=True),
    TableColumn("lag", is_number=True),
    TableColumn("buffered", is_number=True),
)


class Look(Enum):
    """How a line looks."""

    PLAIN = auto()
    TITLE = auto()
    HEAD = auto()
    WARNING = auto()
    BAD = auto()


class ScreenLine(NamedTuple):
    """A line of the screen; its text has no control characters."""

    text: str
    look: Look = Look.PLAIN


_STATE_LOOKS: Final[Mapping[ConnectionState, Look]] = {
    ConnectionState.SLOW: Look.BAD,
    ConnectionState.CATCHING_UP: Look.WARNING,
}


def screen_lines(
    urls: Sequence[str], samples: Mapping[str, NodeSample], sort: SortKey, width: int, height: int, now: float
) -> list[ScreenLine]:
    """Return the lines of the screen, each cut to its width, and no more than fit.

    :param samples: the last look at each node; nodes that were not looked at yet have none
    :param now: seconds since 1970
    """
    lines = [ScreenLine(f"airyd top {datetime.fromtimestamp(now):%H:%M:%S}   q: quit   s: sort", Look.TITLE)]
    lines += _node_lines(urls, samples)
    for url in urls:
        sample = samples.get(url)
        if sample is not None and sample.overview is not None:
            lines += [
                ScreenLine(visible(f"{node_name(url)}: {each}"), Look.WARNING) for each in sample.overview.warnings
            ]
    lines.append(ScreenLine(""))
    lines.append(ScreenLine(f"connections by {sort.value}", Look.TITLE))
    lines += _connection_lines(urls, samples, sort, height - len(lines) - 1, now)
    return [ScreenLine(cut(text, width), look) for text, look in lines[:height]]


def _node_lines(urls: Sequence[str], samples: Mapping[str, NodeSample]) -> Iterator[ScreenLine]:
    rows, looks = [], []
    failed: list[ScreenLine] = []
    for url in urls:
        sample = samples.get(url)
        if sample is None or sample.overview is None:
            rows.append([node_name(url), "waiting" if sample is None else "no answer", *[UNKNOWN] * 7])
            looks.append(Look.PLAIN if sample is None else Look.BAD)
            if sample is not None:
                failed.append(ScreenLine(visible(sample.failure or ""), Look.BAD))
            continue
        overview = sample.overview
        rows.append([node_name(url), "ready" if overview.ready else "not ready", *_figures([sample])])
        looks.append(Look.PLAIN if overview.ready else Look.BAD)
    if len(urls) > 1:
        rows.append(["all", "", *_figures([each for each in samples.values() if each.overview is not None])])
        looks.append(Look.TITLE)
    head, *lines = table_lines(_NODE_COLUMNS, rows)
    yield ScreenLine(head, Look.HEAD)
    yield from map(ScreenLine, lines, looks)
    yield from failed


def _figures(samples: Sequence[NodeSample]) -> list[str]:
    """Return the sums of nodes that answered; the lag and the events are the largest, since all read the same feed."""
    overviews = [each.overview for each in samples if each.overview is not None]
    lags = [each.lag_seconds for each in overviews if each.lag_seconds is not None]
    events = [each.events_per_second for each in samples if each.events_per_second is not None]
    deliveries = [each.deliveries_per_second for each in samples if each.deliveries_per_second is not None]
    return [
        str(sum(each.connections for each in overviews)),
        str(sum(each.slow for each in overviews)),
        str(sum(each.catching_up for each in overviews)),
        rate(max(events, default=None)),
        rate(sum(deliveries) if deliveries else None),
        duration(max(lags, default=None)),
        byte_size(sum(each.buffered for each in overviews)),
    ]


def _connection_lines(
    urls: Sequence[str], samples: Mapping[str, NodeSample], sort: SortKey, height: int, now: float
) -> Iterator[ScreenLine]:
    found: list[tuple[str, ConnectionRow]] = [
        (url, row) for url in urls if url in samples for row in samples[url].connections
    ]
    found.sort(key=lambda each: SORT_KEYS[sort](each[1]))
    del found[max(0, height) :]
    has_nodes = len(urls) > 1
    columns = (TableColumn("node"), *COLUMNS) if has_nodes else COLUMNS
    cells = [[*((node_name(url),) if has_nodes else ()), *list_cells(row, now)] for url, row in found]
    head, *lines = table_lines(columns, cells)
    yield ScreenLine(head, Look.HEAD)
    for line, (_, row) in zip(lines, found, strict=True):
        yield ScreenLine(line, _STATE_LOOKS.get(row.state, Look.PLAIN))


class ScreenWindow(Protocol):
    """What of a window of curses is used."""

    def getmaxyx(self) -> tuple[int, int]:
        """Return its height and width."""

    def erase(self) -> None:
        """Clear it."""

    def addstr(self, y: int, x: int, text: str, attributes: int, /) -> None:
        """Write a text; raises ``curses.error`` at the very end of the window."""

    def refresh(self) -> None:
        """Show what was written."""

    def timeout(self, milliseconds: int, /) -> None:
        """Let ``getch`` wait only so long."""

    def getch(self) -> int:
        """Return a key, or -1 if none was pressed."""


class TopScreen:
    """The screen, which changes until ``q``.

    :param interval: seconds between two looks at a node
    :param wall: returns seconds since 1970
    :param encoding: the terminal's
    """

    def __init__(self, nodes: Sequence[Node], interval: float, wall: Callable[[], float], encoding: str) -> None:
        self._urls = [node.url for node in nodes]
        self._wall = wall
        self._encoding = encoding
        self._samples: dict[str, NodeSample] = {}
        self._has_news = True
        self._wanted = Wanted(SORTS[0], _MOST_ROWS)
        self._watches = [NodeWatch(node, interval, lambda: self._wanted, self._on_sample) for node in nodes]

    def run(self, window: ScreenWindow, attributes: Mapping[Look, int]) -> None:
        """Show the nodes until ``q`` is pressed.

        :param attributes: those of curses
        """
        self._fit(window)
        running = [watch.start() for watch in self._watches]
        window.timeout(_TICK)
        try:
            while True:
                for each in running:
                    if each.done():
                        each.result()  # a watch ends by itself only if there is an error in it
                if self._has_news:
                    self._has_news = False
                    self._draw(window, attributes)
                match window.getch():
                    case -1:
                        continue
                    case key if key in (ord("q"), ord("Q")):
                        return
                    case key if key in (ord("s"), ord("S")):
                        self._sort_by_next()
                self._has_news = True  # also after a change of the window's size, which curses reports as a key
        finally:
            stop_all(self._watches, running)

    def _sort_by_next(self) -> None:
        place = SORTS.index(self._wanted.sort)
        self._wanted = self._wanted._replace(sort=SORTS[(place + 1) % len(SORTS)])
        for watch in self._watches:
            watch.look()

    def _on_sample(self, sample: NodeSample) -> None:
        self._samples[sample.url] = sample
        self._has_news = True

    def _fit(self, window: ScreenWindow) -> tuple[int, int]:
        """Ask for as many connections as the window has lines from now on; return its height and width."""
        height, width = window.getmaxyx()
        self._wanted = self._wanted._replace(rows=min(height, _MOST_ROWS))
        return height, width

    def _draw(self, window: ScreenWindow, attributes: Mapping[Look, int]) -> None:
        height, width = self._fit(window)
        window.erase()
        samples = dict(self._samples)
        lines = screen_lines(self._urls, samples, self._wanted.sort, width - 1, height, self._wall())
        for number, (text, look) in enumerate(lines):
            shown = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
            window.addstr(number, 0, cut(shown, width - 1, mark=""), attributes[look])
        window.refresh()


def has_screen(console: Console, keyboard: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Return whether curses can draw on standard output and read keys from standard input."""
    if not console.terminal or keyboard is None or not keyboard.isatty() or environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        curses.setupterm()
    except curses.error:  # a terminal that this machine does not know
        return False
    return bool(curses.tigetstr("cup"))  # it can move its cursor


def show_top(screen: TopScreen, console: Console) -> int:
    """Show the screen on the terminal, which is put back in order afterwards; return the exit status."""

    def run(window: curses.window) -> None:
        with suppress(curses.error):  # a terminal that cannot hide its cursor
            curses.curs_set(0)
        screen.run(window, _attributes(console.colour))

    curses.wrapper(run)
    return 0


def _attributes(has_colours: bool) -> Mapping[Look, int]:
    plain = {
        Look.PLAIN: curses.A_NORMAL,
        Look.TITLE: curses.A_BOLD,
        Look.HEAD: curses.A_REVERSE,
        Look.WARNING: curses.A_NORMAL,
        Look.BAD: curses.A_BOLD,
    }
    if not (has_colours and curses.has_colors()):
        return plain
    curses.use_default_colors()
    curses.init_pair(1, curses.COLOR_YELLOW, -1)
    curses.init_pair(2, curses.COLOR_RED, -1)
    return {**plain, Look.WARNING: curses.color_pair(1), Look.BAD: curses.color_pair(2)}
