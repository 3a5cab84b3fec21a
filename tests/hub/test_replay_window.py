"""A subscription with acknowledgements never has more messages in flight than its window."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.hub import replay
from airyd.hub.replay import PROBE_EVERY, ReplayCursor, Window
from airyd.metrics import REPLAY_LOST
from tests.hub.replay_case import NAME, ReplayCase
from tests.model.twin import event_id


class WindowedTests(ReplayCase):
    """A subscription with acknowledgements never has more messages in flight than its window."""

    def test_live(self) -> None:
        """It never joins a group."""
        live = self.live(prefetch=5)
        self.publish(3)
        self.feed(live, 3)
        self.assert_said(1, 2, 3)

    def test_full(self) -> None:
        """Events that arrive while the window is full are read from the history when there is room."""
        live = self.live(prefetch=2)
        self.publish(5)
        self.feed(live, 4)
        self.feed(live, 1)
        self.assert_said(1, 2)
        self.assertEqual(live.settle(event_id(1), cumulative=False), [event_id(1)])
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
        """A client that acknowledges nothing learns of the loss, too."""
        live = self.live(prefetch=1)
        self.publish(1)
        self.feed(live, 1)
        for _ in range(PROBE_EVERY + 1):
            self.publish(1)
            self.feed(live, 1)
        self.answer()
        self.assert_said(1)
        self.twin.evict(NAME, 2)
        for now in range(PROBE_EVERY):
            self.subscription.now = replay.PROBE_SECONDS * now
            self.publish(1)
            self.feed(live, 1)
        self.answer()
        self.assert_said("gap")
        self.assertEqual(self.metrics.replays[REPLAY_LOST], 1)
        live.settle(event_id(1), cumulative=False)
        self.publish(1)
        self.feed(live, 1)
        self.assert_said(3 + 2 * PROBE_EVERY)

    def probed(self) -> ReplayCursor:
        """Return a replay that has sent event 1, whose window is full, and whose position is being looked up."""
        self.patch(replay, "PROBE_EVERY", 1)
        live = self.live(prefetch=1)
        self.publish(3)
        for _ in range(3):
            self.feed(live, 1)
        self.assertEqual([(each.after, each.limit) for each in self.twin.readings], [(event_id(1), 1)])
        return live

    def test_a_late_answer_about_an_old_position(self) -> None:
        """The client has acknowledged and read on meanwhile: losing earlier events does not matter."""
        live = self.probed()
        live.settle(event_id(1), cumulative=False)
        self.turn()
        self.twin.answer_reading(self.twin.readings[1])
        self.turn()
        self.twin.evict(NAME, 2)
        self.answer()
        self.assert_said(1, 2)
        live.settle(event_id(2), cumulative=False)
        self.turn()
        self.answer()
        self.assert_said(3)

    def test_the_source_is_away_while_the_window_is_full(self) -> None:
        """A failed probe of the position is not an error."""
        live = self.probed()
        self.answer(fails=True)
        self.publish(1)
        self.subscription.now += replay.PROBE_SECONDS
        self.feed(live, 1)
        self.answer()
        self.assert_said(1)

    def test_catch_up(self) -> None:
        """Pages are no longer than the room."""
        self.publish(5)
        self.twin.cursor[NAME] = 5
        catching_up = self.replay(0, prefetch=3)
        catching_up.catch_up()
        self.answer()
        self.turn()
        self.assert_said("recovered", 1, 2, 3)
        self.assertEqual(catching_up.settle(event_id(2), cumulative=True), [event_id(1), event_id(2)])
        self.turn()
        self.answer()
        self.assert_said(4, 5)

    def test_held_events_that_have_no_room(self) -> None:
        catching_up = self.replay(0, prefetch=2)
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

    def test_no_window(self) -> None:
        live = self.replay(0)
        live.go_live(event_id(0))
        self.publish(1)
        self.feed(live, 1)
        self.assertEqual(live.settle(event_id(1), cumulative=True), [])


class WindowTests(SynchronousTestCase):
    """Which messages an ACK settles (STOMP 1.2, "SUBSCRIBE ack Header")."""

    def window(self) -> Window:
        """Return a window of five with four messages."""
        window = Window(5)
        for name in "abcd":
            window.add(name)
        return window

    def test_individual(self) -> None:
        window = self.window()
        self.assertEqual([window.settle(name, cumulative=False) for name in "cac"], [["c"], ["a"], []])
        self.assertEqual(window.room, 3)

    def test_cumulative(self) -> None:
        window = self.window()
        self.assertEqual([window.settle(name, cumulative=True) for name in "cacd"], [["a", "b", "c"], [], [], ["d"]])
        self.assertEqual(window.room, 5)

    def test_unknown(self) -> None:
        window = self.window()
        self.assertEqual([window.settle("x", cumulative=cumulative) for cumulative in (True, False)], [[], []])
        self.assertEqual(window.room, 1)
