"""Heart-beats in both directions."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from unittest.mock import patch

from airyd.errors import Fault, StompError
from airyd.events import CHANNEL_DISCONNECTED, MESSAGE
from airyd.stomp.spec import HeartBeat
from tests.client.frames import send, subscribe
from tests.doubles import BEAT, Channel, ClientTestCase, frame


class HeartBeatTests(ClientTestCase):
    """STOMP 1.2, "Heart-beating", with a wheel that may be late."""

    heart_beat = HeartBeat(30000, 20000)
    ping_interval = 0.0

    def gaps(self, channel: Channel, start: float) -> list[float]:
        """Return the times between two sends, from ``start`` to now."""
        times = [start, *(time for time in channel.times if time > start), self.clock.seconds()]
        return [after - before for before, after in pairwise(times)]

    def test_early_enough_under_every_phase(self) -> None:
        """No silence is longer than agreed, whenever the client connects relative to the wheel's ticks."""
        for step in (0.1, 0.25, 0.7, 0.99):
            for phase in range(10):
                self.setUp()
                self.wheel.call_later(10_000, lambda: None)  # somebody else keeps the wheel turning
                self.clock.advance(phase / 10)
                for _ in range(phase):
                    self.clock.advance(0.31)
                channel = self.connected(heart_beat="0,30000")
                start = self.clock.seconds()
                while self.clock.seconds() < start + 200:
                    self.clock.advance(step)
                self.assertLessEqual(max(self.gaps(channel, start)), 30, (step, phase))
                self.assertLessEqual(len(channel.frames()), 12, "more beats than are useful")

    def test_client_wants_them_seldom(self) -> None:
        channel = self.connected(heart_beat="0,120000")
        self.clock.pump([1] * 240)
        names = channel.commands()
        self.assertEqual(set(names), {BEAT})
        self.assertIn(len(names), (2, 3))
        self.assertEqual(self.metrics.heartbeats_out, len(names))

    def test_turned_off(self) -> None:
        for headers in ({}, {"heart_beat": "0,0"}, {"heart_beat": "0,0"}):
            channel = self.connected(**headers)
            self.clock.pump([1] * 300)
            self.assertEqual((channel.commands(), channel.closed), ([], []))

    def test_1_0_never_beats(self) -> None:
        channel = self.connected("1.0", heart_beat="1000,1000")
        self.clock.pump([1] * 300)
        self.assertEqual((channel.commands(), channel.closed), ([], []))

    def test_events_restart_the_clock(self) -> None:
        """Events replace heart-beats."""
        channel = self.connected(heart_beat="0,30000")
        channel.client.received(subscribe("a"))
        start = self.clock.seconds()
        for _ in range(40):
            self.clock.pump([1] * 5)
            self.publish(MESSAGE)
        self.assertNotIn(BEAT, channel.commands())
        self.clock.pump([1] * 100)
        self.assertLessEqual(max(self.gaps(channel, start)), 30)

    def test_receipts_restart_the_clock(self) -> None:
        channel = self.connected(heart_beat="0,30000")
        for _ in range(40):
            self.clock.pump([1] * 5)
            channel.client.received(send("1", CHANNEL_DISCONNECTED))
        self.assertNotIn(BEAT, channel.commands())

    def test_what_others_got_does_not_count(self) -> None:
        """Events that a group got before the client joined do not replace its heart-beat."""
        other = self.connected()
        other.client.received(subscribe("a"))
        for wait in (5, 15, 19):
            channel = self.connected(heart_beat="0,30000")
            start = self.clock.seconds()
            self.clock.pump([1] * wait)
            self.publish(MESSAGE)
            channel.client.received(frame("SUBSCRIBE", id="a", destination=MESSAGE))  # no receipt
            self.clock.pump([1] * 60)
            self.assertLessEqual(max(self.gaps(channel, start)), 30, wait)

    def test_silent_client(self) -> None:
        """A silent client is ended after twice the agreed interval."""
        channel = self.connected(heart_beat="50000,0")
        self.clock.pump([1] * 99)
        self.assertEqual(channel.closed, [])
        self.clock.pump([1] * 4)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_grace(self) -> None:
        """Browsers slow down the timers of hidden tabs to once a minute."""
        channel = self.connected(heart_beat="1000,0")
        self.clock.pump([1] * 64)
        self.assertEqual(channel.closed, [])
        self.clock.pump([1] * 4)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_what_is_heard_is_a_sign_of_life(self) -> None:
        channel = self.connected(heart_beat="20000,0")
        for _ in range(5):
            self.clock.pump([1] * 60)
            channel.client.heard()
        self.assertEqual(channel.closed, [])
        self.clock.pump([1] * 70)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_both_ways(self) -> None:
        """Events for a client do not replace the client's own heart-beats."""
        channel = self.connected(heart_beat="20000,30000")
        self.clock.pump([1] * 70)
        names = channel.commands()
        self.assertEqual((names[0], names[-1]), (BEAT, "ERROR"))
        self.assertEqual(channel.closed, [Fault.HEARTBEAT_TIMEOUT])

    def test_too_slow_for_a_beat(self) -> None:
        """A heart-beat that finds the client too slow ends it, and no timer is left."""
        channel = self.connected(heart_beat="0,30000")

        def overflow(wire: bytes) -> None:
            channel.client.fail(StompError(Fault.SLOW_CONSUMER, "too slow"))

        with patch.object(channel, "send", overflow):
            self.clock.pump([1] * 40)
        self.assertEqual(channel.closed, [Fault.SLOW_CONSUMER])
        beats = self.metrics.heartbeats_out
        self.clock.pump([1] * 200)
        self.assertEqual((self.metrics.heartbeats_out, self.clock.getDelayedCalls()), (beats, []))

    def test_spread(self) -> None:
        """Heart-beats to clients that connect, or get an event, at once are spread after some minutes."""
        channels = [self.connected(heart_beat="0,30000") for _ in range(700)]
        for channel in channels:
            channel.client.received(frame("SUBSCRIBE", id="a", destination=MESSAGE))
        for _ in range(2):
            start = self.clock.seconds()
            self.clock.pump([1] * 300)
            beats = Counter(time - start for channel in channels for time in channel.times if time > start)
            self.assertLess(max(beats.values()), 300)
            last = [beats[second] for second in range(200, 300)]
            self.assertGreater(min(last), 0.5 * sum(last) / len(last))
            self.assertLess(max(last), 1.7 * sum(last) / len(last))
            self.publish(MESSAGE)


class ShortHeartBeatTests(HeartBeatTests):
    """Short heart-beats: the wheel's tick is a tenth of the interval, as the service sets it."""

    heart_beat = HeartBeat(5000, 20000)
    tick = 0.5

    def test_early_enough_when_short(self) -> None:
        for phase in range(7):
            self.setUp()
            self.wheel.call_later(10_000, lambda: None)
            self.clock.advance(0.07 * phase)
            channel = self.connected(heart_beat="0,1000")
            start = self.clock.seconds()
            while self.clock.seconds() < start + 50:
                self.clock.advance(0.09)
            self.assertLessEqual(max(self.gaps(channel, start)), 5, phase)
