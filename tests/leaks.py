"""Finds the tests' secrets in what airyd writes, where none may be."""

from __future__ import annotations

import re
from typing import Final

#: Part of every secret, password and cookie of the tests that start daemons, and of nothing else.
MARK: Final = "hunter2"
#: The header and the claims of a token begin with eyJ: ``{"`` in base64.
LEAK: Final = re.compile(rf"{MARK}|\beyJ[\w-]{{8,}}")


def leaks(text: str, start: int = 0) -> list[str]:
    """Return the secrets that a text contains from this offset on."""
    return [match[0] for match in LEAK.finditer(text, start)]
