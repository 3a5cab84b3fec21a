"""The wait of a reader between two reads, when events come fast."""

from __future__ import annotations

from itertools import accumulate, repeat

from twisted.trial.unittest import SynchronousTestCase

from airyd.sources.redis.linger import Linger
from airyd.sources.redis.reader import COUNTERS_EVERY
from tests.sources.redis.fakes import stream_info
from tests.sources.redis.reader_case import A, B, ReaderCase, entry

#: The length of a wait in these tests, in seconds.
WAIT = 0.01


class LingerTests(SynchronousTestCase):
    """The waits after replies."""

    def waits(self, times: list[float], entries: int = 1) -> int:
        """Return after how many of the replies at these times a reader waits."""
        linger = Linger(WAIT)
        return sum(linger.after_reply(time, entries, is_full=False) > 0 for time in times)

    def test_slow_events(self) -> None:
        self.assertEqual(self.waits(list(accumulate(repeat(0.1, 100)))), 0)

    def test_a_short_burst(self) -> None:
        """Two or three events at once are usual, for example a message and its unread count."""
        times = [second + number / 1000 for second in range(10) for number in range(4)]
        self.assertEqual(self.waits(times), 0)

    def test_fast_events(self) -> None:
        """Each reply after the first few is followed by a wait, as long as waits bring several entries."""
        linger = Linger(WAIT)
        now, waits, replies = 0.0, 0, 0
        while now < 10:
            wait = linger.after_reply(now, max(1, round(1000 * WAIT)) if waits else 1, is_full=False)
            waits += wait > 0
            replies += 1
            now += wait + 0.001
        self.assertLess(replies, 10 / WAIT)
        self.assertGreater(waits, 0.9 * replies)

    def test_a_publisher_that_waits_for_each_delivery(self) -> None:
        """A wait brings one entry, so that it is seldom tried again."""
        linger = Linger(WAIT)
        now = waited = 0.0
        while now < 10:
            wait = linger.after_reply(now, 1, is_full=False)
            waited += wait
            now += wait + 0.001
        self.assertLess(waited, 0.5)

    def test_entries_are_waiting(self) -> None:
        linger = Linger(WAIT)
        waits = [linger.after_reply(number / 1000, 500, is_full=True) for number in range(100)]
        self.assertEqual(set(waits), {0.0})

    def test_off(self) -> None:
        linger = Linger(0)
        self.assertEqual({linger.after_reply(number / 1000, 5, is_full=False) for number in range(100)}, {0.0})


class ReaderTests(ReaderCase):
    """A reader that waits."""

    linger = WAIT

    def begin_to_wait(self) -> int:
        """Bring entries fast, until the reader waits; return the number of the last one."""
        self.begin(self.stream())
        number = 5
        while True:
            number += 1
            self.bring((A, [entry(f"{number}-0")]))
            if not self.reading.asked():
                return number
            self.clock.advance(WAIT / 10)

    def test_waits(self) -> None:
        """What came is delivered before the wait, and the next XREAD follows after it."""
        number = self.begin_to_wait()
        self.assertEqual(self.delivered[-1], ("/a", [f"{number}-0"]))
        self.clock.advance(WAIT / 2)
        self.assertEqual(self.reading.asked(), [])
        self.clock.advance(WAIT / 2)
        self.assert_reads(a=f"{number}-0")

    def test_a_stream_joins_meanwhile(self) -> None:
        number = self.begin_to_wait()
        self.reader.add(self.stream(B))
        self.assertEqual(self.commands.asked(), [])
        self.clock.advance(WAIT)
        self.assert_reads(a=f"{number}-0", b="5-0")

    def test_the_stream_leaves_meanwhile(self) -> None:
        self.begin_to_wait()
        self.reader.remove(A)
        self.clock.advance(WAIT)
        self.assertEqual(self.reading.asked(), [])

    def test_a_gap_is_found_meanwhile(self) -> None:
        self.linger_long()
        self.begin_to_wait()
        self.clock.advance(COUNTERS_EVERY)
        self.answer_check(self.commands, stream_info("2-0", 2, newest="2-0", oldest="1-0", length=2))
        self.assertEqual([destination for destination, _ in self.gaps], ["/a"])
        self.clock.advance(COUNTERS_EVERY + WAIT)
        self.assert_reads(a="2-0")

    def linger_long(self) -> None:
        """Let the reader wait for longer than the time between two checks."""
        self.reader._linger = Linger(2 * COUNTERS_EVERY)

    def test_the_connection_is_lost_meanwhile(self) -> None:
        number = self.begin_to_wait()
        self.reading.lose()
        self.clock.advance(1.2)
        self.reading.log_in(9)
        now = stream_info(f"{number}-0", number, newest=f"{number}-0")
        self.answer_check(self.reading, now)
        self.assert_reads(a=f"{number}-0")

    def test_stop_meanwhile(self) -> None:
        """``stop`` looks for what is left."""
        self.begin_to_wait()
