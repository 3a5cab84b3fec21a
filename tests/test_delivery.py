"""One subscriber's catch-up, window and pace."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from airyd import delivery
from airyd.delivery import PROBE_EVERY, Delivery, Window
from airyd.errors import StompError
from airyd.events import Event
from airyd.limits import HELD_BYTES, HELD_EVENTS, REPLAY_BUFFER, REPLAY_PAGE
from airyd.metrics import REPLAY_LOST, Metrics
from tests.model.twin import Twin, event_id

_NAME = "/a"


class FakeSubscription:
    """A ``Subscriber`` that keeps what it is told, in order.

    :ivar said: the numbers of events, and words
    :ivar hidden: the numbers of events that a filter hides
    """

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.buffered = 0
        self.said: list[int | str] = []
        self.hidden: set[int] = set()
        self.calls: list[Callable[[], None]] = []
        self.on_send: Callable[[int], None] = lambda _: None
        self.on_established: Callable[[], None] = lambda: None

    @property
    def position(self) -> str:
        """Where the twin's feed is."""
        return event_id(self.twin.cursor[_NAME])

    def established(self, recovered: bool) -> None:
        """Keep it."""
        self.said.append("recovered" if recovered else "not recovered")
        self.on_established()

    def send_event(self, event: Event) -> bool:
        """Keep the number, unless it is hidden."""
        number = int(event.id.partition("-")[2])
        if number in self.hidden:
            return False
        self.said.append(number)
        self.on_send(number)
        return True

    def join(self) -> None:
        """Keep it."""
        self.said.append("join")

    def later(self, call: Callable[[], None]) -> None:
        """Wait for :meth:`DeliveryCase.turn`."""
        self.calls.append(call)

    def fail(self, error: StompError) -> None:
        """Keep it."""
        self.said.append(error.fault.kind)


class DeliveryCase(SynchronousTestCase):
    """A delivery over a twin of a feed; the test is the hub, and gives it what the feed brings."""

    def setUp(self) -> None:
        self.twin = Twin(kept=10_000)
        self.twin.watched.add(_NAME)
        self.metrics = Metrics([_NAME])
        self.subscription = FakeSubscription(self.twin)

    def publish(self, count: int, size: int = 2) -> None:
        """Let the feed take so many events, which it has not brought yet."""
        for _ in range(count):
            self.twin.append(_NAME, b"x" * size)

    def delivery(self, last: int, prefetch: int | None = None) -> Delivery:
        """Return a delivery that has not begun."""
        window = None if prefetch is None else Window(prefetch)
        return Delivery(self.twin, _NAME, event_id(last), self.subscription, window, self.metrics)

    def live(self, prefetch: int) -> Delivery:
        """Return a delivery with a window, from where the feed is."""
        made = self.delivery(0, prefetch)
        made.go_live(self.subscription.position)
        return made

    def feed(self, to: Delivery, count: int) -> None:
        """Let the feed bring a batch."""
        start = self.twin.cursor[_NAME]
        self.twin.cursor[_NAME] += count
        to.feed(self.twin.ledger[_NAME][start : start + count])

    def answer(self, fails: bool = False) -> None:
        """Answer the oldest page that was asked for."""
        self.twin.answer_reading(self.twin.readings[0], fails)

    def turn(self) -> None:
        """Let a turn of the reactor pass."""
        calls, self.subscription.calls = self.subscription.calls, []
        for call in calls:
            call()

    def assert_said(self, *expected: int | str) -> None:
        """Require what was said since the last time, and forget it."""
        said, self.subscription.said = self.subscription.said, []
        self.assertEqual(said, list(expected))


class CatchUpTests(DeliveryCase):
    """Hold, replay, merge, go live."""

    def test_nothing_was_missed(self) -> None:
        self.publish(3)
        self.twin.cursor[_NAME] = 3
        self.delivery(3).catch_up()
        self.assert_said()
        self.answer()
        self.assert_said("recovered", "join")

    def test_held_events_follow_once(self) -> None:
        """What is both in the page and held comes once; what is only held comes after it."""
        self.publish(4)
        self.twin.cursor[_NAME] = 2
        catching_up = self.delivery(1)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(2)
        self.feed(catching_up, 4)
        self.assert_said()
        self.answer()
        self.assert_said("recovered", 2, 3, 4, 5, 6, "join")
        self.assertEqual(self.metrics.replayed, 3)

    def test_the_replay_is_ahead_of_the_feed(self) -> None:
        """It joins only when the feed has brought all that was replayed, which is dropped."""
        self.publish(5)
        self.twin.cursor[_NAME] = 1
        catching_up = self.delivery(2)
        catching_up.catch_up()
        self.answer()
        self.assert_said("recovered", 3, 4, 5)
        self.feed(catching_up, 2)
        self.publish(2)
        self.feed(catching_up, 1)
        self.assert_said()
        self.feed(catching_up, 2)
        self.assert_said(6, "join")

    def test_pages(self) -> None:
        """One per turn of the reactor; what the feed brings meanwhile is in a later page."""
        self.publish(2 * REPLAY_PAGE + 1)
        self.twin.cursor[_NAME] = 2 * REPLAY_PAGE + 1
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.answer()
        self.assert_said("recovered", *range(1, REPLAY_PAGE + 1))
        self.publish(1)
        self.feed(catching_up, 1)
        self.assertEqual(self.twin.readings, [])
        self.turn()
        self.answer()
        self.turn()
        self.answer()
        self.assert_said(*range(REPLAY_PAGE + 1, 2 * REPLAY_PAGE + 3), "join")

    def check_overflow(self, count: int, size: int) -> None:
        """More is held than may be: it is read from the history instead."""
        self.publish(1)
        self.twin.cursor[_NAME] = 1
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(count, size)
        for _ in range(count):
            self.feed(catching_up, 1)
        self.answer()
        self.assert_said("recovered", 1)
        while self.subscription.calls:
            self.turn()
            self.answer()
        self.assert_said(*range(2, count + 2), "join")

    def test_too_many_held(self) -> None:
        self.check_overflow(HELD_EVENTS + 1, 2)

    def test_too_long_held(self) -> None:
        self.check_overflow(5, HELD_BYTES // 4)

    def test_as_many_as_may_be_held(self) -> None:
        self.publish(1)
        self.twin.cursor[_NAME] = 1
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(HELD_EVENTS, HELD_BYTES // HELD_EVENTS)
        self.feed(catching_up, HELD_EVENTS)
        self.answer()
        self.assert_said("recovered", *range(1, HELD_EVENTS + 2), "join")

    def test_the_pace_is_the_clients(self) -> None:
        """While more than a bound waits in its buffer nothing is read; ``proceed`` comes when it was sent."""
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.subscription.on_send = self.fill_after(REPLAY_PAGE)
        self.answer()
        self.turn()
        catching_up.proceed()
        self.turn()
        self.assertEqual(self.twin.readings, [])
        self.subscription.buffered = REPLAY_BUFFER
        catching_up.proceed()
        catching_up.proceed()
        self.assertEqual(self.twin.readings, [])
        self.turn()
        self.assertEqual([reading.after for reading in self.twin.readings], [event_id(REPLAY_PAGE)])

    def fill_after(self, last: int) -> Callable[[int], None]:
        """Return what fills the client's buffer with the send of this event."""

        def fill(number: int) -> None:
            if number == last:
                self.subscription.buffered = REPLAY_BUFFER + 1

        return fill

    def test_the_buffer_is_full_within_a_page(self) -> None:
        """The rest is read again later, and what was held meanwhile, too."""
        self.publish(5)
        self.twin.cursor[_NAME] = 5
        catching_up = self.delivery(0)
        self.subscription.on_send = self.fill_after(2)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(1)
        self.feed(catching_up, 1)
        self.answer()
        self.assert_said("recovered", 1, 2)
        self.assertEqual(self.metrics.replayed, 2)
        self.subscription.buffered = 0
        catching_up.proceed()
        self.turn()
        self.answer()
        self.assert_said(3, 4, 5, 6, "join")
        self.assertEqual(self.metrics.replayed, 6)

    def test_the_buffer_is_full_again_when_its_turn_comes(self) -> None:
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.answer()
        self.subscription.buffered = REPLAY_BUFFER + 1
        self.turn()
        self.assertEqual(self.twin.readings, [])
        self.subscription.buffered = 0
        catching_up.proceed()
        self.turn()
        self.assertEqual(len(self.twin.readings), 1)

    def test_history_is_gone(self) -> None:
        self.publish(5)
        self.twin.evict(_NAME, 3)
        self.delivery(2).catch_up()
        self.answer()
        self.assert_said("not recovered")

    def test_history_goes_while_it_is_read(self) -> None:
        self.publish(2 * REPLAY_PAGE)
        self.delivery(0).catch_up()
        self.answer()
        self.twin.evict(_NAME, REPLAY_PAGE + 1)
        self.turn()
        self.answer()
        self.assert_said("recovered", *range(1, REPLAY_PAGE + 1), "history_lost")
        self.assertEqual(self.metrics.replays[REPLAY_LOST], 1)

    def test_the_source_is_away(self) -> None:
        self.delivery(0).catch_up()
        self.answer(fails=True)
        self.assert_said("source_unavailable")

    def test_the_source_breaks(self) -> None:
        self.patch(self.twin, "replay", lambda *_: fail(ZeroDivisionError()))
        self.delivery(0).catch_up()
        self.assert_said("internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class EndTests(DeliveryCase):
    """Nothing is sent after the end, whatever was under way."""

    def test_while_a_page_is_under_way(self) -> None:
        for answer in (self.answer, lambda: self.answer(fails=True)):
            self.publish(3)
            catching_up = self.delivery(0)
            catching_up.catch_up()
            catching_up.end()
            self.feed(catching_up, 1)
            answer()
            self.assert_said()

    def test_by_being_established(self) -> None:
        """Somebody waited for that to unsubscribe."""
        self.publish(3)
        catching_up = self.delivery(0)
        self.subscription.on_established = catching_up.end
        catching_up.catch_up()
        self.answer()
        self.assert_said("recovered")

    def test_by_a_send_of_a_page(self) -> None:
        self.publish(3)
        catching_up = self.delivery(0)
        self.subscription.on_send = lambda number: catching_up.end() if number == 2 else None
        catching_up.catch_up()
        self.answer()
        self.turn()
        self.assert_said("recovered", 1, 2)

    def test_by_a_send_of_what_was_held(self) -> None:
        catching_up = self.delivery(0)
        self.subscription.on_send = lambda number: catching_up.end() if number == 2 else None
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(3)
        self.feed(catching_up, 3)
        self.answer()
        self.assert_said("recovered", 1, 2)

    def test_before_its_turn(self) -> None:
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.delivery(0)
        catching_up.catch_up()
        self.answer()
        catching_up.end()
        self.turn()
        catching_up.proceed()
        self.assertEqual((self.twin.readings, self.subscription.calls), ([], []))

    def test_while_a_probe_is_under_way(self) -> None:
        for fails in (False, True):
            paused = self.live(prefetch=1)
            self.publish(PROBE_EVERY + 2)
            for _ in range(PROBE_EVERY + 2):
                self.feed(paused, 1)
            self.twin.evict(_NAME, len(self.twin.ledger[_NAME]))
            self.subscription.said.clear()
            paused.end()
            self.answer(fails)
            self.assert_said()


class WindowedTests(DeliveryCase):
    """A client that acknowledges never has more than its window under way."""

    def test_live(self) -> None:
        """It never joins a group."""
        live = self.live(prefetch=5)
        self.publish(3)
        self.feed(live, 3)
        self.assert_said(1, 2, 3)

    def test_full(self) -> None:
        """What comes while the window is full is read from the history when there is room."""
        live = self.live(prefetch=2)
        self.publish(5)
        self.feed(live, 4)
        self.feed(live, 1)
        self.assert_said(1, 2)
        self.assertEqual(live.settle(event_id(1), cumulative=False), 1)
        self.assertEqual(self.twin.readings, [])
        self.turn()
        self.assertEqual([(each.after, each.limit) for each in self.twin.readings], [(event_id(2), 1)])
        self.answer()
        self.turn()
        self.assert_said(3)
        live.settle(event_id(3), cumulative=True)
        self.turn()
        self.answer()
        self.publish(2)
        self.feed(live, 2)
        self.assert_said(4, 5)
        live.settle(event_id(5), cumulative=True)
        self.turn()
        self.answer()
        self.publish(1)
        self.feed(live, 1)
        self.assert_said(6, 7)

    def test_several_acks_in_one_turn_are_one_page(self) -> None:
        live = self.live(prefetch=3)
        self.publish(9)
        self.feed(live, 9)
        for number in (2, 1, 3):
            live.settle(event_id(number), cumulative=False)
        self.turn()
        self.assertEqual([(each.after, each.limit) for each in self.twin.readings], [(event_id(3), 3)])

    def test_hidden_events_take_no_room(self) -> None:
        self.subscription.hidden = {1, 3}
        live = self.live(prefetch=2)
        self.publish(4)
        self.feed(live, 4)
        self.assert_said(2, 4)

    def test_hidden_events_are_not_read_again(self) -> None:
        self.subscription.hidden = {2, 3}
        live = self.live(prefetch=1)
        self.publish(4)
        self.feed(live, 4)
        live.settle(event_id(1), cumulative=False)
        for _ in range(3):
            self.turn()
            self.answer()
        self.assert_said(1, 4)

    def test_history_is_lost_while_the_window_is_full(self) -> None:
        """A client that acknowledges nothing learns it all the same."""
        live = self.live(prefetch=1)
        self.publish(1)
        self.feed(live, 1)
        for _ in range(PROBE_EVERY + 1):
            self.publish(1)
            self.feed(live, 1)
        self.answer()
        self.assert_said(1)
        self.twin.evict(_NAME, 2)
        for _ in range(PROBE_EVERY):
            self.publish(1)
            self.feed(live, 1)
        self.answer()
        self.assert_said("history_lost")
        self.assertEqual(self.metrics.replays[REPLAY_LOST], 1)

    def probed(self) -> Delivery:
        """Return a delivery that has sent event 1, whose window is full, and whose position is being looked up."""
        self.patch(delivery, "PROBE_EVERY", 1)
        live = self.live(prefetch=1)
        self.publish(3)
        for _ in range(3):
            self.feed(live, 1)
        self.assertEqual([(each.after, each.limit) for each in self.twin.readings], [(event_id(1), 1)])
        return live

    def test_a_late_answer_about_an_old_position(self) -> None:
        """Meanwhile the client has acknowledged and read on: what was before is no loss."""
        live = self.probed()
        live.settle(event_id(1), cumulative=False)
        self.turn()
        self.twin.answer_reading(self.twin.readings[1])
        self.turn()
        self.twin.evict(_NAME, 2)
        self.answer()
        self.assert_said(1, 2)
        live.settle(event_id(2), cumulative=False)
        self.turn()
        self.answer()
        self.assert_said(3)

    def test_the_source_is_away_while_the_window_is_full(self) -> None:
        """Nothing was asked for that could not wait."""
        live = self.probed()
        self.answer(fails=True)
        self.publish(1)
        self.feed(live, 1)
        self.answer()
        self.assert_said(1)

    def test_catch_up(self) -> None:
        """Pages are no longer than the room."""
        self.publish(5)
        self.twin.cursor[_NAME] = 5
        catching_up = self.delivery(0, prefetch=3)
        catching_up.catch_up()
        self.answer()
        self.turn()
        self.assert_said("recovered", 1, 2, 3)
        self.assertEqual(catching_up.settle(event_id(2), cumulative=True), 2)
        self.turn()
        self.answer()
        self.assert_said(4, 5)

    def test_held_events_that_have_no_room(self) -> None:
        catching_up = self.delivery(0, prefetch=2)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(3)
        self.feed(catching_up, 3)
        self.answer()
        self.assert_said("recovered", 1, 2)
        catching_up.settle(event_id(1), cumulative=False)
        self.turn()
        self.answer()
        self.assert_said(3)


class WindowTests(SynchronousTestCase):
    """What settles what (STOMP 1.2, "SUBSCRIBE ack Header")."""

    def window(self) -> Window:
        """Return a window of five with four messages."""
        window = Window(5)
        for name in "abcd":
            window.add(name)
        return window

    def test_individual(self) -> None:
        window = self.window()
        self.assertEqual([window.settle(name, cumulative=False) for name in "cac"], [1, 1, 0])
        self.assertEqual(window.room, 3)

    def test_cumulative(self) -> None:
        window = self.window()
        self.assertEqual([window.settle(name, cumulative=True) for name in "cacd"], [3, 0, 0, 1])
        self.assertEqual(window.room, 5)

    def test_unknown(self) -> None:
        window = self.window()
        self.assertEqual([window.settle("x", cumulative=cumulative) for cumulative in (True, False)], [0, 0])
        self.assertEqual(window.room, 1)

    def test_no_window(self) -> None:
        twin = Twin(kept=1)
        live = Delivery(twin, _NAME, event_id(0), FakeSubscription(twin), None, Metrics())
        self.assertEqual(live.settle(event_id(1), cumulative=True), 0)
