"""A release: the source distribution, the wheel and its installation, and the packages that it requires."""

from __future__ import annotations

import shutil
import sys
from functools import partial
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

from tests.installation import FIRST, NEXT, ROOT, Installation, run
from tests.oldest import oldest
from tests.releases import LATER, build, copy, make_releases
from tests.test_docs import TESTS
from tests.wheels import needed

ETC = ROOT / "etc"


def files(folder: Path) -> set[Path]:
    """Return the files of a folder and of those below it."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


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
        run(sys.executable, "-m", "twine", "check", "--strict", *build())

    def test_source_distribution(self) -> None:
        """The source distribution has all files of a clone, so that a packager can run the tests."""
        expected = files(copy(self.directory()))
        with open_archive(build()[0]) as archive:
            found = {Path(*Path(member.name).parts[1:]) for member in archive if member.isfile()}
        self.assertEqual(set(), expected - found)
        added = {path for path in found - expected if path.parts[0] != "airyd.egg-info"}
        self.assertEqual({Path("PKG-INFO")}, added)

    def test_wheel(self) -> None:
        """The wheel has modules, console, plugins, ``py.typed``, manual pages, etc/ and license; nothing of Twisted."""
        with ZipFile(build()[1]) as archive:
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
        """Another user than root installs airyd, and a later release, by the document's commands; a removal is whole.

        tests/chaos/test_upgrade.py goes to a later release while clients are served.
        """
        releases = make_releases(self.directory())
        installation = Installation(self.directory(), releases.variables)
        installation.follow(FIRST, releases.present)
        installation.run("/opt/airyd/bin/pip check", releases.present)
        self.assertEqual(files(ETC), files(installation.home / "share/airyd"))

        done: list[str] = []
        systemctl = {word: partial(done.append, word) for word in ("stop", "start")}
        server = installation.start("/opt/airyd/bin/twistd --nodaemon --pidfile= airyd", releases.present)
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        installation.follow(NEXT, releases.later, systemctl)
        self.assertEqual(["stop", "start"], done)
        self.assertIn(LATER, installation.run("/opt/airyd/bin/pip list", releases.later))
        self.assertIn("airyd", installation.run("/opt/airyd/bin/twistd --help", releases.later))

        installation.run("/opt/airyd/bin/pip uninstall --quiet --yes airyd", releases.later)
        self.assertNotIn("airyd", installation.run("/opt/airyd/bin/twistd --help", releases.later))
        self.assertEqual([], [path for path in installation.home.rglob("*airyd*") if path.is_file()])


class EtcTests(SynchronousTestCase):
    """The files of etc/, which run elsewhere and would rot without tests."""

    def test_each_file_is_read_by_a_test(self) -> None:
        """The code of the tests names each file by its path, or all files of its folder by that of the folder."""
        code = "".join(path.read_text() for path in TESTS)
        for file in files(ETC):
            paths = (str(file), f"etc/{file}", f"etc/{file.parent}")
            self.assertTrue(any(f'"{path}"' in code for path in paths), f"no test reads etc/{file}")


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
