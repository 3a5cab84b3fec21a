"""The contract of event sources (``IEventSource``), as tests that run for each source.

A test case mixes the contract in and makes a source. The tests do not assume that a source answers at
once or that its feed ends with it: they await each Deferred, and wait for deliveries, which have none,
with :meth:`EventSourceContract.settle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface.verify import verifyObject

from airyd.errors import SourceUnavailable
from airyd.events import EVENT_ID, Event, HistoryPage
from airyd.interfaces import IBrowsableSource, IEventSource
from tests.sources.support import RecordingSink, body

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _TestCase
else:
    # Else the contract itself would be run, too, wherever it is imported.
    _TestCase = object

#: Destinations with no rules of their own for payloads.
NEWS: Final = "/topic/news"
COUNTS: Final = "/topic/counts"
#: One that is not in the catalogue at first.
LATE: Final = "/topic/late"
#: Things that no source may take for one of its ids.
NO_IDS: Final = ("", " ", "-", "x", "0x1-1", "1-", "-1", "1--1", "1-1 ", "1 -1", "1-1\n", "1_0-1", "é")


class EventSourceContract(_TestCase):
    """The tests, and the hooks for a test case to fill in.

    :cvar history: how many events the feed keeps of a destination, at least
    """

    history = 20

    def make_source(self) -> IEventSource:
        """Return a new source, not started, over an empty feed that keeps ``history`` events."""
        raise NotImplementedError

    def settle(self) -> Deferred[None]:
        """Fire when all published events have reached their sinks."""
        return succeed(None)

    def feed(self, source: IEventSource, destination: str, content: bytes) -> Deferred[str]:
        """Publish as another publisher on the same feed, if that is possible."""
        return source.publish(destination, content)

    def unknown_ids(self, source: IEventSource, newest: str) -> Sequence[str]:
        """Return valid ids of no event.

        ``newest`` is the id of the newest event; return one after it, and one from before a restart.
        """
        raise NotImplementedError

    async def evict(self, source: IEventSource, destination: str) -> None:
        """Drop all events from the destination's history."""
        for number in range(self.history + 1):
            await self.feed(source, destination, body(number))

    # Helpers.

    async def started(self) -> tuple[IEventSource, RecordingSink]:
        """Return a running source and its sink; the source is stopped at the end of the test."""
        source = self.make_source()
        sink = RecordingSink()
        self.addCleanup(source.stop)
        await source.start(sink)
        return source, sink

    async def published(self, source: IEventSource, destination: str, count: int) -> list[Event]:
        """Publish events one after the other; return them as the sink should get them."""
        events = []
        for number in range(count):
            event_id = await self.feed(source, destination, body(number))
            events.append(Event(destination, event_id, body(number)))
        return events

    async def after(self, source: IEventSource, destination: str, position: str) -> list[Event]:
        """Return all events after the position; the history must be complete."""
        events: list[Event] = []
        more = True
        while more:
            page = await source.replay(destination, position, 3)
            self.assertTrue(page.complete, position)
            self.assertLessEqual(len(page.events), 3)
            events += page.events
            more = page.more
            if more:
                self.assertEqual(len(page.events), 3)
                position = page.events[-1].id
        return events

    async def assert_incomplete(self, source: IEventSource, destination: str, position: str) -> None:
        """Require that a replay from the position is incomplete."""
        page = await source.replay(destination, position, 10)
        self.assertEqual(page, HistoryPage((), complete=False, more=False), position)

    # The interface.

    async def test_interface(self) -> None:
        source, _ = await self.started()
        verifyObject(IEventSource, source)
        self.assertEqual(list(source.health()), [])

    async def test_ids(self) -> None:
        """Ids are valid in a header, unique per destination, and ordered."""
        source, _ = await self.started()
        events = await self.published(source, NEWS, 12)
        for event in events:
            self.assertTrue(EVENT_ID.match(event.id), event.id)
        keys = [source.order(NEWS, event.id) for event in events]
        self.assertEqual(keys, sorted(set(keys)))

    async def test_what_is_no_id(self) -> None:
        source, _ = await self.started()
        for text in NO_IDS:
            self.assertRaises(ValueError, source.order, NEWS, text)

    # Watching.

    async def test_nothing_comes_unwatched(self) -> None:
        source, sink = await self.started()
        await self.published(source, NEWS, 3)
        await self.settle()
        self.assertEqual((sink.events, sink.gaps), ([], []))

    async def test_watch(self) -> None:
        """After a watch, all events published to the destination arrive in order, byte for byte, and no others."""
        source, sink = await self.started()
        await self.published(source, NEWS, 3)
        await source.watch(NEWS)
        events = await self.published(source, NEWS, 15)
        await self.settle()
        self.assertEqual(sink.events, events)

    async def test_a_destination_that_is_new(self) -> None:
        """A destination added later is like any other, and the others go on."""
        source, sink = await self.started()
        await source.watch(NEWS)
        source.extend([LATE])
        position = await source.watch(LATE)
        first, second = await self.published(source, LATE, 1), await self.published(source, NEWS, 1)
        await self.settle()
        self.assertEqual((sink.of(LATE), sink.of(NEWS)), (first, second))
        page = await source.replay(LATE, position, 10)
        self.assertEqual((list(page.events), page.complete), (first, True))

    async def test_position(self) -> None:
        """Events up to the position are not delivered, those after it are."""
        source, sink = await self.started()
        before = await self.published(source, NEWS, 3)
        position = await source.watch(NEWS)
        after = await self.published(source, NEWS, 3)
        await self.settle()
        self.assertTrue(EVENT_ID.match(position), position)
        self.assertLessEqual(source.order(NEWS, before[-1].id), source.order(NEWS, position))
        self.assertLess(source.order(NEWS, position), source.order(NEWS, after[0].id))
        self.assertEqual(sink.events, after)
        self.assertEqual(await self.after(source, NEWS, position), after)

    async def test_position_of_an_empty_destination(self) -> None:
        source, _ = await self.started()
        position = await source.watch(NEWS)
        self.assertEqual(await source.replay(NEWS, position, 10), HistoryPage((), complete=True, more=False))
        events = await self.published(source, NEWS, 2)
        self.assertLess(source.order(NEWS, position), source.order(NEWS, events[0].id))
        self.assertEqual(await self.after(source, NEWS, position), events)

    async def test_position_while_others_publish(self) -> None:
        """An event in flight when the watch starts is either before the position or is delivered."""
        source, sink = await self.started()
        under_way = [self.feed(source, NEWS, body(number)) for number in range(5)]
        watching = source.watch(NEWS)
        under_way += [self.feed(source, NEWS, body(number)) for number in range(5, 10)]
        position = source.order(NEWS, await watching)
        ids = await gatherResults(under_way)
        await self.settle()
        expected = [event_id for event_id in ids if source.order(NEWS, event_id) > position]
        self.assertEqual([event.id for event in sink.events], expected)

    async def test_bodies(self) -> None:
        source, sink = await self.started()
        position = await source.watch(NEWS)
        bodies = [
            b"{}",
            b' { "a" :\r\n 1.0 } ',
            '{"a":"Grüße 你好 \U0001f389 \u2028"}'.encode(),
            b'{"a":"\\u0000\\ud83d"}',
            b'{"a":"' + b"x" * 200_000 + b'"}',
        ]
        for each in bodies:
            await self.feed(source, NEWS, each)
        await self.settle()
        self.assertEqual([event.body for event in sink.events], bodies)
        self.assertEqual([event.body for event in await self.after(source, NEWS, position)], bodies)

    async def test_destinations_are_apart(self) -> None:
        source, sink = await self.started()
        await source.watch(NEWS)
        counts = await self.published(source, COUNTS, 4)
        messages = await self.published(source, NEWS, 2)
        await self.settle()
        self.assertEqual(sink.events, messages)

        position = await source.watch(COUNTS)
        self.assertLessEqual(source.order(COUNTS, counts[-1].id), source.order(COUNTS, position))
        more_counts = await self.published(source, COUNTS, 2)
        source.unwatch(NEWS)
        await self.settle()
        await self.published(source, NEWS, 2)
        more_counts += await self.published(source, COUNTS, 2)
        await self.settle()
        self.assertEqual(sink.of(NEWS), messages)
        self.assertEqual(sink.of(COUNTS), more_counts)
        self.assertEqual(await self.after(source, COUNTS, counts[0].id), counts[1:] + more_counts)

    async def test_unwatch(self) -> None:
        source, sink = await self.started()
        await source.watch(NEWS)
        events = await self.published(source, NEWS, 2)
        await self.settle()
        source.unwatch(NEWS)
        await self.settle()
        await self.published(source, NEWS, 3)
        await self.settle()
        self.assertEqual(sink.events, events)

    async def test_watch_again(self) -> None:
        """A replay from the last id has no gap, and repeats events only under the same id."""
        source, sink = await self.started()
        await source.watch(NEWS)
        events = await self.published(source, NEWS, 2)
        await self.settle()
        source.unwatch(NEWS)
        missed = await self.published(source, NEWS, 4)
        await self.settle()
        seen = sink.events.copy()
        position = source.order(NEWS, await source.watch(NEWS))
        live = await self.published(source, NEWS, 3)
        await self.settle()
        replayed = await self.after(source, NEWS, seen[-1].id)
        self.assertEqual(seen + replayed, events + missed + live)
        self.assertEqual([event for event in replayed if source.order(NEWS, event.id) > position], live)
        self.assertEqual(sink.events[len(seen) :], live)

    async def test_unwatch_and_watch_at_once(self) -> None:
        """A watch right after an unwatch returns a valid position."""
        source, sink = await self.started()
        await source.watch(NEWS)
        await self.published(source, NEWS, 2)
        await self.settle()
        source.unwatch(NEWS)
        position = await source.watch(NEWS)
        count = len(sink.events)
        live = await self.published(source, NEWS, 2)
        await self.settle()
        self.assertEqual(sink.events[count:], live)
        self.assertEqual(await self.after(source, NEWS, position), live)

    async def test_watch_after_a_gap_that_the_source_does_not_know(self) -> None:
        """It is a new watch."""
        source, sink = await self.started()
        await source.watch(NEWS)
        events = await self.published(source, NEWS, 2)
        await self.settle()
        source.unwatch(NEWS)
        await self.published(source, NEWS, 2)
        await self.settle()
        position = await source.watch(NEWS, after_gap=True)
        live = await self.published(source, NEWS, 2)
        await self.settle()
        self.assertEqual(sink.events, events + live)
        self.assertEqual(await self.after(source, NEWS, position), live)

    async def test_watches_at_once(self) -> None:
        source, sink = await self.started()
        names = [f"/topic/{number}" for number in range(10)]
        positions = await gatherResults([source.watch(name) for name in names])
        events = [await self.published(source, name, 2) for name in names]
        await self.settle()
        self.assertEqual([sink.of(name) for name in names], events)
        for name, position, expected in zip(names, positions, events, strict=True):
            self.assertEqual(await self.after(source, name, position), expected)

    async def test_many_events(self) -> None:
        """A burst is delivered completely and in order, in whatever batches."""
        source, sink = await self.started()
        await source.watch(NEWS)
        under_way = [self.feed(source, NEWS, body(number)) for number in range(1000)]
        ids = await gatherResults(under_way)
        await self.settle()
        self.assertEqual(sink.events, [Event(NEWS, event_id, body(number)) for number, event_id in enumerate(ids)])

    # History.

    async def test_replay(self) -> None:
        """All pages but the last are full; ``more`` says exactly whether another page has events."""
        source, _ = await self.started()
        events = await self.published(source, NEWS, 8)
        for limit, sizes in ((3, [3, 3, 1]), (7, [7]), (10, [7]), (1, [1] * 7)):
            position, pages = events[0].id, []
            while True:
                page = await source.replay(NEWS, position, limit)
                self.assertTrue(page.complete)
                pages.append(page)
                if not page.more:
                    break
                position = page.events[-1].id
            self.assertEqual([len(page.events) for page in pages], sizes)
            self.assertEqual([event for page in pages for event in page.events], events[1:])

    async def test_replays_at_once(self) -> None:
        """Concurrent requests each get their own page."""
        source, _ = await self.started()
        events = await self.published(source, NEWS, 6)
        asked = [(0, 2), (0, 2), (3, 2), (0, 10), (0, 2)]
        pages = await gatherResults([source.replay(NEWS, events[start].id, limit) for start, limit in asked])
        for (start, limit), page in zip(asked, pages, strict=True):
            expected = tuple(events[start + 1 : start + 1 + limit])
            self.assertEqual(page, HistoryPage(expected, complete=True, more=start + 1 + limit < len(events)))

    async def test_replay_after_the_newest(self) -> None:
        source, _ = await self.started()
        events = await self.published(source, NEWS, 3)
        self.assertEqual(await source.replay(NEWS, events[-1].id, 10), HistoryPage((), complete=True, more=False))

    async def test_replay_after_what_is_no_id(self) -> None:
        source, _ = await self.started()
        await self.published(source, NEWS, 3)
        for text in NO_IDS:
            await self.assert_incomplete(source, NEWS, text)

    async def test_replay_after_unknown_ids(self) -> None:
        source, _ = await self.started()
        events = await self.published(source, NEWS, 3)
        for event_id in self.unknown_ids(source, events[-1].id):
            await self.assert_incomplete(source, NEWS, event_id)

    async def test_replay_after_what_is_gone(self) -> None:
        source, _ = await self.started()
        position = await source.watch(NEWS)
        events = await self.published(source, NEWS, 3)
        await self.evict(source, NEWS)
        for event_id in [position] + [event.id for event in events[:-1]]:
            await self.assert_incomplete(source, NEWS, event_id)

    async def test_history_is_kept_per_destination(self) -> None:
        source, _ = await self.started()
        events = await self.published(source, COUNTS, 3)
        await self.evict(source, NEWS)
        self.assertEqual(await self.after(source, COUNTS, events[0].id), events[1:])

    # Publishing.

    async def test_publish(self) -> None:
        """An event published through the source is delivered with the id that publish returned."""
        source, sink = await self.started()
        await source.watch(NEWS)
        first = await source.publish(NEWS, body(1))
        second = await self.feed(source, NEWS, body(2))
        third = await source.publish(NEWS, body(3))
        await self.settle()
        self.assertEqual(
            sink.events,
            [Event(NEWS, first, body(1)), Event(NEWS, second, body(2)), Event(NEWS, third, body(3))],
        )

    async def test_publish_without_waiting(self) -> None:
        """Events are published in the order of the calls."""
        source, sink = await self.started()
        position = await source.watch(NEWS)
        ids = await gatherResults([source.publish(NEWS, body(number)) for number in range(15)])
        await self.settle()
        expected = [Event(NEWS, event_id, body(number)) for number, event_id in enumerate(ids)]
        self.assertEqual(sink.events, expected)
        self.assertEqual(await self.after(source, NEWS, position), expected)

    # The end.

    async def test_stop(self) -> None:
        source, sink = await self.started()
        await source.watch(NEWS)
        await source.stop()
        count = len(sink.events)
        with suppress(SourceUnavailable):  # the feed may end with its source
            await self.feed(source, NEWS, body(1))
        await self.settle()
        self.assertEqual(len(sink.events), count)

    async def test_stop_from_the_sink(self) -> None:
        """A sink may stop the source within deliver."""
        source = self.make_source()
        stopped: Deferred[None] = Deferred()
        sink = RecordingSink()
        sink.on_delivery = lambda: source.stop().chainDeferred(stopped)
        self.addCleanup(source.stop)
        await source.start(sink)
        await source.watch(NEWS)
        event_id = await self.feed(source, NEWS, body(1))
        await stopped
        with suppress(SourceUnavailable):
            await self.feed(source, NEWS, body(2))
        await self.settle()
        self.assertEqual(sink.events, [Event(NEWS, event_id, body(1))])

    async def test_calls_after_stop(self) -> None:
        source, _ = await self.started()
        event_id = await source.publish(NEWS, body(1))
        await source.stop()
        source.unwatch(NEWS)
        await self.assertFailure(source.watch(NEWS), SourceUnavailable)
        await self.assertFailure(source.replay(NEWS, event_id, 10), SourceUnavailable)
        await self.assertFailure(source.publish(NEWS, body(2)), SourceUnavailable)
        await source.stop()


class BrowsableSourceContract(EventSourceContract):
    """The suite for a source that is browsable, too (``IBrowsableSource``)."""

    async def browsable(self) -> IBrowsableSource:
        """Return a running source."""
        source, _ = await self.started()
        verifyObject(IBrowsableSource, source)
        return IBrowsableSource(source)

    async def test_newest(self) -> None:
        source = await self.browsable()
        self.assertEqual(list(await source.newest(NEWS, 10)), [])
        events = await self.published(source, NEWS, 8)
        for limit in (1, 3, 8, 10):
            self.assertEqual(list(await source.newest(NEWS, limit)), events[-limit:])
        self.assertEqual(list(await source.newest(COUNTS, 10)), [])

    async def test_newest_of_what_is_kept(self) -> None:
        source = await self.browsable()
        await self.published(source, NEWS, 3)
        await self.evict(source, NEWS)
        (event,) = await self.published(source, NEWS, 1)
        self.assertEqual((await source.newest(NEWS, 1))[-1], event)

    async def test_find(self) -> None:
        """An event is found by its id, in its own destination only, as long as the history has it."""
        source = await self.browsable()
        events = await self.published(source, NEWS, 3)
        for event in events:
            self.assertEqual(await source.find(NEWS, event.id), event)
        for event_id in (*self.unknown_ids(source, events[-1].id), *NO_IDS):
            self.assertIsNone(await source.find(NEWS, event_id), event_id)
        await self.evict(source, NEWS)
        self.assertIsNone(await source.find(NEWS, events[0].id))

    async def test_browsing_after_stop(self) -> None:
        source = await self.browsable()
        event_id = await source.publish(NEWS, body(1))
        await source.stop()
        await self.assertFailure(source.newest(NEWS, 10), SourceUnavailable)
        await self.assertFailure(source.find(NEWS, event_id), SourceUnavailable)
