"""Run all tests with pytest and with trial: both must pass, run the same number, and skip none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from xml.etree import ElementTree

#: Processes that run tests: most tests wait for a server most of the time. One after the other they take 11 minutes.
_AT_ONCE: Final = "4"
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
        command = [sys.executable, "-m", "pytest", "-n", _AT_ONCE, "--junitxml", str(report)]
        status = subprocess.run(command, check=False).returncode
        if status:
            raise SystemExit(status)
        return pytest_count(report.read_text())


def _run_trial() -> tuple[int, bool]:
    command = [sys.executable, "-m", "twisted.trial", "-j", _AT_ONCE, "--reporter=text", "tests"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return trial_count("".join(lines))


def main() -> None:
    """Run both, and exit with what is wrong."""
    by_pytest, skipped = _run_pytest()
    by_trial, not_run = _run_trial()
    if skipped or not_run:
        raise SystemExit("some tests were skipped, and none may be")
    if by_pytest != by_trial:
        raise SystemExit(f"pytest ran {by_pytest} tests, trial {by_trial}: one of them misses some")
    print(f"{by_pytest} tests passed with pytest, and the same with trial; none skipped")


if __name__ == "__main__":
    main()
