"""Run the tests with pytest, check that trial finds the same tests, and run the unit tests with trial, too.

Both runners run at the same time: the tests with pytest often wait for a process, those with trial never.

``python -m tests.suite``         all tests but those that take over 20 seconds each
``python -m tests.suite unit``    the tests that start no process, with pytest alone
``python -m tests.suite long``    the tests that take over 20 seconds each, with pytest alone

A test that is skipped, or expected to fail, fails the run. This module is also the pytest plugin that lists tests.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

import pytest

#: Processes that run tests with pytest; more than cores, because most tests wait for a server most of the time.
_PROCESSES: Final = "6"
#: Processes that run unit tests with trial, beside those of pytest.
_TRIAL_PROCESSES: Final = "2"
#: The markers of tests that aren't unit tests (setup.cfg says what they mean).
_MARKERS: Final = ("integration", "long")
#: The value of pytest's ``-m`` for each word on the command line.
_SELECTIONS: Final[Mapping[str, str]] = {"unit": "not long and not integration", "most": "not long", "long": "long"}
#: How many of the slowest tests are listed at the end.
_SLOWEST: Final = 15
#: This plugin's option of pytest: the file to which it writes the tests.
_LISTING: Final = "--listing"
#: trial's closing lines.
_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_NOT_RUN = re.compile(r"^PASSED \(.*\b(?:skips|expectedFailures|unexpectedSuccesses)=", re.MULTILINE)


class Found(NamedTuple):
    """A test that pytest finds.

    :ivar module: where it was found; a class is found again in each module that imports it
    :ivar owner: its class there
    :ivar path: the test there
    :ivar name: trial's name of it, with the module that defines its class
    :ivar is_unit: whether it starts no process
    """

    module: str
    owner: str
    path: str
    name: str
    is_unit: bool


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of this plugin (pytest's hook)."""
    parser.addoption(_LISTING, help="file that all tests are written to")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the tests that were found to a file (pytest's hook)."""
    found = []
    for item in session.items:
        assert isinstance(item, pytest.Function)
        module, owner = item.module.__name__, item.cls
        holder = f"{module}.{owner.__qualname__}" if owner else module
        name = f"{owner.__module__}.{owner.__qualname__}.{item.name}" if owner else item.nodeid
        is_unit = all(item.get_closest_marker(marker) is None for marker in _MARKERS)
        found.append(Found(module, holder, f"{holder}.{item.name}", name, is_unit))
    Path(session.config.getoption(_LISTING)).write_text(json.dumps(found))


def found_by_pytest() -> list[Found]:
    """Return all tests that pytest finds."""
    with TemporaryDirectory() as directory:
        listing = Path(directory, "listing.json")
        command = [sys.executable, "-m", "pytest", "-p", "tests.suite", _LISTING, str(listing)]
        command += ["-m", "", "--collect-only", "-q", "-q"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{done.stdout}pytest does not find all tests: see above")
        return [Found(*each) for each in json.loads(listing.read_text())]


def names_by_trial() -> list[str]:
    """Return the names of the tests that trial finds; they include modules that it can't import."""
    from twisted.trial.runner import TestLoader  # not above: pytest imports this module before it chooses a reactor

    return list(_names_in(TestLoader().loadByName("tests", recurse=True)))


def _names_in(tests: Any) -> Iterator[str]:
    if isinstance(tests, Iterable):
        for test in tests:
            yield from _names_in(test)
    else:
        yield tests.id()


def difference(by_pytest: Iterable[str], by_trial: Iterable[str]) -> str:
    """Return one line for each test that one of the two finds more often than the other."""
    pytest_finds, trial_finds = Counter(by_pytest), Counter(by_trial)
    lines = [f"only pytest finds {name}" for name in (pytest_finds - trial_finds)]
    lines += [f"only trial finds {name}" for name in (trial_finds - pytest_finds)]
    return "\n".join(lines)


def counted_by_pytest(report: str) -> tuple[int, int]:
    """Return how many tests a JUnit report counts, and how many of them were skipped or expected to fail."""
    count: Counter[str] = Counter()
    for suite in ElementTree.fromstring(report).iter("testsuite"):  # noqa: S314  # pytest's own output
        for key in ("tests", "skipped"):
            count[key] += int(suite.get(key, "0"))
    return count["tests"], count["skipped"]


def counted_by_trial(output: str) -> tuple[int, bool]:
    """Return how many tests trial's closing lines count, and whether some of them were skipped or expected to fail."""
    ran = _RAN.findall(output)
    return int(ran[-1]) if ran else 0, _NOT_RUN.search(output) is not None


def run_pytest(selection: str) -> int:
    """Run the tests that this ``-m`` selects, and return their number; exit if one fails or is skipped."""
    with TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = [sys.executable, "-m", "pytest", "-m", selection, "-n", _PROCESSES, "--junitxml", str(report)]
        # Each process gets tests that follow each other, so that the tests of a class share its server.
        command += ["--dist=worksteal", f"--durations={_SLOWEST}"]
        status = subprocess.run(command, check=False).returncode
        if status:
            raise SystemExit(status)
        count, skipped = counted_by_pytest(report.read_text())
    if skipped:
        raise SystemExit(f"{skipped} tests were skipped or expected to fail, and none may be")
    return count


def unit_tests(found: Collection[Found]) -> list[str]:
    """Return trial's arguments for all unit tests: modules that have no other tests, else classes, else single tests.

    trial's workers can't run a test twice, so a class that another module imports is named only once.
    """
    chosen: dict[str, Found] = {}
    for each in sorted(found, key=lambda each: each.path != each.name):
        chosen.setdefault(each.name, each)
    left_out = [each for each in found if not each.is_unit or chosen[each.name] is not each]
    mixed = {place for each in left_out for place in (each.module, each.owner)}
    wanted = ((each.module, each.owner, each.path) for each in chosen.values() if each.is_unit)
    return sorted({next(place for place in places if place not in mixed) for places in wanted})


def run_trial(names: list[str]) -> int:
    """Run these modules, classes and tests with trial; return the number of tests; exit if one fails or is skipped.

    The output of trial is printed when it ends.
    """
    command = [sys.executable, "-m", "twisted.trial", "-j", _TRIAL_PROCESSES, "--reporter=text", *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        raise SystemExit(f"trial ended with the status {done.returncode}")
    count, not_run = counted_by_trial(done.stdout)
    if not_run:
        raise SystemExit("trial skipped tests, or expected them to fail, and none may be")
    return count


def main(arguments: list[str]) -> None:
    """Run what the command line asks for."""
    if arguments:
        print(f"{run_pytest(_SELECTIONS[arguments[0]])} tests passed with pytest; none skipped")
        return
    with ThreadPoolExecutor(max_workers=1) as beside:
        by_pytest = beside.submit(found_by_pytest)
        by_trial = names_by_trial()
        found = by_pytest.result()
        lines = difference([each.name for each in found], by_trial)
        if lines:
            raise SystemExit(f"pytest and trial find different tests:\n{lines}")
        trial = beside.submit(run_trial, unit_tests(found))
        count = run_pytest(_SELECTIONS["most"])
        ran = trial.result()
    wanted = len({each.name for each in found if each.is_unit})
    if ran != wanted:
        raise SystemExit(f"trial ran {ran} unit tests, and pytest finds {wanted}")
    print(f"{count} tests passed with pytest, {ran} of them with trial, too; none skipped")


if __name__ == "__main__":
    main(sys.argv[1:])
