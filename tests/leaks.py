"""What nothing that airyd writes may hold: the secrets that the tests know."""

from __future__ import annotations

import re
from typing import Final

#: Every secret, password and cookie of the tests that start daemons has it in it, and nothing else has.
MARK: Final = "hunter2"
#: A token's head and claims begin with eyJ, which is ``{"`` in base64.
LEAK: Final = re.compile(rf"{MARK}|\beyJ[\w-]{{8,}}")


def leaks(text: str, start: int = 0) -> list[str]:
    """Return the secrets that a text has from this character on."""
    return [match[0] for match in LEAK.finditer(text, start)]
