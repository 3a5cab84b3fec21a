"""Findings: what the doctor has checked, whether it is all right, and what to do if it is not."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How serious a finding is; a greater number is worse."""

    OK = 0
    WARNING = 1
    FAILURE = 2


class Finding(NamedTuple):
    """The result of one check.

    :ivar check: the name of the check, such as ``memory``; scripts rely on it
    :ivar subject: the option, address, file or key that was looked at, without secrets
    :ivar advice: what to do; empty if all is well
    """

    level: Level
    check: str
    subject: str
    message: str
    advice: str = ""


class DoctorReport:
    """Collects findings.

    :param show: called with each finding as soon as it is known
    :ivar findings: all findings so far
    """

    def __init__(self, show: Callable[[Finding], None]) -> None:
        self._show = show
        self.findings: list[Finding] = []

    @property
    def worst(self) -> Level:
        """The level of the most serious finding."""
        return max((finding.level for finding in self.findings), default=Level.OK)

    def ok(self, check: str, subject: str, message: str) -> None:
        """Add a finding: all is well."""
        self.add(Finding(Level.OK, check, subject, message))

    def warn(self, check: str, subject: str, message: str, advice: str) -> None:
        """Add a finding: clients are served, but something may go wrong."""
        self.add(Finding(Level.WARNING, check, subject, message, advice))

    def fail(self, check: str, subject: str, message: str, advice: str) -> None:
        """Add a finding: some clients are not served, or events are lost."""
        self.add(Finding(Level.FAILURE, check, subject, message, advice))

    def add(self, finding: Finding) -> None:
        """Add a finding."""
        self.findings.append(finding)
        self._show(finding)
