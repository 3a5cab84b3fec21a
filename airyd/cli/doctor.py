"""The command ``airyd doctor``: shows findings as lines, or all of them as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from airyd.cli.terminal import Console, visible
from airyd.doctor.findings import Finding, Level

#: The mark of each level, the one for terminals without Unicode, and its colour (ECMA-48, SGR).
_MARKS: Final[Mapping[Level, tuple[str, str, int]]] = {
    Level.OK: ("✓", "ok", 32),
    Level.WARNING: ("!", "!", 33),
    Level.FAILURE: ("✗", "x", 31),
}
#: The exit status for the worst finding. 2 is for a wrong command line.
STATUSES: Final[Mapping[Level, int]] = {Level.OK: 0, Level.WARNING: 3, Level.FAILURE: 1}


class FindingPrinter:
    """Prints findings: each at once as a line, or all of them at the end as JSON.

    Errors of its methods: ``OutputClosed``.
    """

    def __init__(self, console: Console, is_json: bool) -> None:
        self._console = console
        self._is_json = is_json

    def show(self, finding: Finding) -> None:
        """Print a finding, unless all are printed at the end."""
        if not self._is_json:
            self._console.show(self._line(finding))

    def end(self, findings: Sequence[Finding], worst: Level) -> None:
        """Print the number of findings of each level, or all findings as JSON."""
        if not self._is_json:
            counts = {level: sum(finding.level is level for finding in findings) for level in Level}
            self._console.show(", ".join(f"{count} {self._mark(level)}" for level, count in counts.items()))
            return
        listed = [{**finding._asdict(), "level": finding.level.name.lower()} for finding in findings]
        self._console.write(json.dumps({"worst": worst.name.lower(), "findings": listed}).encode() + b"\n")

    def _line(self, finding: Finding) -> str:
        text = visible(f"{finding.check}: {finding.subject}: {finding.message}")
        arrow = " → " if self._console.can_show("→") else " -> "
        advice = f"{arrow}{visible(finding.advice)}" if finding.advice else ""
        return f"{self._mark(finding.level)} {text}{advice}"

    def _mark(self, level: Level) -> str:
        mark, plain, colour = _MARKS[level]
        shown = mark if self._console.can_show(mark) else plain
        return f"\x1b[{colour}m{shown}\x1b[0m" if self._console.colour else shown
