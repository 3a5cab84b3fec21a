"""Pages of the history that clients share."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from airyd.events import HistoryPage
from airyd.hub import shared_pages
from airyd.hub.shared_pages import SharedPages
from airyd.limits import REPLAY_PAGE
from tests.model.twin import Prompt, Twin, event_id

NAME = "/a"


class SharedPagesTests(SynchronousTestCase):
    """A history of 500 events of 10 bytes."""

    def setUp(self) -> None:
        self.twin = Twin(kept=10_000)
        self.twin.prompt = Prompt(replay=True)
        self.twin.watched.add(NAME)
        for number in range(500):
            self.twin.append(NAME, b'"%08d"' % number)
        self.pages = SharedPages(self.twin)
        self.asked = 0
        replay = self.twin.replay

        def counted(destination: str, after: str, limit: int) -> object:
            self.asked += 1
            return replay(destination, after, limit)

        self.patch(self.twin, "replay", counted)

    def read(self, after: int, limit: int = REPLAY_PAGE) -> HistoryPage:
        """Read a page."""
        return self.successResultOf(self.pages.replay(NAME, event_id(after), limit))

    def test_the_middle_of_a_page(self) -> None:
        """It goes to the end of the page, and says that there is more."""
        self.read(0)
        page = self.read(50)
        self.assertEqual([event.id for event in page.events], [event_id(each) for each in range(51, REPLAY_PAGE + 1)])
        self.assertEqual((page.complete, page.more, self.asked), (True, True, 1))
        self.assertEqual(len(self.read(50, 3).events), 3)
        self.assertEqual(self.asked, 1)

    def test_the_end_of_a_page(self) -> None:
        self.read(0)
        self.assertEqual(self.read(REPLAY_PAGE).events[0].id, event_id(REPLAY_PAGE + 1))
        self.assertEqual(self.asked, 2)

    def test_the_newest_page_is_not_kept(self) -> None:
        """It would not have the events that come now."""
        self.assertFalse(self.read(400).more)
        self.assertFalse(self.read(450).more)
        self.assertEqual(self.asked, 2)

    def test_small_pages_are_not_kept(self) -> None:
        self.read(0, 5)
        self.read(2, 5)
        self.assertEqual(self.asked, 2)

    def test_forgotten(self) -> None:
        self.read(0)
        self.pages.forget("/b")
        self.read(50)
        self.assertEqual(self.asked, 1)
        self.pages.forget(NAME)
        self.read(50)
        self.assertEqual(self.asked, 2)

    def test_bounded(self) -> None:
        """The page that was read longest ago goes first; pages may overlap."""
        with patch.object(shared_pages, "MOST_BYTES", 2 * 10 * REPLAY_PAGE):
            for after in (0, 100, 1, 150):  # 1 is in the first page
                self.read(after)
            self.assertEqual(self.asked, 1)
            self.read(REPLAY_PAGE)
            self.read(10)
            self.read(REPLAY_PAGE - 1)
            self.assertEqual(self.asked, 2)
            self.pages.forget(NAME)
            self.assertEqual(vars(self.pages), vars(SharedPages(self.twin)))

    def test_incomplete(self) -> None:
        """The page after a position that has left the history is not kept."""
        self.twin.evict(NAME, 10)
        self.assertFalse(self.read(3).complete)
        self.assertFalse(self.read(3).complete)
        self.assertEqual(self.asked, 2)
