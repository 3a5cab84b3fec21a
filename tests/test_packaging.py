"""A release: the source distribution, the wheel and its installation, and the packages that it requires."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from tarfile import open as open_archive
from tempfile import mkdtemp
from textwrap import dedent
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase

from tests.installation import ROOT, run, use
from tests.oldest import oldest

ETC = ROOT / "etc"
#: Files that are not in a clone; copies leave them out, too.
NOT_IN_A_CLONE = (
    ".git",
    *(line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"),
)


def pip(*arguments: str | Path) -> str:
    """Run this environment's pip, without a package index."""
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """Yield the distributions of this environment that meet these requirements, and theirs in turn, with duplicates."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            found = distribution(requirement.name)
            yield found
            yield from needed(found.requires or [], frozenset(requirement.extras))


@pytest.mark.integration
class ReleaseTests(SynchronousTestCase):
    """What ``make dist`` builds. A copy of the tree is used, so that the tree stays clean and old files stay out."""

    def directory(self) -> Path:
        """Make an empty directory outside the tree."""
        path = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, path)
        return path

    def copy(self) -> Path:
        """Copy the files of the tree that a clone has."""
        return Path(shutil.copytree(ROOT, self.directory() / "airyd", ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE)))

    def build(self, tree: Path) -> tuple[Path, Path]:
        """Build a source distribution, and the wheel from it, without a package index."""
        built = self.directory()
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, tree)
        return next(built.glob("*.tar.gz")), next(built.glob("*.whl"))

    def environment(self, wheel: Path) -> tuple[Path, Path]:
        """Make a virtual environment with the packages that the wheel requires, and nothing else.

        They are copied from the environment that runs the tests, without a package index. Returns its Python
        and its site-packages.
        """
        home = self.directory()
        run(sys.executable, "-m", "venv", "--without-pip", home)
        python = home / "bin" / "python"
        site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        with ZipFile(wheel) as archive:
            (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            lines = archive.read(metadata).decode().splitlines()
        requires = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
        for found in {dist.metadata["Name"]: dist for dist in needed(requires)}.values():
            for file in found.files or ():
                # Scripts are not copied: they name the other environment's Python.
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    (site / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(str(file.locate()), site / file)
        return python, site

    def test_a_package_index_takes_them(self) -> None:
        """The metadata is valid, and the README renders without a warning."""
        run(sys.executable, "-m", "twine", "check", "--strict", *self.build(self.copy()))

    def test_source_distribution(self) -> None:
        """The source distribution has all files of a clone, so that a packager can run the tests."""
        tree = self.copy()
        expected = {path.relative_to(tree) for path in tree.glob("**/*") if path.is_file()}
        with open_archive(self.build(tree)[0]) as archive:
            found = {Path(*Path(member.name).parts[1:]) for member in archive if member.isfile()}
        self.assertEqual(set(), expected - found)
        added = {path for path in found - expected if path.parts[0] != "airyd.egg-info"}
        self.assertEqual({Path("PKG-INFO")}, added)

    def test_wheel(self) -> None:
        """The wheel has modules, console, plugins, ``py.typed``, manual pages, etc/ and license; nothing of Twisted."""
        with ZipFile(self.build(self.copy())[1]) as archive:
            names = set(archive.namelist())
        patterns = ("airyd/**/*.py", "airyd/admin/console/*", "twisted/plugins/*.py", "airyd/py.typed")
        files = [path for pattern in patterns for path in ROOT.glob(pattern)]
        expected = {str(path.relative_to(ROOT)) for path in files}
        data = {name for name in names if ".data/data/" in name}
        self.assertEqual(expected, {name for name in names if ".dist-info/" not in name} - data)
        shared = {f"airyd/{path.relative_to(ETC)}" for path in ETC.glob("**/*") if path.is_file()}
        pages = {"man/man1/airyd.1", "man/man8/twistd-airyd.8"}
        self.assertEqual(shared | pages, {name.partition(".data/data/share/")[2] for name in data})
        self.assertNotIn("twisted/plugins/__init__.py", names)
        self.assertEqual(1, sum(name.endswith("/LICENSE") for name in names))

    def test_life_of_an_installation(self) -> None:
        """After the installation ``twistd airyd`` and ``airyd`` work; after the removal neither is left."""
        _, wheel = self.build(self.copy())
        python, site = self.environment(wheel)
        twistd = (python, "-c", "from twisted.scripts.twistd import run; run()")
        untouched = set(site.rglob("*.py"))
        self.assertNotIn("airyd", run(*twistd, "--help"))

        pip("--python", python, "install", "--quiet", "--no-index", wheel)
        pip("--python", python, "check")
        self.assertIn("airyd", run(*twistd, "--help"))
        use(twistd, python.parent / "airyd")

        pip("--python", python, "uninstall", "--quiet", "--yes", "airyd")
        self.assertNotIn("airyd", run(*twistd, "--help"))
        self.assertFalse((python.parent / "airyd").exists())
        self.assertEqual(untouched, set(site.rglob("*.py")))


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
