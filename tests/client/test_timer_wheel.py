"""The timer wheel makes many calls with one timer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.client.timer_wheel import Timer, TimerWheel

_STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=20)


class WheelTests(SynchronousTestCase):
    """When calls are made."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1234.5)
        self.wheel = TimerWheel(self.clock, 0.5)
        self.called: list[str] = []

    def call(self, name: str, delay: float) -> Timer:
        """Schedule a call that records its name."""
        return self.wheel.call_later(delay, partial(self.called.append, name))

    def pass_ticks(self, count: int) -> list[str]:
        """Let this many ticks pass; return the names of the calls made."""
        before = len(self.called)
        self.clock.pump([0.5] * count)
        return self.called[before:]

    def test_in_the_order_of_their_times(self) -> None:
        self.call("late", 3)
        self.call("soon", 1)
        self.call("soon, too", 1)
        self.assertEqual(self.pass_ticks(1), [])
        self.assertEqual(self.pass_ticks(2), ["soon", "soon, too"])
        self.assertEqual(self.pass_ticks(4), ["late"])

    @given(tick=st.sampled_from([0.1, 0.25, 1.0]), steps=_STEPS, start=st.floats(0, 1e6))
    def test_never_early_and_late_by_less_than_two_ticks(
        self, tick: float, steps: list[tuple[float, float]], start: float
    ) -> None:
        step = tick / 8  # how late the clock itself is
        clock = Clock()
        clock.advance(start)
        wheel = TimerWheel(clock, tick)
        late: list[float] = []

        def note(due: float) -> None:
            late.append(clock.seconds() - due)

        for delay, pause in steps:
            wheel.call_later(delay, partial(note, clock.seconds() + delay))
            clock.pump([step] * int(pause / step))
        clock.pump([step] * int(6 / step))
        self.assertEqual(len(late), len(steps))
        self.assertGreaterEqual(min(late), -1e-6)
        self.assertLess(max(late), 2 * tick + step)

    def test_one_timer(self) -> None:
        """The reactor has one timer for any number of calls, and none for none."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for number in range(100):
            self.call("", number / 10)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(len(self.pass_ticks(25)), 100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        self.call("other", 1)
        entry = self.call("cancelled", 1)
        entry.cancel()
        self.assertEqual(self.pass_ticks(4), ["other"])
        entry.cancel()

    def test_cancelled_by_another_of_the_same_tick(self) -> None:
        entries: list[Timer] = []
        self.wheel.call_later(1, lambda: entries[0].cancel())
        entries.append(self.call("cancelled", 1))
        self.assertEqual(self.pass_ticks(4), [])

    def test_a_call_for_now_from_within_a_call(self) -> None:
        """It runs at a later tick, even if it schedules itself again and again."""

        def again() -> None:
            self.called.append("again")
            self.wheel.call_later(0, again)

        self.wheel.call_later(0, again)
        self.assertEqual(self.pass_ticks(3), ["again"] * 3)

    def test_a_call_that_raises(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        self.wheel.call_later(1, fail)
        self.call("same tick", 1)
        self.call("next tick", 1.5)
        self.assertEqual(self.pass_ticks(5), ["same tick", "next tick"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_process_that_slept(self) -> None:
        """Missed calls are made at once, in order; later calls are on time."""
        for delay in (3, 1, 2, 60):
            self.call(f"{delay}", delay)
        self.clock.advance(30)
        self.assertEqual(self.called, ["1", "2", "3"])
        self.call("1 later", 1)
        self.assertEqual(self.pass_ticks(4), ["1 later"])
        self.assertEqual(self.pass_ticks(60), ["60"])

    def test_a_process_that_slept_reads_first(self) -> None:
        """The reactor has a turn before any call is made, since bytes that a deadline waits for may have arrived."""
        self.call("deadline", 3)
        self.clock.rightNow += 30
        self.clock.callLater(0, self.called.append, "read")
        self.clock.advance(0)
        self.assertEqual(self.called, ["read", "deadline"])

    def test_when_it_woke(self) -> None:
        """A tick that is a little late does not count as a stop of the process."""
        self.call("", 1000)
        start = self.clock.seconds()
        self.clock.pump([0.5, 0.6, 1.5, 2])
        self.assertEqual(self.wheel.woke, start)
        self.clock.advance(3)
        self.assertEqual(self.wheel.woke, self.clock.seconds())

    def test_time_without_calls_is_no_sleep(self) -> None:
        start = self.clock.seconds()
        self.clock.advance(100)
        self.call("", 1)
        self.pass_ticks(5)
        self.assertEqual((self.wheel.woke, self.called), (start, [""]))

    def test_stop(self) -> None:
        self.call("never", 1)
        self.wheel.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.pass_ticks(4), [])
        self.wheel.stop()
        self.call("after a stop", 1)
        self.assertEqual(self.pass_ticks(4), ["after a stop"])

    def test_stop_from_within_a_call(self) -> None:
        stop: Callable[[], None] = self.wheel.stop
        self.wheel.call_later(1, stop)
        self.call("same tick", 1)
        self.call("a later tick that is due, too", 2)
        self.clock.advance(10)
        self.assertEqual(self.pass_ticks(4), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_seconds(self) -> None:
        self.assertEqual(self.wheel.seconds(), 1234.5)
