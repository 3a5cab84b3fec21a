"""The figures of one process: its versions, load, memory and open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime

from airyd.interfaces import Readiness
from airyd.management.queries import ProcessRow
from airyd.management.rates import Rates
from airyd.metrics import VERSIONS, Metrics

_PROC: Final = Path("/proc/self")


class ProcessFigures:
    """Reports the process that it runs in.

    :param name: see ``ProcessRow``
    :param sources: returns the event sources, without passwords

    :ivar rates: must be started
    """

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        wall: Callable[[], float],
        metrics: Metrics,
        sources: Callable[[], Sequence[str]],
    ) -> None:
        self.name = name
        self.rates = Rates(clock, metrics)
        self._since = wall()
        self._sources = sources

    def row(self, readiness: Readiness, connections: tuple[int, int] | None, draining: bool) -> ProcessRow:
        """Return the row of this process, with what the caller knows."""
        return ProcessRow(
            name=self.name,
            pid=os.getpid(),
            versions=VERSIONS,
            since=self._since,
            load=self.rates.load,
            memory=resident_bytes(),
            files=open_files(),
            connections=connections,
            sources=self._sources(),
            ready=not readiness.reasons,
            reasons=readiness.reasons,
            warnings=readiness.warnings,
            draining=draining,
        )


def resident_bytes() -> int | None:
    """Return the bytes of memory that the process uses; None if the system does not say it."""
    try:
        pages = int((_PROC / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def open_files() -> tuple[int, int] | None:
    """Return how many files are open, and how many may be; None if the system does not say it."""
    try:
        # Linux has the number in the directory's size since 6.2; before that, a list of 20,000 takes some 10 ms.
        count = (_PROC / "fd").stat().st_size or len(os.listdir(_PROC / "fd"))
    except OSError:
        return None
    return count, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
