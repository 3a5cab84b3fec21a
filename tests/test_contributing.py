"""CONTRIBUTING.rst and SECURITY.rst are true, and the files for a contributor's tools agree with them."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from airyd import __version__
from airyd.config.options import OPTIONS, SHOWING
from airyd.metrics import LogMetrics, Metrics, ReloadMetrics, WorkersMetrics
from tests.test_architecture import ROOT
from tests.test_docs import TESTS, table, titles

PAGE: Final = "CONTRIBUTING.rst"
GUIDES: Final = ("Add a source", "Add an authenticator", "Add an option", "Add a metric")
#: Patterns of text files that contributors write.
TEXTS: Final = ("*.rst", "*.cfg", "*.toml", "*.txt", "airyd/**/*.py", "tests/**/*.py", "bench/**/*.py", "docs/**/*.rst")


def section_of(title: str) -> str:
    """Return the source text of a section."""
    return (ROOT / PAGE).read_text().partition(f"\n{title}\n---")[2].partition("\n\n\n")[0]


def steps(title: str) -> list[str]:
    """Return the numbered lines of a section."""
    return [line for line in section_of(title).splitlines() if line[:1].isdigit()]


class GuidesTests(SynchronousTestCase):
    """The guides that say in five lines how to add something."""

    def test_five_lines_each(self) -> None:
        for title in GUIDES:
            self.assertEqual(["1", "2", "3", "4", "5"], [step[0] for step in steps(title)])
            self.assertNotIn("\n   ", section_of(title), f"{title}: a step has a second line")

    def test_names_and_paths_of_the_steps_exist(self) -> None:
        """Each path in a step exists, and one of the files that the step links has each name."""
        for title in GUIDES:
            for step in steps(title):
                words = re.findall(r"``([^`]+)``", step)
                paths = [ROOT / word for word in words if "/" in word or word.endswith(".rst")]
                self.assertNotEqual([], paths, step)
                self.assertEqual([], [path for path in paths if not path.exists()], step)
                sources = "".join(path.read_text() for path in paths if path.is_file())
                for name in words:
                    if "/" not in name and not name.endswith(".rst"):
                        self.assertTrue(re.search(rf"\b{re.escape(name)}\b", sources), f"{name}: {step}")

    def test_each_option_is_tested(self) -> None:
        tests = "".join(path.read_text() for path in TESTS)
        self.assertEqual([], [name for name in (*OPTIONS, *SHOWING) if f"--{name}" not in tests])

    def test_each_metric_is_tested(self) -> None:
        tests = "".join(path.read_text() for path in TESTS)
        counts = [
            each
            for kind in (Metrics, WorkersMetrics, LogMetrics, ReloadMetrics)
            for each in fields(kind)
            if each.metadata
        ]
        self.assertNotEqual([], counts)
        for count in counts:
            name = count.metadata["name"].removeprefix("airyd_")
            self.assertTrue(re.search(rf"\b({count.name}|(airyd_)?{name}(_total)?)\b", tests), name)


class PlacesTests(SynchronousTestCase):
    """The tables of where a change belongs and how tests are arranged."""

    def test_each_folder_has_its_row(self) -> None:
        rows = table(PAGE, "What you change", "Where it is")
        named = {word for _, places in rows for word in re.split(r",? ", places)}
        folders = {f"airyd/{path.parent.name}/" for path in ROOT.glob("airyd/*/__init__.py")}
        self.assertEqual(folders, {name for name in named if name.endswith("/")})

    def test_paths_exist(self) -> None:
        for document in (PAGE, "SECURITY.rst"):
            page = (ROOT / document).read_text()
            for name in re.findall(r"``((?:airyd|tests|docs|bench|etc|twisted)/[\w./-]*)``", page):
                self.assertTrue((ROOT / name).exists(), f"{document} names {name}")

    def test_security_policy(self) -> None:
        """It says how to report a vulnerability, which versions get fixes, and what counts as one."""
        expected = {"Which versions", "What is a vulnerability", "What is not a vulnerability"}
        self.assertEqual(set(), expected - titles("SECURITY.rst"))


class ToolsTests(SynchronousTestCase):
    """.pre-commit-config.yaml, .editorconfig, and the release."""

    def test_commits_run_make_lint(self) -> None:
        """The only hook is local and runs ``make lint``."""
        lines = [line.strip(" -") for line in (ROOT / ".pre-commit-config.yaml").read_text().splitlines()]
        self.assertEqual(["repo: local"], [line for line in lines if line.startswith("repo:")])
        self.assertEqual(["entry: make lint"], [line for line in lines if line.startswith("entry:")])

    def test_files_follow_editorconfig(self) -> None:
        """UTF-8, a newline at the end, no spaces at the end of a line, no tabs."""
        for path in (path for pattern in TEXTS for path in ROOT.glob(pattern)):
            content = path.read_bytes().decode()
            wrong = re.findall(r"[ \t\r]+\n|\t|[^\n]\Z", content)
            self.assertEqual([], wrong, path)

    def test_changelog(self) -> None:
        """It begins with this version; each change has one line under a known heading."""
        changes = (ROOT / "CHANGELOG.rst").read_text()
        versions = re.findall(r"^(\d\S*), .*\n-+$", changes, flags=re.MULTILINE)
        self.assertEqual(__version__, versions[0])
        kinds = set(re.findall(r"^(.+)\n~+$", changes, flags=re.MULTILINE))
        self.assertEqual(set(), kinds - {"Added", "Changed", "Removed", "Fixed", "Security"})
        lines = changes.partition("~\n\n")[2].splitlines()
        self.assertEqual([], [line for line in lines if line.startswith(" ")])
