r"""The words of an ``--auth``, strictly read: ``jwt:secret-file=PATH:base64:audience=airyd``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from airyd.errors import ConfigurationError
from airyd.spelling import closest

# A colon parts two words. It belongs to a value before a slash or a digit, as URLs have it, and after a backslash.
_PART: Final = re.compile(r"(?<!\\):(?![/0-9])")
_NAME: Final = re.compile(r"[a-z-]{1,30}")
_ESCAPED: Final = re.compile(r"\\(.)")


class Words:
    """The words behind an authenticator's name: each is known, given once, and has a value if it takes one.

    Errors are ``ConfigurationError``, whose text repeats names and never a value.

    :param kind: the authenticator's name
    :param arguments: what follows it, behind the first colon
    :param known: the words that there are; one that takes a value ends with ``=``
    """

    def __init__(self, kind: str, arguments: str, known: Sequence[str]) -> None:
        self._kind = kind
        self._known = known
        self._values: dict[str, str] = {}
        for number, word in enumerate(_PART.split(arguments) if arguments else (), 1):
            name, equals, value = word.partition("=")
            if name not in known and f"{name}=" not in known:
                raise self._unknown(name, bool(equals), number)
            if name in self._values:
                raise self.error(f"the word {name!r} is given twice")
            if name in known and equals:
                raise self.error(f"the word {name!r} takes no value")
            if name not in known and not value:
                raise self.error(f"the word {name!r} needs a value: {name}=...")
            self._values[name] = _ESCAPED.sub(r"\1", value)

    def error(self, text: str) -> ConfigurationError:
        """Return the error for the caller to raise, with the option and the authenticator's name in front."""
        return ConfigurationError(f"--auth {self._kind}: {text}")

    def _unknown(self, name: str, has_value: bool, number: int) -> ConfigurationError:
        there_are = f"there are: {', '.join(self._known)}"
        if not name:
            return self.error(f"word {number} is empty: there is a colon too many; {there_are}")
        similar = closest(name, [word.removesuffix("=") for word in self._known], 0.7)
        if similar is not None:
            return self.error(f"unknown word {name!r}, did you mean {similar!r}? {there_are}")
        if has_value and _NAME.fullmatch(name):
            return self.error(f"unknown word {name!r}; {there_are}")
        # What is no name may be the rest of a secret, cut off at its colon.
        return self.error(rf"word {number} is unknown (a colon within a value is written \:); {there_are}")

    def text(self, name: str) -> str | None:
        """Return the value of ``name=value``; None if it isn't there."""
        return self._values.get(name)

    def flag(self, name: str) -> bool:
        """Say whether a word without a value is there."""
        return name in self._values

    def seconds(self, name: str, most: float) -> float | None:
        """Return a number of seconds from 0 to ``most``; None if it isn't there."""
        text = self.text(name)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number <= most:
            raise self.error(f"the word {name!r} takes a number of seconds from 0 to {most:g}")
        return number
