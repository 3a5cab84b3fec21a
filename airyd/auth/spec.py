r"""The parser of ``--auth`` specs such as ``jwt:secret-file=PATH:base64:audience=airyd``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from airyd.parameters import Parameters
from airyd.spelling import closest

# A colon separates two words, unless a slash or a digit follows it, as in URLs, or a backslash precedes it.
_PART: Final = re.compile(r"(?<!\\):(?![/0-9])")
_NAME: Final = re.compile(r"[a-z-]{1,30}")
_ESCAPED: Final = re.compile(r"\\(.)")


class Words(Parameters):
    """The words after an authenticator's name. Errors quote names but never a value, which may be a secret.

    :param kind: the authenticator's name
    :param arguments: the text after the first colon
    """

    quotes_values = False
    takes_empty = False
    mark = "="

    def __init__(self, kind: str, arguments: str) -> None:
        super().__init__(f"--auth {kind}", _pairs(arguments))

    def describe_unknown(self, number: int, name: str, known: Sequence[str]) -> str:
        """See :meth:`Parameters.describe_unknown`."""
        if not name:
            return f"parameter {number} is empty: there is one colon too many."
        has_value = self._values[name] is not None
        if closest(name, known, 0.7) is None and not (has_value and _NAME.fullmatch(name)):
            # If it does not look like a name, it may be the rest of a secret that contains a colon.
            return rf"parameter {number} is unknown (a colon within a value is written \:)."
        return super().describe_unknown(number, name, known)


def _pairs(arguments: str) -> Iterator[tuple[str, str | None]]:
    for word in _PART.split(arguments) if arguments else ():
        name, equals, value = word.partition("=")
        yield name, _ESCAPED.sub(r"\1", value) if equals else None
