"""Reads and writes the measurements of a run of the benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.measure import Measurement

#: The measurements of a scenario: by contender, in the order of the rounds.
Measurements = Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run of the benchmarks.

    :ivar at: when it ended, in UTC (ISO 8601)
    :ivar size: the name of its size (``bench.run.SIZES``)
    :ivar machine: see ``bench.machine.description``
    :ivar scenarios: the measurements by the scenario's name
    """

    at: str
    size: str
    machine: Mapping[str, str]
    scenarios: Mapping[str, Measurements]

    def write(self, path: Path) -> None:
        """Write the results to a file as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(path: Path) -> Results:
    """Read results that ``Results.write`` wrote."""
    loaded = json.loads(path.read_text())
    scenarios = {
        name: {contender: [_measurement(run) for run in runs] for contender, runs in found.items()}
        for name, found in loaded["scenarios"].items()
    }
    return Results(loaded["at"], loaded["size"], loaded["machine"], scenarios)


def _measurement(loaded: Mapping[str, Any]) -> Measurement:
    return Measurement(loaded["values"], tuple(loaded["faults"]), tuple(loaded["doubts"]))
