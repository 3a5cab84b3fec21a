"""Suggestions for misspelt words: "did you mean ...?"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the most similar known word, ignoring case; None if none is similar enough.

    :param likeness: the least similarity, from 0 (any word) to 1 (the same word), as ``difflib`` measures it
    """
    by_lower_case = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), list(by_lower_case), 1, likeness)
    return by_lower_case[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Return the end of a sentence: ``"; did you mean rate?"``, or ``"."`` if no known word is similar.

    :param form: the format of the known word, such as ``--{}``
    """
    found = closest(word, known)
    return "." if found is None else f"; did you mean {form.format(found)}?"
