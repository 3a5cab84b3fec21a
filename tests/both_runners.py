"""Run all tests with pytest and with trial: both must pass, run the same number, and skip none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO
from xml.etree import ElementTree

#: trial's closing lines.
_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_NOT_RUN = re.compile(r"^PASSED \(.*\b(?:skips|expectedFailures|unexpectedSuccesses)=", re.MULTILINE)


def pytest_count(report: str) -> tuple[int, int]:
    """Return how many tests a JUnit report counts, and how many of them were skipped or expected to fail."""
    count: Counter[str] = Counter()
    for suite in ElementTree.fromstring(report).iter("testsuite"):  # noqa: S314  # pytest's own output
        for key in ("tests", "skipped"):
            count[key] += int(suite.get(key, "0"))
    return count["tests"], count["skipped"]


def trial_count(output: str) -> tuple[int, bool]:
    """Return how many tests trial's closing lines count, and whether some of them were skipped or expected to fail."""
    ran = _RAN.findall(output)
    return int(ran[-1]) if ran else 0, _NOT_RUN.search(output) is not None


def _run_pytest() -> tuple[int, int]:
    with TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = [sys.executable, "-m", "pytest", "--junitxml", str(report)]
        status = subprocess.run(command, check=False).returncode
        if status:
            raise SystemExit(status)
        return pytest_count(report.read_text())


def _start_trial(output: IO[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "twisted.trial", "--reporter=text", "tests"]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    """Run both side by side, as most tests wait most of the time, and exit with what is wrong."""
    with TemporaryFile("w+") as output, _start_trial(output) as trial:
        try:
            by_pytest, skipped = _run_pytest()
        except BaseException:
            trial.terminate()
            raise
        trial.wait()
        output.seek(0)
        said = output.read()
        print(said, end="")
        if trial.returncode:
            raise SystemExit(trial.returncode)
    by_trial, not_run = trial_count(said)
    if skipped or not_run:
        raise SystemExit("some tests were skipped, and none may be")
    if by_pytest != by_trial:
        raise SystemExit(f"pytest ran {by_pytest} tests, trial {by_trial}: one of them misses some")
    print(f"{by_pytest} tests passed with pytest, and the same with trial; none skipped")


if __name__ == "__main__":
    main()
