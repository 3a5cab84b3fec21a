"""What somebody who misspelt a word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Return ``"; did you mean rate?"`` for the known word that is closest; ``"."`` if none is close.

    :param form: how a known word is written, such as ``--{}``
    """
    close = get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {form.format(close[0])}?" if close else "."
