"""The file of destinations: how it is read."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.config.catalogue import read_catalogue
from airyd.config.settings import DestinationsFile
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS

#: What is wrong with a file, and what the refusal must name.
WRONG = (
    (b"/queue/a\nqueue\n", ["line 2", "'queue'", "/queue/tags"]),
    (b"/queue/a /queue/b\n", ["line 1"]),
    (b"/queue/*\n", ["line 1"]),
    (b"/airyd/mine\n", ["line 1", "airyd's own"]),
    (b"/user/a\n", ["line 1", "user destinations"]),
    (b"/queue/a\n/queue/a\n", ["line 2", "exists already"]),
    (b"\n/queue/message\n", ["line 2", "exists already"]),
    (b"/queue/\xff\n", ["UTF-8"]),
    (b"/" + b"x" * 1000, ["line 1"]),
)


class CatalogueCase(SynchronousTestCase):
    """Has a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.file = DestinationsFile(str(self.path), AIRY_DESTINATIONS, has_user_destinations=True)


class ReadingTests(CatalogueCase):
    """One name a line."""

    def test_names(self) -> None:
        self.path.write_text("# ours\n/queue/tags\n\n  /topic/news  # for all\n#/queue/old\n/queue/last")
        self.assertEqual(read_catalogue(self.file), [*AIRY_DESTINATIONS, "/queue/tags", "/topic/news", "/queue/last"])

    def test_empty(self) -> None:
        self.path.write_text("")
        self.assertEqual(read_catalogue(self.file), list(AIRY_DESTINATIONS))

    def test_wrong(self) -> None:
        for content, names in WRONG:
            self.path.write_bytes(content)
            said = str(self.assertRaises(ConfigurationError, read_catalogue, self.file))
            self.assertEqual((len(said.splitlines()), len(said) < 600), (1, True), said)
            for name in ("--destinations-file", str(self.path), *names):
                self.assertIn(name, said)

    def test_not_there(self) -> None:
        self.assertIn("no such file", str(self.assertRaises(ConfigurationError, read_catalogue, self.file)))
        os.mkdir(self.path)
        self.assertIn("a folder", str(self.assertRaises(ConfigurationError, read_catalogue, self.file)))
