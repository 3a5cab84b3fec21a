"""The words of an authenticator's spec, strictly read: ``jwt:secret-file=PATH:base64:audience=airyd``."""

from __future__ import annotations

import math
import re
from typing import Final

from airyd.errors import ConfigurationError

# A colon parts two words. It belongs to a value before a slash or a digit, as URLs have it, and after a backslash.
_PART: Final = re.compile(r"(?<!\\):(?![/0-9])")
_NAME: Final = re.compile(r"[a-z-]{1,30}")
_ESCAPED: Final = re.compile(r"\\(.)")


class Words:
    """The words behind an authenticator's name, taken one after the other by their names.

    ``finish`` then refuses those that nobody took, so that no misspelt one is ignored. Each method
    raises ``ConfigurationError``, whose text repeats names and never a value.

    :param kind: the authenticator's name
    :param arguments: what follows it, behind the first colon
    """

    def __init__(self, kind: str, arguments: str) -> None:
        self._kind = kind
        self._values: dict[str, str | None] = {}
        self._known: list[str] = []
        for word in _PART.split(arguments) if arguments else ():
            name, equals, value = word.partition("=")
            if name in self._values:
                raise self.error("a word is given twice")
            self._values[name] = _ESCAPED.sub(r"\1", value) if equals else None

    def error(self, text: str) -> ConfigurationError:
        """Return the error for the caller to raise, with the authenticator's name in front."""
        return ConfigurationError(f"{self._kind}: {text}")

    def text(self, name: str) -> str | None:
        """Take ``name=value``; None if it isn't there."""
        self._known.append(f"{name}=")
        if name not in self._values:
            return None
        value = self._values.pop(name)
        if not value:
            raise self.error(f"the word {name!r} needs a value: {name}=...")
        return value

    def flag(self, name: str) -> bool:
        """Take a word without a value; say whether it is there."""
        self._known.append(name)
        if name not in self._values:
            return False
        if self._values.pop(name) is not None:
            raise self.error(f"the word {name!r} takes no value")
        return True

    def seconds(self, name: str, default: float) -> float:
        """Take a number of seconds from 0 on."""
        text = self.text(name)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise self.error(f"the word {name!r} takes a number of seconds from 0 on")
        return number

    def finish(self) -> None:
        """Refuse what was not taken."""
        for name, value in self._values.items():
            # What is no name may be the rest of a secret, cut off at its colon.
            word = f" {name!r}" if value is not None and _NAME.fullmatch(name) else ""
            raise self.error(f"unknown word{word}; there are: {', '.join(self._known)}")
