"""Print pip constraints with the oldest version of each package that setup.cfg allows: python tests/oldest.py."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Final

SETUP: Final = Path(__file__).parent.parent / "setup.cfg"
_LOWER_BOUND = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*([\w.]+)")


def oldest(setup: str) -> list[str]:
    """Return one constraint for each requirement of a setup.cfg, including extras.

    Raises ``ValueError`` for a requirement without a lower bound.
    """
    parser = ConfigParser()
    parser.read_string(setup)
    requirements = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    constraints = []
    for line in "\n".join(requirements).splitlines():
        if line and not line.startswith("#"):
            match = _LOWER_BOUND.match(line)
            if match is None:
                raise ValueError(f"{line}: setup.cfg gives no lower bound")
            constraints.append(f"{match[1]}=={match[2]}")
    return constraints


if __name__ == "__main__":
    print("\n".join(oldest(SETUP.read_text())))
