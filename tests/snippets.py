"""Reads the snippets of README.rst and docs/: blocks of code, and the commands of consoles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from textwrap import dedent
from typing import Final, NamedTuple

from tests.test_docs import DOCUMENTS, ROOT

_PROMPT: Final = "$ "
#: What begins a block: a directive, or two colons alone.
_HEAD: Final = re.compile(r"^(?P<indent> *)(?:\.\. code-block:: (?P<language>\w+)|::)\n", re.MULTILINE)
#: What differs from run to run: UUIDs, message ids, hex digits before them, and numbers.
_VARIABLE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}-\d{13}-\d+|\d+)")


class Snippet(NamedTuple):
    """A block of code.

    :ivar language: empty if the document does not say it
    """

    document: str
    language: str
    text: str


class Command(NamedTuple):
    """A command of a console, and the output that the document shows."""

    line: str
    output: tuple[str, ...]


@cache
def snippets() -> tuple[Snippet, ...]:
    """Return all blocks of code, in the order of the documents."""
    return tuple(found for document in DOCUMENTS for found in blocks(document, (ROOT / document).read_text()))


def blocks(document: str, text: str) -> Iterator[Snippet]:
    """Yield the blocks of code in a text of a document."""
    for head in _HEAD.finditer(text):
        block = re.match(rf"(?:{head['indent']} +.*\n|\n)*", text[head.end() :])
        assert block is not None
        yield Snippet(document, head["language"] or "", dedent(block[0]).strip("\n"))


def consoles() -> Iterator[tuple[Snippet, list[Command]]]:
    """Yield each console with its commands."""
    for snippet in snippets():
        if snippet.language == "console":
            yield snippet, list(commands(snippet.text))


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a console's text; a backslash at the end of a line continues a command."""
    for part in text.removeprefix(_PROMPT).replace("\\\n", "").split(f"\n{_PROMPT}"):
        line, *output = part.splitlines()
        yield Command(line, tuple(output))


def shape(line: str) -> str:
    """Return a regular expression that matches this line with any ids and numbers."""
    parts = _VARIABLE.split(line)
    return "".join(_any_like(part) if index % 2 else re.escape(part) for index, part in enumerate(parts))


def _any_like(variable: str) -> str:
    if variable.isdigit():
        return r"\d+"
    return r"[0-9a-f-]{36}" if variable.count("-") == 4 else r"[0-9a-f]{8}-\d{13}-\d+"
