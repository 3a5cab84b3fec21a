"""Builds releases of the tree, of this version and of a later one, without a package index."""

from __future__ import annotations

import atexit
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

from airyd import __version__
from tests.installation import ROOT, release_folder, run
from tests.wheels import pack_needed

#: The version of the later release.
LATER: Final = "999.0.0"
#: Files that are not in a clone; copies leave them out, too.
_NOT_IN_A_CLONE: Final = (
    ".git",
    *(line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"),
)


def copy(directory: Path) -> Path:
    """Copy the files of the tree that a clone has, so that the tree stays clean and old files stay out."""
    return Path(shutil.copytree(ROOT, directory / "airyd", ignore=shutil.ignore_patterns(*_NOT_IN_A_CLONE)))


@cache
def build() -> tuple[Path, Path]:
    """Return a source distribution, and the wheel from it; they exist until the process ends."""
    directory = Path(mkdtemp())
    atexit.register(shutil.rmtree, directory)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory / "dist", copy(directory))
    return next(directory.glob("dist/*.tar.gz")), next(directory.glob("dist/*.whl"))


class Releases(NamedTuple):
    """Two releases, and the packages that they require.

    :ivar variables: those by which pip finds the packages, and asks no index
    :ivar present: a folder with this version
    :ivar later: a folder with :data:`LATER`
    """

    variables: dict[str, str]
    present: Path
    later: Path


def make_releases(directory: Path) -> Releases:
    """Make the releases in an empty directory."""
    packages, built = directory / "packages", directory / "built"
    packages.mkdir()
    _, wheel = build()
    constraints = "\n".join(pack_needed(wheel, packages))
    module = copy(directory) / "airyd/__init__.py"
    module.write_text(module.read_text().replace(f'__version__ = "{__version__}"', f'__version__ = "{LATER}"'))
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", built, directory / "airyd")
    variables = {"PIP_NO_INDEX": "1", "PIP_NO_COMPILE": "1", "PIP_FIND_LINKS": str(packages)}
    present, later = (release_folder(directory, each, constraints) for each in (wheel, next(built.glob("*.whl"))))
    return Releases(variables, present, later)
