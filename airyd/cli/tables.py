"""Tables for a terminal: columns as wide as their texts, and short forms of bytes, durations and rates."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from airyd.cli.terminal import visible

#: Columns of the terminal between two columns of a table.
_GAP: Final = "  "
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
#: What stands for a value that is not known.
UNKNOWN: Final = "-"


class TableColumn(NamedTuple):
    """A column.

    :ivar is_number: whether its texts stand at its right edge
    :ivar widest: the most places; longer texts are cut off
    """

    title: str
    is_number: bool = False
    widest: int = 60


def table_lines(columns: Sequence[TableColumn], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, its head first; control characters in the texts are made visible."""
    cells = [
        [cut(visible(text), column.widest) for column, text in zip(columns, row, strict=True)]
        for row in [[column.title for column in columns], *rows]
    ]
    widths = [max(width_of(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        padded = [_pad(text, width, column.is_number) for text, width, column in zip(row, widths, columns, strict=True)]
        yield _GAP.join(padded).rstrip()


def width_of(text: str) -> int:
    """Return how many places of a terminal a text takes: two for East Asian wide characters and emoji."""
    return len(text) if text.isascii() else sum(map(_places, text))


def cut(text: str, width: int, mark: str = "…") -> str:
    """Return the text, cut off with a mark at its end if it is wider."""
    if width_of(text) <= width:
        return text
    left, kept = width - width_of(mark), ""
    for character in text:
        left -= _places(character)
        if left < 0:
            break
        kept += character
    return f"{kept}{mark}" if width > 0 else ""


def _places(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _pad(text: str, width: int, is_number: bool) -> str:
    space = " " * (width - width_of(text))
    return f"{space}{text}" if is_number else f"{text}{space}"


def byte_size(number: int | None) -> str:
    """Return a number of bytes, such as ``1.5 MiB``."""
    if number is None:
        return UNKNOWN
    size = float(number)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == _UNITS[0] or size >= 100 else f"{size:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit, such as ``1.5 s`` or ``3 h``."""
    if seconds is None:
        return UNKNOWN
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds < 0.05 else f"{seconds:.1f} s"


def rate(per_second: float | None) -> str:
    """Return a rate, such as ``12.5`` or ``12,500``."""
    if per_second is None:
        return UNKNOWN
    return f"{per_second:.1f}" if 0 < per_second < 100 else f"{per_second:,.0f}"
