"""Writes the tables of docs/options.rst from airyd's own options: ``python -m docs.option_tables``.

Exit status: 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from airyd.config.options import Options
from airyd.limits import LIMITS

PAGE: Final = Path(__file__).parent / "options.rst"
_DEFAULT: Final = re.compile(r"\s*\[default: (.*)\]")
#: Words that are shown as they are typed: options, addresses, and a lone asterisk.
_TYPED: Final = re.compile(r"(?<!\S)(\(?)(--[\w-]+|[\w*+-]+://[^\s,;]*[\w/*]|\?[\w=]+|\*)(?=[\s,;.:)]|$)")


class Option(NamedTuple):
    """An option as the page shows it.

    :ivar default: empty if it has none
    """

    name: str
    takes_a_value: bool
    default: str
    meaning: str


def options() -> list[Option]:
    """Return the options of ``twistd airyd`` by their names."""
    parser = Options()
    found = []
    for name, long in sorted((long.rstrip("="), long) for long in parser.longOpt):
        text = " ".join(str(parser.docs[name]).split())
        default = _DEFAULT.search(text)  # an option that may be repeated says its default in its help
        value = parser.defaults.get(name, "" if default is None else default[1])
        found.append(Option(f"--{name}", long.endswith("="), str(value), _DEFAULT.sub("", text)))
    return found


def tables() -> dict[str, str]:
    """Return the parts of the page that are made, by the names of their markers."""
    limits = {f"--{name.replace('_', '-')}" for name, _, _ in LIMITS}
    known = options()
    values = [each for each in known if each.takes_a_value]
    return {
        "options": _table(("Option", "Default", "Meaning"), (each for each in values if each.name not in limits)),
        "limits": _table(("Limit", "Default", "Meaning"), (each for each in values if each.name in limits)),
        "flags": "".join(f"``{each.name}``\n    {_marked(each)}\n" for each in known if not each.takes_a_value),
    }


def _table(head: tuple[str, str, str], rows: Iterable[Option]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 20 25 55", ""]
    cells = [head, *((f"``{row.name}``", _literal(row.default), _marked(row)) for row in rows)]
    for row in cells:
        for place, cell in enumerate(row):
            lines.append(f"   {'  -' if place else '* -'} {cell}".rstrip())
    return "\n".join([*lines, ""])


def _marked(option: Option) -> str:
    return _TYPED.sub(r"\1``\2``", option.meaning.removeprefix("Limit: "))


def _literal(default: str) -> str:
    is_typed = default and not default.startswith("the ")
    return f"``{default}``" if is_typed else default


def filled(page: str) -> str:
    """Return a page with the tables between their markers, ``.. begin NAME`` and ``.. end NAME``."""
    for name, part in tables().items():
        before, begin, rest = page.partition(f".. begin {name}\n")
        _, end, after = rest.partition(f".. end {name}\n")
        if not end:
            raise ValueError(f"the page has no pair of markers for {name}")
        page = f"{before}{begin}\n{part}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    sys.stdout.write(f"written: docs/{PAGE.name}\n")
