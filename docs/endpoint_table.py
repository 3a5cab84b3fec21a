"""Writes the table of endpoints of docs/operating.rst from the admin page's routes: ``python -m docs.endpoint_table``.

Exit status: 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from airyd.admin.route import Access, HttpRoute
from airyd.admin.routes import ROUTES
from docs.option_tables import filled, list_table

PAGE: Final = Path(__file__).parent / "operating.rst"
_NEEDS: Final = {
    Access.HEALTH: "none",
    Access.PUBLIC: "none",
    Access.READ: "read",
    Access.FULL_OR_OPEN: "full, or no tokens at all",
    Access.FULL: "full",
}


def tables() -> dict[str, str]:
    """Return the parts of the page that are made, by the names of their markers."""
    rows = [(f"``{route.method} {route.path}``", _needs(route), route.summary) for route in ROUTES]
    return {"endpoints": list_table(("Request", "Token", "Meaning"), rows, (42, 16, 42))}


def _needs(route: HttpRoute) -> str:
    full = [each.name for each in route.parameters or () if each.needs_full]
    return _NEEDS[route.access] + "".join(f"; {name} full" for name in full)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), tables()))
    sys.stdout.write(f"written: docs/{PAGE.name}\n")
