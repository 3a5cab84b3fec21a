"""The ``memory:`` source."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from airyd.errors import PayloadRefused, SourceUnavailable
from airyd.events import MESSAGE, UNREAD_COUNT, Event, HistoryPage
from airyd.interfaces import IEventSink, IEventSource
from airyd.sources import make_source
from airyd.sources.memory import MemorySource
from tests.sources.contract import NEWS, BrowsableSourceContract
from tests.sources.support import EPOCH, START, RecordingSink, body, make_context


class MemoryContractTests(BrowsableSourceContract, TestCase):
    """The memory feed keeps the contract."""

    def make_source(self) -> IEventSource:
        return MemorySource(lambda: START, history=self.history)

    def unknown_ids(self, source: IEventSource, newest: str) -> Sequence[str]:
        epoch, number = source.order(NEWS, newest)
        return (
            f"{epoch}-{number + 1}",
            f"{epoch}-{number + 10**15}",
            f"{epoch - 1}-{number}",
            f"{epoch + 1}-{number}",
            f"{epoch}-0{number}",
            f"0{epoch}-{number}",
            "0-0",
            "1-1-1",
            f"{epoch}-\u0661",
        )


class SampleContractTests(MemoryContractTests):
    """The sample feed keeps the contract while its player is idle."""

    def make_source(self) -> IEventSource:
        return make_source(f"sample:?history={self.history}", make_context())


class MemoryCase(SynchronousTestCase):
    """Helpers of the cases below."""

    def running(self, sink: IEventSink | None = None, history: int = 5, history_bytes: int = 1000) -> MemorySource:
        """Return a feed that was started."""
        source = MemorySource(lambda: START, history, history_bytes)
        self.successResultOf(source.start(sink or RecordingSink()))
        return source

    def publish(self, source: MemorySource, *bodies: bytes, destination: str = MESSAGE) -> list[str]:
        """Publish the bodies; return their ids."""
        return [self.successResultOf(source.publish(destination, each)) for each in bodies]

    def replay(self, source: MemorySource, number: int, limit: int = 100) -> HistoryPage:
        """Return the page after the number."""
        page: HistoryPage = self.successResultOf(source.replay(MESSAGE, f"{EPOCH}-{number}", limit))
        return page


class IdTests(MemoryCase):
    """Ids are the time of the start and a number."""

    def test_form(self) -> None:
        source = self.running()
        self.assertEqual(self.successResultOf(source.watch(MESSAGE)), f"{EPOCH}-0")
        self.assertEqual(self.publish(source, b"{}", b"{}"), [f"{EPOCH}-1", f"{EPOCH}-2"])
        self.assertEqual(self.publish(source, b"{}", destination=UNREAD_COUNT), [f"{EPOCH}-1"])
        source.unwatch(MESSAGE)
        self.assertEqual(self.successResultOf(source.watch(MESSAGE)), f"{EPOCH}-2")

    def test_order_is_by_number(self) -> None:
        source = self.running()
        self.assertEqual(source.order(NEWS, "5-10"), (5, 10))
        self.assertLess(source.order(NEWS, "5-9"), source.order(NEWS, "5-10"))

    def test_an_id_from_before_a_restart_is_unknown(self) -> None:
        (event_id,) = self.publish(self.running(), b"{}")
        later = MemorySource(lambda: START + 0.001)
        self.successResultOf(later.start(RecordingSink()))
        self.publish(later, b"{}", b"{}")
        self.assertFalse(self.successResultOf(later.replay(MESSAGE, event_id, 10)).complete)


class HistoryTests(MemoryCase):
    """Which events are kept, and which replays stay complete when others are dropped."""

    def test_events_are_bounded(self) -> None:
        source = self.running(history=3)
        self.publish(source, *map(body, range(1, 6)))
        self.assertFalse(self.replay(source, 0).complete)
        self.assertFalse(self.replay(source, 1).complete)
        self.assertEqual([event.body for event in self.replay(source, 3).events], [body(4), body(5)])

    def test_the_id_itself_may_be_gone(self) -> None:
        """Numbers have no gaps, so that all events after 2 are known to be there."""
        source = self.running(history=3)
        self.publish(source, *map(body, range(1, 6)))
        page = self.replay(source, 2)
        self.assertTrue(page.complete)
        self.assertEqual([event.body for event in page.events], [body(3), body(4), body(5)])

    def test_bytes_are_bounded(self) -> None:
        source = self.running(history=100, history_bytes=25)
        self.publish(source, b"x" * 10, b"y" * 10, b"z" * 5)
        self.assertEqual(len(self.replay(source, 0).events), 3)
        self.publish(source, b"!")
        self.assertFalse(self.replay(source, 0).complete)
        self.assertEqual([event.body for event in self.replay(source, 1).events], [b"y" * 10, b"z" * 5, b"!"])

    def test_an_event_above_the_bound_is_delivered_and_not_kept(self) -> None:
        sink = RecordingSink()
        source = self.running(sink, history=100, history_bytes=25)
        self.successResultOf(source.watch(MESSAGE))
        self.publish(source, b"x", b"y" * 26)
        self.assertEqual([event.body for event in sink.events], [b"x", b"y" * 26])
        self.assertFalse(self.replay(source, 0).complete)
        self.assertFalse(self.replay(source, 1).complete)
        self.assertEqual(self.replay(source, 2), HistoryPage((), complete=True, more=False))
        self.publish(source, b"z")
        self.assertEqual([event.body for event in self.replay(source, 2).events], [b"z"])

    def test_none(self) -> None:
        sink = RecordingSink()
        source = self.running(sink, history=0)
        position = self.successResultOf(source.watch(MESSAGE))
        self.assertTrue(self.successResultOf(source.replay(MESSAGE, position, 10)).complete)
        self.publish(source, b"x", b"y")
        self.assertEqual([event.body for event in sink.events], [b"x", b"y"])
        self.assertFalse(self.replay(source, 1).complete)
        self.assertTrue(self.replay(source, 2).complete)

    @given(
        st.lists(st.integers(0, 12), max_size=30),
        st.integers(0, 8),
        st.integers(0, 40),
        st.integers(0, 31),
        st.integers(1, 8),
    )
    def test_against_the_obvious(self, sizes: list[int], history: int, size: int, after: int, limit: int) -> None:
        """A page equals a slice of all events, or is incomplete where the bounds dropped some."""
        source = self.running(history=history, history_bytes=size)
        bodies = [b"x" * each for each in sizes]
        self.publish(source, *bodies)
        # The longest end of the list that fits is kept.
        kept = 0
        while kept < min(history, len(bodies)) and sum(map(len, bodies[-kept - 1 :])) <= size:
            kept += 1
        page = self.replay(source, after, limit)
        if len(bodies) - kept <= after <= len(bodies):
            numbered = [Event(MESSAGE, f"{EPOCH}-{number}", each) for number, each in enumerate(bodies, start=1)]
            self.assertEqual(page.events, tuple(numbered[after : after + limit]))
            self.assertEqual((page.complete, page.more), (True, after + limit < len(bodies)))
        else:
            self.assertEqual(page, HistoryPage((), complete=False, more=False))


class DeliveryTests(MemoryCase):
    """What the sink does from within ``deliver``."""

    def test_the_sink_has_it_before_publish_returns(self) -> None:
        sink = RecordingSink()
        source = self.running(sink)
        self.successResultOf(source.watch(MESSAGE))
        published = source.publish(MESSAGE, b"{}")
        self.assertEqual([event.body for event in sink.events], [b"{}"])
        self.successResultOf(published)

    def test_publishing_from_deliver_keeps_the_order(self) -> None:
        """A sink gets the next event only after it has returned from deliver."""
        answering = AnsweringSink()
        source = self.running(answering, history=100)
        answering.source = source
        self.successResultOf(source.watch(MESSAGE))
        self.publish(source, b"0")
        self.publish(source, b"0")
        self.assertEqual(answering.seen, [b"0", b"1", b"1", b"2", b"2", b"2", b"2"] * 2)
        self.assertEqual([event.body for event in self.replay(source, 0).events], answering.seen)

    def test_watching_again_from_deliver(self) -> None:
        """Pending events are before the new position, so they are not delivered."""
        again = WatchingAgainSink()
        source = self.running(again, history=100)
        again.source = source
        self.successResultOf(source.watch(MESSAGE))
        self.publish(source, b"first")
        self.assertEqual(again.positions, [f"{EPOCH}-2"])
        self.publish(source, b"third")
        self.assertEqual(again.seen, [b"first", b"third"])

    def test_a_sink_that_fails(self) -> None:
        """Its error reaches the publisher, and the next event the sink."""
        failing = FailingSink()
        source = self.running(failing)
        self.successResultOf(source.watch(MESSAGE))
        self.assertRaises(ZeroDivisionError, source.publish, MESSAGE, b"0")
        failing.fails = False
        self.publish(source, b"1")
        self.assertEqual([event.body for event in failing.events], [b"0", b"1"])

    def test_stopping_from_deliver(self) -> None:
        stopping = RecordingSink()
        source = self.running(stopping)
        stopping.on_delivery = lambda: (source.publish(MESSAGE, b"second"), source.stop())
        self.successResultOf(source.watch(MESSAGE))
        self.publish(source, b"first")
        self.assertEqual([event.body for event in stopping.events], [b"first"])

    def test_not_started(self) -> None:
        source = MemorySource(lambda: START)
        self.failureResultOf(source.watch(MESSAGE), SourceUnavailable)
        self.failureResultOf(source.publish(MESSAGE, b"{}"), SourceUnavailable)


@implementer(IEventSink)
class AnsweringSink:
    """Publishes the next number twice within deliver, for numbers up to 2."""

    source: MemorySource

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def deliver(self, events: Sequence[Event]) -> None:
        """See, then answer."""
        for event in events:
            if event.body < b"2":
                for _ in range(2):
                    self.source.publish(event.destination, b"%d" % (int(event.body) + 1))
            self.seen.append(event.body)

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Not expected."""
        raise AssertionError(reason)

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Not expected."""
        raise AssertionError(refusal)


@implementer(IEventSink)
class WatchingAgainSink:
    """At the first event it publishes another one, unwatches, and watches again."""

    source: MemorySource

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.positions: list[str] = []

    def deliver(self, events: Sequence[Event]) -> None:
        """Keep the events; the first time, unwatch and watch again."""
        self.seen += [event.body for event in events]
        if len(self.seen) == 1:
            self.source.publish(MESSAGE, b"second")
            self.source.unwatch(MESSAGE)
            self.source.watch(MESSAGE).addCallback(self.positions.append)

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """Not expected."""
        raise AssertionError(reason)

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Not expected."""
        raise AssertionError(refusal)


class FailingSink(RecordingSink):
    """Raises, after it has kept the events."""

    fails = True

    def deliver(self, events: Sequence[Event]) -> None:
        super().deliver(events)
        if self.fails:
            raise ZeroDivisionError
