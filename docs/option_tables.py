"""Writes the tables of docs/options.rst from airyd's own options: ``python -m docs.option_tables``.

Exit status: 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from airyd.config.options import LIMIT, OPTIONS, SHOWING, Option

PAGE: Final = Path(__file__).parent / "options.rst"
#: Words that are shown as they are typed: options, addresses, and a lone asterisk.
_TYPED: Final = re.compile(r"(?<!\S)(\(?)(--[\w-]+|[\w*+-]+://[^\s,;]*[\w/*]|\?[\w=]+|\*)(?=[\s,;.:)]|$)")


def tables() -> dict[str, str]:
    """Return the parts of the page that are made, by the names of their markers."""
    known = [OPTIONS[name] for name in sorted(OPTIONS)]
    return {
        "options": _table("Option", (each for each in known if each.subject != LIMIT)),
        "limits": _table("Limit", (each for each in known if each.subject == LIMIT)),
        "flags": "".join(f"``--{name}``\n    Print {shown} and exit.\n" for name, shown in SHOWING.items()),
    }


def _table(head: str, options: Iterable[Option]) -> str:
    rows = [(f"``--{each.name}``", _default(each), _marked(each.explanation)) for each in options]
    return list_table((head, "Default", "Meaning"), rows, (20, 25, 55))


def list_table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return a table."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in [head, *rows]:
        for place, cell in enumerate(row):
            lines.append(f"   {'  -' if place else '* -'} {cell}".rstrip())
    return "\n".join([*lines, ""])


def _marked(text: str) -> str:
    return _TYPED.sub(r"\1``\2``", text.removeprefix("Limit: "))


def _default(option: Option) -> str:
    return f"``{option.default}``" if option.default else option.without


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with the parts between their markers, ``.. begin NAME`` and ``.. end NAME``."""
    for name, part in parts.items():
        before, begin, rest = page.partition(f".. begin {name}\n")
        _, end, after = rest.partition(f".. end {name}\n")
        if not end:
            raise ValueError(f"the page has no pair of markers for {name}")
        page = f"{before}{begin}\n{part}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), tables()))
    sys.stdout.write(f"written: docs/{PAGE.name}\n")
