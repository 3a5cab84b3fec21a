"""Sets pytest up to run the tests as trial does, and checks that unit tests start no process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import chdir
from typing import NoReturn

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the tests in a directory of their own, so that ``self.mktemp()`` makes nothing in the tree."""
    with chdir(tmp_path_factory.mktemp("trial")):
        yield


@pytest.fixture(autouse=True)
def _no_process_in_unit_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that starts a process, so that it gets the marker it needs."""
    if request.node.get_closest_marker("integration") is None:
        monkeypatch.setattr(subprocess, "Popen", _refuse)


def _refuse(*arguments: object, **keywords: object) -> NoReturn:
    raise AssertionError("a test that starts a process must be marked with pytest.mark.integration")
