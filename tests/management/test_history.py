"""Pages of the history."""

from __future__ import annotations

from typing import Any, cast

from zope.interface import alsoProvides

from airyd.errors import QueryRefused, SourceUnavailable, UnknownDestination
from airyd.events import MESSAGE, STATUS, UNREAD_COUNT, message_id
from airyd.interfaces import IMeasuredSource
from airyd.management import history
from airyd.management.history import HistoryReader
from airyd.management.queries import EventsQuery, EventsReply
from tests.doubles import EVENT, ClientTestCase


def event(conversation: int) -> bytes:
    """Return an event of a conversation."""
    return EVENT.replace(b'"conversation_id":"1"', b'"conversation_id":"%d"' % conversation)


class HistoryTests(ClientTestCase):
    """What the reader answers, over the memory feed."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = HistoryReader(self.feed, self.context.hub, self.wall)

    def read(self, destination: str = MESSAGE, **query: Any) -> EventsReply:
        """Return a page."""
        reply: EventsReply = self.successResultOf(self.reader.answer(EventsQuery(destination=destination, **query)))
        return reply

    def test_newest(self) -> None:
        ids = [self.publish(MESSAGE, event(number)) for number in range(5)]
        self.publish(UNREAD_COUNT)
        for limit in (1, 3, 5, 10):
            page = self.read(limit=limit)
            self.assertEqual([row.id for row in page.events], ids[-limit:])
            self.assertEqual((page.complete, page.next, page.skipped), (True, None, 0))

    def test_no_events(self) -> None:
        self.assertEqual(self.read(), EventsReply(events=[], complete=True, next=None))

    def test_pages(self) -> None:
        """``next`` leads from page to page."""
        ids = [self.publish(MESSAGE, event(number)) for number in range(7)]
        after: str | None = ids[0]
        seen: list[list[str]] = []
        while after is not None:
            page = self.read(after=after, limit=3)
            self.assertTrue(page.complete)
            seen.append([row.id for row in page.events])
            after = page.next
        self.assertEqual(seen, [ids[1:4], ids[4:7]])

    def test_bodies(self) -> None:
        self.publish(MESSAGE)
        self.assertEqual([(row.size, row.body) for row in self.read().events], [(len(EVENT), None)])
        self.assertEqual([row.body for row in self.read(has_bodies=True).events], [EVENT.decode()])

    def test_filter(self) -> None:
        """A page says how many events the filter hides, and goes on after them."""
        ids = [self.publish(MESSAGE, event(number % 3)) for number in range(9)]
        page = self.read(after=ids[0], limit=4, filter={"conversation_id": ["0", "2"]})
        self.assertEqual([row.id for row in page.events], [ids[2], ids[3]])
        self.assertEqual((page.skipped, page.next), (2, ids[4]))
        page = self.read(after=page.next, limit=4, filter={"conversation_id": ["0", "2"]})
        self.assertEqual([row.id for row in page.events], [ids[5], ids[6], ids[8]])
        self.assertEqual(self.read(filter={"nothing": ["1"]}).skipped, 9)

    def test_incomplete(self) -> None:
        """After a position that is unknown, or whose events are lost, there are no events."""
        published = self.publish(MESSAGE)
        for after in ("", "x", published + "0", published.rpartition("-")[0], message_id(UNREAD_COUNT, "1-1")):
            page = self.read(after=after)
            self.assertEqual((list(page.events), page.complete, page.next), ([], False, None))

    def test_large_bodies(self) -> None:
        """A page with bodies ends before it has too many bytes; nothing is left out."""
        self.patch(history, "PAGE_BYTES", 2 * len(EVENT))
        ids = [self.publish(MESSAGE) for _ in range(5)]
        page = self.read(after=ids[0], has_bodies=True)
        self.assertEqual(([row.id for row in page.events], page.next), (ids[1:3], ids[2]))
        self.assertEqual([row.id for row in self.read(has_bodies=True).events], ids[-2:])
        self.assertEqual(len(self.read(after=ids[0]).events), 4)

    def test_queries_that_are_refused(self) -> None:
        for limit in (0, -1, 1001):
            self.failureResultOf(self.reader.answer(EventsQuery(destination=MESSAGE, limit=limit)), QueryRefused)
        for name in ("/queue/nothing", STATUS, "/user/queue/message"):
            self.failureResultOf(self.reader.answer(EventsQuery(destination=name)), UnknownDestination)

    def test_the_source_is_away(self) -> None:
        published = self.publish(MESSAGE)
        self.feed.replays.fault = SourceUnavailable("it is away")
        query = EventsQuery(destination=MESSAGE, after=published)
        self.failureResultOf(self.reader.answer(query), SourceUnavailable)

    def test_times(self) -> None:
        """The time of an event is that of its id, if the source knows it."""
        self.publish(MESSAGE)
        self.assertIsNone(self.read().events[0].time)
        alsoProvides(self.feed, IMeasuredSource)
        cast(Any, self.feed).age = lambda destination, event_id: 30.0
        self.assertEqual(self.read().events[0].time, self.wall() - 30.0)

    def test_a_source_that_cannot_be_browsed(self) -> None:
        reader = HistoryReader(cast(Any, object()), self.context.hub, self.wall)
        page = self.successResultOf(reader.answer(EventsQuery(destination=MESSAGE)))
        self.assertEqual(page, EventsReply(events=[], complete=False, next=None))
