"""A release: the source distribution, the wheel and its installation, and the packages that it requires."""

from __future__ import annotations

import atexit
import shutil
import sys
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from tarfile import open as open_archive
from tempfile import mkdtemp
from textwrap import dedent
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase

from tests.installation import FIRST, ROOT, Installation, release_folder, run
from tests.oldest import oldest
from tests.wheels import needed, pack_needed

ETC = ROOT / "etc"
#: Files that are not in a clone; copies leave them out, too.
NOT_IN_A_CLONE = (
    ".git",
    *(line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"),
)


def files(folder: Path) -> set[Path]:
    """Return the files of a folder and of those below it."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def copy(directory: Path) -> Path:
    """Copy the files of the tree that a clone has, so that the tree stays clean and old files stay out."""
    return Path(shutil.copytree(ROOT, directory / "airyd", ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE)))


@cache
def release() -> tuple[Path, Path]:
    """Build a source distribution, and the wheel from it, without a package index; once, since it takes seconds."""
    directory = Path(mkdtemp())
    atexit.register(shutil.rmtree, directory)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory / "dist", copy(directory))
    return next(directory.glob("dist/*.tar.gz")), next(directory.glob("dist/*.whl"))


@pytest.mark.integration
class ReleaseTests(SynchronousTestCase):
    """What ``make dist`` builds."""

    def directory(self) -> Path:
        """Make an empty directory outside the tree."""
        path = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, path)
        return path

    def test_a_package_index_takes_them(self) -> None:
        """The metadata is valid, and the README renders without a warning."""
        run(sys.executable, "-m", "twine", "check", "--strict", *release())

    def test_source_distribution(self) -> None:
        """The source distribution has all files of a clone, so that a packager can run the tests."""
        expected = files(copy(self.directory()))
        with open_archive(release()[0]) as archive:
            found = {Path(*Path(member.name).parts[1:]) for member in archive if member.isfile()}
        self.assertEqual(set(), expected - found)
        added = {path for path in found - expected if path.parts[0] != "airyd.egg-info"}
        self.assertEqual({Path("PKG-INFO")}, added)

    def test_wheel(self) -> None:
        """The wheel has modules, console, plugins, ``py.typed``, manual pages, etc/ and license; nothing of Twisted."""
        with ZipFile(release()[1]) as archive:
            names = set(archive.namelist())
        patterns = ("airyd/**/*.py", "airyd/admin/console/*", "twisted/plugins/*.py", "airyd/py.typed")
        expected = {str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)}
        data = {name for name in names if ".data/data/" in name}
        self.assertEqual(expected, {name for name in names if ".dist-info/" not in name} - data)
        shared = {f"airyd/{path}" for path in files(ETC)}
        pages = {"man/man1/airyd.1", "man/man8/twistd-airyd.8"}
        self.assertEqual(shared | pages, {name.partition(".data/data/share/")[2] for name in data})
        self.assertNotIn("twisted/plugins/__init__.py", names)
        self.assertEqual(1, sum(name.endswith("/LICENSE") for name in names))

    def test_life_of_an_installation(self) -> None:
        """Another user than root installs airyd by the document's commands, and it serves; a removal leaves nothing."""
        _, wheel = release()
        packages = self.directory()
        packages.chmod(0o755)
        folder = release_folder(self.directory(), wheel, "\n".join(pack_needed(wheel, packages)))
        installation = Installation(
            self.directory(), {"PIP_NO_INDEX": "1", "PIP_NO_COMPILE": "1", "PIP_FIND_LINKS": str(packages)}
        )
        installation.follow(FIRST, folder)
        installation.run("/opt/airyd/bin/pip check", folder)
        self.assertIn("airyd", installation.run("/opt/airyd/bin/twistd --help", folder))
        self.assertEqual(files(ETC), files(installation.home / "share/airyd"))

        installation.run("/opt/airyd/bin/pip uninstall --quiet --yes airyd", folder)
        self.assertNotIn("airyd", installation.run("/opt/airyd/bin/twistd --help", folder))
        left = [path for path in installation.home.rglob("*airyd*") if path.is_file()]
        self.assertEqual([], left)


class ConstraintsTests(SynchronousTestCase):
    """constraints.txt, with the versions that ``make`` installs."""

    def constraints(self) -> dict[str, str]:
        """Return the version of each package, by canonical name."""
        lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
        return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}

    def requirements(self) -> list[Requirement]:
        """Return the requirements in setup.cfg, including extras."""
        return [Requirement(each) for each in distribution("airyd").requires or []]

    def test_versions_are_exact_and_within_setup_cfg(self) -> None:
        constraints = self.constraints()
        self.assertNotEqual([], self.requirements())
        for requirement in self.requirements():
            version = constraints[canonicalize_name(requirement.name)]
            self.assertTrue(requirement.specifier.contains(version), f"{requirement}: constraints.txt has {version!r}")
        self.assertEqual([], [name for name, version in constraints.items() if not version])

    def test_every_package_has_one(self) -> None:
        """Indirect requirements have an exact version, too; ``make lock`` writes them."""
        extras = frozenset({"test", "bench", "docs", "release"})
        names = {canonicalize_name(each.name) for each in needed(distribution("airyd").requires or [], extras)}
        self.assertGreater(len(names), len(self.requirements()))
        self.assertEqual(set(), names - self.constraints().keys())


class OldestTests(SynchronousTestCase):
    """The constraints of ``make test-oldest``."""

    def test_lower_bounds(self) -> None:
        setup = """
            [options]
            install_requires =
                # why
                one >= 1.2, < 2
                two[extra] >= 3
            [options.extras_require]
            test =
                three-and.four >= 5.0.1
        """
        self.assertEqual(["one==1.2", "two==3", "three-and.four==5.0.1"], oldest(dedent(setup)))

    def test_no_lower_bound(self) -> None:
        setup = "[options]\ninstall_requires =\n    one < 2\n[options.extras_require]\n"
        self.assertRaises(ValueError, oldest, setup)

    def test_every_requirement_has_one(self) -> None:
        expected = {canonicalize_name(Requirement(each).name) for each in distribution("airyd").requires or []}
        found = oldest((ROOT / "setup.cfg").read_text())
        self.assertEqual(expected, {canonicalize_name(each.partition("==")[0]) for each in found})
