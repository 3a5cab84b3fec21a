"""The file of destinations: how it is read, and what reloading it may change."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.config.catalogue import read_catalogue, reload_catalogue
from airyd.config.settings import DestinationsFile
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from tests.doubles import record_log, text_of

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
#: Two whose message ids begin alike.
COLLIDING = ("/t/7591", "/t/95307")


class CatalogueCase(SynchronousTestCase):
    """Has a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.file = DestinationsFile(str(self.path), AIRY_DESTINATIONS, has_user_destinations=True)
        self.events = record_log(self)


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


class ReloadTests(CatalogueCase):
    """Additions are made; anything else leaves the catalogue as it is."""

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("/queue/tags\n")
        self.catalogue = read_catalogue(self.file)

    def reload(self, content: str | None, *sources: str) -> list[str]:
        """Return the added names if the file gets this content, or is removed."""
        added: list[str] = []
        if content is None:
            self.path.unlink()
        else:
            self.path.write_text(content)
        reload_catalogue(self.file, self.catalogue, sources or ("memory:",), added.extend)
        return added

    def said(self) -> str:
        """Return what was logged."""
        return text_of(self.events)

    def test_additions(self) -> None:
        self.assertEqual(self.reload("/topic/b\n/queue/tags\n/topic/a\n"), ["/topic/b", "/topic/a"])
        self.assertIn(f"destinations added from {self.path}: /topic/b, /topic/a", self.said())

    def test_nothing_new(self) -> None:
        self.assertEqual(self.reload("# the same\n/queue/tags\n"), [])
        self.assertIn("none", self.said())

    def test_one_that_is_taken_away(self) -> None:
        """If a destination is missing, nothing is added, and the log says what to do."""
        self.assertEqual(self.reload("/topic/a\n"), [])
        self.assertIn("the destinations stay as they are", self.said())
        self.assertIn("/queue/tags: restart airyd", self.said())

    def test_wrong(self) -> None:
        self.catalogue.append(COLLIDING[0])
        there = f"/queue/tags\n{COLLIDING[0]}\n"
        for content in (f"{there}nonsense\n", f"{there}/topic/a\n{COLLIDING[1]}\n", None):
            self.events.clear()
            self.assertEqual(self.reload(content), [], content)
            self.assertIn("the destinations stay as they are", self.said())
            self.assertIn(str(self.path), self.said())

    def test_no_source_has_it(self) -> None:
        """Or two have."""
        redis = "redis://ann:s3cret@h/0?destinations=/queue/channel/*,/topic/**"
        sources = ("memory:?destinations=/queue/*", redis)
        self.assertEqual(self.reload("/queue/tags\n/topic/a\n", *sources), ["/topic/a"])
        self.assertEqual(self.reload("/queue/tags\n/topic/a\n/news\n", *sources), [])
        self.assertIn("no source has /news", self.said())
        sources = ("memory:?destinations=/queue/*,/topic/*", redis)
        self.assertEqual(self.reload("/queue/tags\n/topic/a\n", *sources), [])
        self.assertIn("only one source can have it", self.said())
        self.assertNotIn("s3cret", self.said())

    def test_without_a_file(self) -> None:
        reload_catalogue(None, self.catalogue, ["memory:"], self.fail)
        self.assertIn("--destinations-file was not given", self.said())
