"""The replay of one subscription: hold, replay, merge, go live."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import fail

from airyd.hub.replay import PROBE_EVERY, ReplayCursor
from airyd.limits import HELD_BYTES, HELD_EVENTS, REPLAY_BUFFER, REPLAY_PAGE, REPLAY_PIECE_BYTES
from airyd.metrics import REPLAY_LOST
from tests.hub.replay_case import NAME, ReplayCase
from tests.model.twin import event_id


class CatchUpTests(ReplayCase):
    """Hold, replay, merge, go live."""

    def test_nothing_was_missed(self) -> None:
        self.publish(3)
        self.twin.cursor[NAME] = 3
        self.replay(3).catch_up()
        self.assert_said()
        self.answer()
        self.assert_said("recovered", "join")

    def test_held_events_follow_once(self) -> None:
        """Held events that the page contains are sent once; the other held events follow it."""
        self.publish(4)
        self.twin.cursor[NAME] = 2
        catching_up = self.replay(1)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(2)
        self.feed(catching_up, 4)
        self.assert_said()
        self.answer()
        self.assert_said("recovered", 2, 3, 4, 5, 6, "join")
        self.assertEqual(self.metrics.replayed, 3)

    def test_it_is_measured(self) -> None:
        """The time until the client has every event counts once, also for one that acknowledges."""
        self.publish(3)
        self.twin.cursor[NAME] = 3
        catching_up = self.replay(0, prefetch=2)
        self.assertTrue(catching_up.is_behind)
        catching_up.catch_up()
        self.answer()
        self.subscription.now = 2.0
        self.assertEqual(0, self.metrics.replay_time.count)
        for number in (1, 2):
            catching_up.settle(event_id(number), cumulative=False)
        self.turn()
        self.answer()
        self.assertFalse(catching_up.is_behind)
        self.assertEqual((1, 2.0), (self.metrics.replay_time.count, self.metrics.replay_time.sum))
        self.feed_more(catching_up, 2)
        self.assertTrue(catching_up.is_behind)

    def feed_more(self, to: ReplayCursor, count: int) -> None:
        """Publish and deliver this many events."""
        self.publish(count)
        self.feed(to, count)

    def test_what_was_lost_is_not_measured(self) -> None:
        self.publish(5)
        self.twin.cursor[NAME] = 5
        self.twin.evict(NAME, 3)
        catching_up = self.replay(2, prefetch=1)
        catching_up.catch_up()
        self.answer()
        catching_up.go_live(self.subscription.position)
        self.feed_more(catching_up, 2)
        catching_up.settle(event_id(6), cumulative=False)
        self.turn()
        self.answer()
        self.assertEqual(0, self.metrics.replay_time.count)

    def test_the_replay_is_ahead_of_the_feed(self) -> None:
        """It joins only when the feed has delivered all replayed events, which are dropped."""
        self.publish(5)
        self.twin.cursor[NAME] = 1
        catching_up = self.replay(2)
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
        """One page is sent per turn of the reactor; events that arrive meanwhile are in a later page."""
        self.publish(2 * REPLAY_PAGE + 1)
        self.twin.cursor[NAME] = 2 * REPLAY_PAGE + 1
        catching_up = self.replay(0)
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
        """With too many held events, the history is read instead."""
        self.publish(1)
        self.twin.cursor[NAME] = 1
        catching_up = self.replay(0)
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
        self.twin.cursor[NAME] = 1
        catching_up = self.replay(0)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(HELD_EVENTS, HELD_BYTES // HELD_EVENTS)
        self.feed(catching_up, HELD_EVENTS)
        self.answer()
        self.assert_said("recovered", *range(1, HELD_EVENTS + 2), "join")

    def test_the_pace_is_the_clients(self) -> None:
        """Nothing is read while the client's buffer is above the limit, until ``continue_reading`` is called."""
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.replay(0)
        catching_up.catch_up()
        self.subscription.on_send = self.fill_after(REPLAY_PAGE)
        self.answer()
        self.turn()
        catching_up.continue_reading()
        self.turn()
        self.assertEqual(self.twin.readings, [])
        self.subscription.buffered = REPLAY_BUFFER
        catching_up.continue_reading()
        catching_up.continue_reading()
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
        """The rest of the page and the held events are read again later."""
        self.publish(5, size=REPLAY_PIECE_BYTES // 2)  # sent two by two
        self.twin.cursor[NAME] = 5
        catching_up = self.replay(0)
        self.subscription.on_send = self.fill_after(2)
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(1)
        self.feed(catching_up, 1)
        self.answer()
        self.assert_said("recovered", 1, 2)
        self.assertEqual(self.metrics.replayed, 2)
        self.subscription.buffered = 0
        catching_up.continue_reading()
        self.turn()
        self.answer()
        self.assert_said(3, 4, 5, 6, "join")
        self.assertEqual(self.metrics.replayed, 6)

    def test_the_buffer_is_full_again_when_its_turn_comes(self) -> None:
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.replay(0)
        catching_up.catch_up()
        self.answer()
        self.subscription.buffered = REPLAY_BUFFER + 1
        self.turn()
        self.assertEqual(self.twin.readings, [])
        self.subscription.buffered = 0
        catching_up.continue_reading()
        self.turn()
        self.assertEqual(len(self.twin.readings), 1)

    def test_history_is_gone(self) -> None:
        self.publish(5)
        self.twin.evict(NAME, 3)
        self.replay(2).catch_up()
        self.answer()
        self.assert_said("not recovered")

    def lose_history(self) -> ReplayCursor:
        """Return a replay whose history goes while it is read, from the second page on."""
        self.publish(2 * REPLAY_PAGE)
        made = self.replay(0)
        made.catch_up()
        self.answer()
        self.twin.evict(NAME, REPLAY_PAGE + 1)
        self.turn()
        self.assert_said("recovered", *range(1, REPLAY_PAGE + 1))
        return made

    def test_history_goes_while_it_is_read(self) -> None:
        """A client that can be notified gets a notice, and is live from the feed's position."""
        made = self.lose_history()
        self.feed(made, REPLAY_PAGE + 7)  # held, and given up: the client will load its state
        self.answer()
        self.assert_said("gap", "join")
        self.assertEqual(self.metrics.replays[REPLAY_LOST], 1)

    def test_history_goes_that_was_ahead_of_the_feed(self) -> None:
        """The feed still delivers what was replayed already: that is not sent again."""
        made = self.lose_history()
        self.answer()
        self.assert_said("gap")
        self.feed(made, REPLAY_PAGE - 1)
        self.assert_said()
        self.feed(made, 3)
        self.assert_said(REPLAY_PAGE + 1, REPLAY_PAGE + 2, "join")

    def test_history_goes_while_it_is_read_and_nobody_can_be_told(self) -> None:
        made = self.lose_history()
        self.subscription.on_gap = made.end
        self.answer()
        self.assert_said("gap")

    def test_interrupted(self) -> None:
        """The renewed replay continues, and the old one's page is dropped."""
        self.publish(5)
        first = self.replay(0)
        first.catch_up()
        self.answer()
        self.assert_said("recovered", 1, 2, 3, 4, 5)
        self.publish(3)
        self.subscription.buffered = REPLAY_BUFFER + 1
        second = first.renewed()
        first.end()
        second.start_after_gap()
        self.turn()
        self.assertEqual(self.twin.readings, [])
        self.subscription.buffered = 0
        second.continue_reading()
        self.turn()
        self.answer()
        self.assert_said(6, 7, 8)

    def test_interrupted_before_it_is_established(self) -> None:
        self.publish(2)
        first = self.replay(1)
        first.catch_up()
        second = first.renewed()
        first.end()
        self.answer()
        self.assert_said()
        second.start_after_gap()
        self.turn()
        self.answer()
        self.assert_said("recovered", 2)

    def lose_all(self, prefetch: int | None = None) -> ReplayCursor:
        """Return a replay behind a gap that has lost its history, up to the event 7, at which the feed went on."""
        self.publish(7)
        first = self.replay(0, prefetch)
        first.catch_up()
        self.answer()
        self.twin.cursor[NAME] = 7
        second = first.renewed()
        first.end()
        self.subscription.said.clear()
        self.twin.evict(NAME, 7)
        self.publish(5)
        return second

    def test_behind_a_gap(self) -> None:
        """Events after the gap follow, also those that arrive while the incomplete page is read."""
        second = self.lose_all()
        self.twin.evict(NAME, 8)
        second.start_after_gap()
        self.feed(second, 3)
        self.answer()
        self.assert_said("gap", 8, 9, 10, "join")

    def test_behind_a_gap_and_paused(self) -> None:
        """Events that are dropped while the window or the client's buffer is full are read from the history."""
        self.subscription.buffered = REPLAY_BUFFER + 1
        self.subscription.said.clear()
        self.publish(7)
        first = self.live(100)
        self.twin.cursor[NAME] = 7
        second = first.renewed()
        first.end()
        self.twin.evict(NAME, 6)
        self.publish(5)
        second.start_after_gap()
        self.feed(second, 3)
        self.subscription.buffered = 0
        second.continue_reading()
        self.turn()
        self.answer()
        self.assert_said("gap")
        self.turn()
        self.answer()
        self.assert_said(8, 9, 10, 11, 12)

    def test_the_source_is_away(self) -> None:
        self.replay(0).catch_up()
        self.answer(fails=True)
        self.assert_said("source_unavailable")

    def test_the_source_breaks(self) -> None:
        self.patch(self.twin, "replay", lambda *_: fail(ZeroDivisionError()))
        self.replay(0).catch_up()
        self.assert_said("internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class EndTests(ReplayCase):
    """Nothing is sent after the end, whatever was being read."""

    def test_while_a_page_is_under_way(self) -> None:
        for answer in (self.answer, lambda: self.answer(fails=True)):
            self.publish(3)
            catching_up = self.replay(0)
            catching_up.catch_up()
            catching_up.end()
            self.feed(catching_up, 1)
            answer()
            self.assert_said()

    def test_by_being_established(self) -> None:
        """The answer starts an UNSUBSCRIBE that was queued."""
        self.publish(3)
        catching_up = self.replay(0)
        self.subscription.on_resumed = catching_up.end
        catching_up.catch_up()
        self.answer()
        self.assert_said("recovered")

    def test_by_a_send_of_a_page(self) -> None:
        self.publish(3, size=REPLAY_PIECE_BYTES // 2)  # sent two by two
        catching_up = self.replay(0)
        self.subscription.on_send = lambda number: catching_up.end() if number == 2 else None
        catching_up.catch_up()
        self.answer()
        self.turn()
        self.assert_said("recovered", 1, 2)

    def test_by_a_send_of_what_was_held(self) -> None:
        catching_up = self.replay(0)
        self.subscription.on_send = lambda number: catching_up.end() if number == 2 else None
        catching_up.catch_up()
        self.twin.look(self.twin.readings[0])
        self.publish(3)
        self.feed(catching_up, 3)
        self.answer()
        self.assert_said("recovered", 1, 2)

    def test_before_its_turn(self) -> None:
        self.publish(2 * REPLAY_PAGE)
        catching_up = self.replay(0)
        catching_up.catch_up()
        self.answer()
        catching_up.end()
        self.turn()
        catching_up.continue_reading()
        self.assertEqual((self.twin.readings, self.subscription.calls), ([], []))

    def test_while_a_probe_is_under_way(self) -> None:
        for fails in (False, True):
            paused = self.live(prefetch=1)
            self.publish(PROBE_EVERY + 2)
            for _ in range(PROBE_EVERY + 2):
                self.feed(paused, 1)
            self.twin.evict(NAME, len(self.twin.ledger[NAME]))
            self.subscription.said.clear()
            paused.end()
            self.answer(fails)
            self.assert_said()
