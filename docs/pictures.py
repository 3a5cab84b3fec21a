"""Draws the pictures of README.rst and docs/, as SVG: ``python -m docs.pictures``.

The same code gives the same bytes. What ``make run`` prints is taken from the program itself.

Exit status: 0.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from airyd.runtime.first_steps import Hints

FOLDER: Final = Path(__file__).parent / "pictures"
_SANS: Final = "Helvetica, Arial, sans-serif"
_MONO: Final = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# The terminal.
_COLUMN: Final = 7.4
_LINE: Final = 18
_COLOURS: Final = {"dim": "#8b949e", "cyan": "#56d4dd", "green": "#7ee787", "yellow": "#e3b341", "plain": "#e6edf3"}

#: What ``airyd tail`` prints of a feed: the time, the destination with its colour, and the event in words.
TAIL: Final = (
    ("23:35:04", "channel/connected", "cyan", "channel 1710… chat_plugin: Website chat"),
    ("23:35:05", "message", "green", "conversation b474… source_contact: The jacket is lovely, but too small."),
    ("23:35:05", "unread-count", "yellow", "conversation b474…: 1 unread"),
    ("23:35:06", "unread-count", "yellow", "conversation b474…: 0 unread"),
    ("23:35:07", "message", "green", "conversation b474… app_user: We're open from 10 to 6, on Sundays too. (pending)"),
)


class _Span(NamedTuple):
    text: str
    colour: str = "plain"


def hints(admin: str, clients: str) -> list[str]:
    """Return the lines that ``make run`` prints as soon as airyd listens at these URLs."""
    shown: list[str] = []
    observer = Hints(".venv/bin", shown.append)
    observer({"log_format": "airyd admin at {url}", "url": admin})
    observer({"log_format": "airyd serves {url}", "url": clients})
    return shown[0].strip("\n").splitlines()


def terminal() -> str:
    """Draw ``make run`` and, in a second terminal, ``airyd tail``."""
    url = "ws://127.0.0.1:8080/ws.communication"
    prompt = _Span("$ ", "dim")
    first = [[prompt, _Span("make run")], *([_Span(line)] for line in hints("http://127.0.0.1:8081/", url))]
    second = [[prompt, _Span(f".venv/bin/airyd tail {url}")]]
    second += [
        [_Span(f"{at} ", "dim"), _Span(f"{name:<20}", colour), _Span(f"  {text}")] for at, name, colour, text in TAIL
    ]
    widest = max(sum(len(span.text) for span in line) for line in (*first, *second))
    width = round(widest * _COLUMN) + 48
    parts, top = [], 0
    for lines in (first, second):
        height = len(lines) * _LINE + 52
        parts.append(_window(top, width, height, lines))
        top += height + 14
    return _svg(width, top - 14, "make run in one terminal, and airyd tail in another", parts)


def _window(top: int, width: int, height: int, lines: list[list[_Span]]) -> str:
    parts = [f'<rect x="0" y="{top}" width="{width}" height="{height}" rx="8" fill="#0d1117"/>']
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        parts.append(f'<circle cx="{20 + 18 * number}" cy="{top + 18}" r="5.5" fill="{colour}"/>')
    for number, line in enumerate(lines):
        spans = "".join(f'<tspan fill="{_COLOURS[span.colour]}">{escape(span.text)}</tspan>' for span in line)
        y = top + 52 + number * _LINE
        parts.append(f'<text x="20" y="{y}" font-family="{_MONO}" font-size="12.3" xml:space="preserve">{spans}</text>')
    return "\n".join(parts)


class _Box(NamedTuple):
    left: int
    top: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    fill: str = "#ffffff"
    #: Whether the title stands at the top, above other boxes.
    holds_others: bool = False


_INSIDE: Final = "#dbeafe"
_BOXES: Final = (
    _Box(10, 40, 170, 200, "Publishers", ("POST /publish/…", "airyd publish", "SEND, if allowed", "XADD or PUBLISH")),
    _Box(240, 10, 530, 260, "airyd", fill="#f6f8fa", holds_others=True),
    _Box(260, 50, 150, 90, "Source", ("memory, sample,", "Redis"), _INSIDE),
    _Box(260, 170, 150, 80, "History", ("for clients", "that come back"), _INSIDE),
    _Box(440, 50, 140, 90, "Hub", ("one frame", "for many clients"), _INSIDE),
    _Box(440, 170, 140, 80, "Replay", ("missed events,", "in order"), _INSIDE),
    _Box(610, 50, 140, 90, "WebSocket", ("STOMP: one send", "for each client"), _INSIDE),
    _Box(870, 40, 120, 200, "Clients", ("browsers", "programs", "airyd tail")),
)
#: Where the text of an arrow stands: left of airyd, or right of it.
_MIDDLE_OF_GAP: Final = {True: 210, False: 820}
#: From where to where, and what goes there.
_ARROWS: Final = (
    ((180, 95), (260, 95), "event"),
    ((410, 95), (440, 95), ""),
    ((580, 95), (610, 95), ""),
    ((750, 85), (870, 85), "MESSAGE"),
    ((870, 125), (750, 125), "SUBSCRIBE"),
    ((335, 140), (335, 170), ""),
    ((410, 210), (440, 210), ""),
    ((580, 210), (680, 140), ""),
)


def data_path() -> str:
    """Draw the way of an event from its publisher to the clients."""
    parts = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#1f4e8c"/></marker></defs>',
        '<rect x="0" y="0" width="1000" height="280" fill="#ffffff"/>',
    ]
    parts += [_drawn(box) for box in _BOXES]
    for (x1, y1), (x2, y2), text in _ARROWS:
        line = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
        parts.append(f'<line {line} stroke="#1f4e8c" stroke-width="2" marker-end="url(#tip)"/>')
        if text:
            parts.append(_text(_MIDDLE_OF_GAP[x1 < 240], y1 - 8, text, 12, "#57606a"))
    return _svg(1000, 280, "The way of an event: publisher, source, hub, WebSocket, client", parts)


def _drawn(box: _Box) -> str:
    place = f'x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}"'
    parts = [f'<rect {place} rx="8" fill="{box.fill}" stroke="#8c959f"/>']
    middle = box.left + box.width // 2
    first = box.top + 26 if box.holds_others else box.top + (box.height - 20 * len(box.lines)) // 2 + 4
    parts.append(_text(middle, first, box.title, 15, "#1f2328", is_bold=True))
    parts += [_text(middle, first + 21 + 18 * n, line, 13, "#57606a") for n, line in enumerate(box.lines)]
    return "\n".join(parts)


def _text(x: int, y: int, text: str, size: int, colour: str, *, is_bold: bool = False) -> str:
    weight = ' font-weight="bold"' if is_bold else ""
    style = f'font-family="{_SANS}" font-size="{size}"{weight} fill="{colour}" text-anchor="middle"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>", ""])


#: Each picture by the name of its file.
PICTURES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {"terminal.svg": terminal, "data-path.svg": data_path}
)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw())
        sys.stdout.write(f"written: docs/{FOLDER.name}/{name}\n")
