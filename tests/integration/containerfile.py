"""Reads the Containerfile: its instructions, and what an image made by it runs."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from tests.integration.daemon import TREE

CONTAINERFILE: Final = TREE / "Containerfile"


class Instruction(NamedTuple):
    """One instruction.

    :ivar name: such as ``RUN``
    """

    name: str
    text: str


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage; those before the first ``FROM`` are left out."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if line and not line.startswith("#")]
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, text = line.partition(" ")
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(name, text))
    return found


def last(name: str) -> str:
    """Return the text of an instruction of the last stage, which is the image."""
    return [each.text for each in stages()[-1] if each.name == name][-1]


def words(name: str) -> list[str]:
    """Return the words of an instruction of the image that is a JSON list, such as ``ENTRYPOINT``."""
    return [str(word) for word in json.loads(last(name)[last(name).index("[") :])]
