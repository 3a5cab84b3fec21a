"""What pytest needs to run the tests as trial does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the tests in a directory of their own: what ``self.mktemp()`` names is not in the tree."""
    with chdir(tmp_path_factory.mktemp("trial")):
        yield
